"""The bridge over real links: replay, fall back, several screens, health; and that a dead screen costs nothing."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby

import pytest
import structlog

from firmware_bridge.bridge import RETRY_CAP_S, STATUS_EVERY_S, Bridge, _pause
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links.base import Code, LinkEvent, LinkFigures, LinkObserver, LinkState
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.messages import AskStatus, Level, McuEvent, NakReason, Status
from firmware_bridge.protocol import Ask, Refused, Shown, Told
from firmware_bridge.simulator import McuSimulator
from tests.fakes.waiting import eventually
from tests.firmware_bridge.conftest import LONG_S

pytestmark = pytest.mark.usefixtures("patient_host", "long_cues")


@asynccontextmanager
async def running(bridge: Bridge) -> AsyncIterator[None]:
    task = asyncio.create_task(bridge.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class PaperLink:
    """A link that only notes what it is asked to show; `serve` blocks for ever."""

    kind = "paper"
    detail = ""

    def __init__(self, name: str = "paper") -> None:
        self.name = name
        self.shown: list[Cue] = []

    def show(self, cue: Cue) -> None:
        self.shown.append(cue)

    async def serve(self, observer: LinkObserver) -> None:
        observer.link_up(self.name, "paper 1")
        await asyncio.get_running_loop().create_future()


async def test_drives_an_mcu_from_invitation_to_thanks_and_back() -> None:
    wire: list[tuple[str, CueName, float]] = []
    events: list[LinkEvent] = []
    now = [0.0]
    with McuSimulator() as simulator:
        bridge = Bridge(
            [SerialLink("door", simulator.device_path, terminal_id="sh-1")],
            terminal_id="sh-1",
            clock=lambda: now[0],
            on_wire=lambda *told: wire.append(told),
            on_event=lambda _, event: events.append(event),
        )
        assert bridge.snapshot()[0].state is LinkState.STARTING
        async with running(bridge):
            await asyncio.to_thread(simulator.wait_for, CueName.INVITE, 30)
            asked = time.monotonic()
            bridge.show(CueName.READING)
            await asyncio.to_thread(simulator.wait_for, CueName.READING, 30)
            bridge.show("thanks", text="a coupon", amount=2)
            await asyncio.to_thread(simulator.wait_for, CueName.THANKS, 30)
            count = len(simulator.cues)
            now[0] += LONG_S
            bridge.set_level(100)  # any call looks at the clock
            await asyncio.to_thread(simulator.wait_for, CueName.INVITE, 30, since=count)
            # One whose ACK was late on a loaded machine is shown again.
            shown = [said for said, _ in groupby(cue[1:] for cue in simulator.cues)]
            reading, thanks = (CueName.READING, ""), (CueName.THANKS, "2\na coupon")
            assert shown == [(CueName.INVITE, ""), reading, thanks, (CueName.INVITE, "")]
            await eventually(lambda: any(isinstance(event, Shown) for event in events))
            cues = [CueName.INVITE, CueName.READING, CueName.THANKS, CueName.INVITE]
            # A display may show a cue before the loop hears that it is out.
            await eventually(lambda: [cue for cue, _ in groupby(cue for _, cue, _ in wire)] == cues)
            assert asked <= next(at for _, cue, at in wire if cue is CueName.READING) <= time.monotonic()
            status = bridge.snapshot()[0]
            assert (status.state, status.firmware, status.last_cue) == (
                LinkState.UP,
                "simulated 1.0.0",
                CueName.INVITE,
            )
            assert status.detail == simulator.device_path
            simulator.raise_event(McuEvent(1))
            await eventually(lambda: Told(McuEvent(1)) in events)
        assert bridge.snapshot()[0].state is LinkState.STOPPED


class CodeLink(PaperLink):
    """A paper with room for a code."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.codes: list[Code | None] = []

    def show_code(self, code: Code | None) -> None:
        self.codes.append(code)


async def test_a_ticket_is_shown_where_a_display_can_and_the_others_hear_nothing_of_it() -> None:
    paper, first, second = PaperLink(), CodeLink("first"), CodeLink("second")
    with McuSimulator() as simulator:
        serial = SerialLink("door", simulator.device_path, terminal_id="sh-1")
        bridge = Bridge([paper, first, serial, second], terminal_id="sh-1")
        bridge.show_ticket(("01", "10"), 60_000)
        bridge.show_ticket(None, 0)
    assert first.codes == second.codes == [Code(("01", "10"), 60_000), None]
    assert paper.shown == []
    with pytest.raises(ValueError, match="square"):
        bridge.show_ticket(("01",), 60_000)


async def test_a_cable_comes_back_and_the_lasting_state_is_shown_again() -> None:
    with McuSimulator() as simulator, structlog.testing.capture_logs() as logs:
        bridge = Bridge([SerialLink("door", simulator.device_path, terminal_id="sh-1")], terminal_id="sh-1")
        async with running(bridge):
            bridge.set_lasting(CueName.FAULT, True, text="reader lost")
            await asyncio.to_thread(simulator.wait_for, CueName.FAULT, 30)
            simulator.unplug()
            await eventually(lambda: bridge.snapshot()[0].state is LinkState.DOWN)
            # The path is gone, so it stays down for several attempts: one warning, the rest is for debugging.
            await eventually(lambda: sum(entry["event"] == "screen_link_down" for entry in logs) >= 3)
            assert bridge.snapshot()[0].detail
            count = len(simulator.cues)
            simulator.replug()
            await asyncio.to_thread(simulator.wait_for, CueName.FAULT, 30, since=count)
            assert simulator.cues[-1][2] == "reader lost"
            await eventually(lambda: bridge.snapshot()[0].state is LinkState.UP)
    levels = [entry["log_level"] for entry in logs if entry["event"] == "screen_link_down"]
    assert levels[0] == "warning"
    assert set(levels[1:]) == {"debug"}


async def test_a_stuck_and_a_missing_screen_never_delay_show_nor_the_others() -> None:
    with McuSimulator() as stuck, McuSimulator() as good:
        stuck.faults.stuck = True
        bridge = Bridge(
            [
                SerialLink("stuck", stuck.device_path, terminal_id="sh-1"),
                SerialLink("missing", "/dev/no-such-screen", terminal_id="sh-1"),
                SerialLink("good", good.device_path, terminal_id="sh-1"),
            ],
            terminal_id="sh-1",
        )
        async with running(bridge):
            await asyncio.to_thread(good.wait_for, CueName.INVITE, 30)
            took = []
            for _ in range(300):
                start = time.perf_counter()
                bridge.show(CueName.READING)
                took.append(time.perf_counter() - start)
                await asyncio.sleep(0.001)
            bridge.show(CueName.THANKS)
            await asyncio.to_thread(good.wait_for, CueName.THANKS, 30)
            assert statistics.median(took) < 0.005
            states = {status.name: status.state for status in bridge.snapshot()}
            assert states["good"] is LinkState.UP
            await eventually(lambda: bridge.snapshot()[1].state is LinkState.DOWN)


async def test_cues_are_asked_for_again_before_their_time_is_over() -> None:
    paper = PaperLink()
    now = [0.0]
    bridge = Bridge([paper], terminal_id="sh-1", clock=lambda: now[0])
    async with running(bridge):
        await eventually(lambda: len(paper.shown) == 1)
        for step in range(5):
            now[0] += 4.0
            bridge.set_level(100)  # any call looks at the clock
            await eventually(lambda step=step: len(paper.shown) == step + 2)
    assert {cue.name for cue in paper.shown} == {CueName.INVITE}


async def test_show_works_before_run_and_identify_names_the_terminal() -> None:
    paper = PaperLink()
    bridge = Bridge([paper], terminal_id="sh-000123-a")
    bridge.show(CueName.IDENTIFY)
    assert (paper.shown[-1].name, paper.shown[-1].text) == (CueName.IDENTIFY, "sh-000123-a")
    assert bridge.current is CueName.IDENTIFY


async def test_texts_from_the_cloud_are_made_safe_and_short() -> None:
    paper = PaperLink()
    bridge = Bridge([paper], terminal_id="sh-1")
    bridge.show(CueName.THANKS, text="a\x1b[2J\u202eb" + "x" * 500, amount="9" * 500)
    cue = paper.shown[-1]
    assert cue.text.startswith("a?[2J?b")
    assert len(cue.text) == 120
    assert cue.amount is not None
    assert len(cue.amount) == 24


def test_words_that_are_no_cues_and_twin_names_are_refused() -> None:
    bridge = Bridge([], terminal_id="sh-1")
    with pytest.raises(ValueError, match="dance"):
        bridge.show("dance")
    with pytest.raises(ValueError, match="lasting"):
        bridge.set_lasting(CueName.THANKS, True)
    with pytest.raises(ValueError, match="same name"):
        Bridge([PaperLink("a"), PaperLink("a")], terminal_id="sh-1")


def test_pauses_grow_to_the_cap_and_are_not_in_step() -> None:
    assert all(0.1 <= _pause(1) <= 0.2 for _ in range(100))
    assert all(RETRY_CAP_S / 2 <= _pause(failures) <= RETRY_CAP_S for failures in (6, 20, 10_000))
    assert len({_pause(5) for _ in range(20)}) > 1


class McuPaper(PaperLink):
    """A paper that can be asked; the test tells when it was heard and what it says."""

    def __init__(self, name: str = "paper", device: str = "/dev/paper") -> None:
        super().__init__(name)
        self.device = device
        self.heard_at: float | None = None
        self.asked: list[Ask] = []
        self.observer: LinkObserver | None = None

    def ask(self, message: Ask) -> None:
        self.asked.append(message)

    async def serve(self, observer: LinkObserver) -> None:
        self.observer = observer
        await super().serve(observer)


class Silent(McuPaper):
    """One that never answers."""

    async def serve(self, observer: LinkObserver) -> None:
        await asyncio.get_running_loop().create_future()


async def test_counts_what_a_technician_asks_for_and_keeps_only_the_last_round_trip() -> None:
    paper = McuPaper()
    bridge = Bridge([paper], terminal_id="sh-1", clock=lambda: 500.0)
    assert bridge.snapshot()[0].figures == LinkFigures()
    async with running(bridge):
        await eventually(lambda: paper.observer)
        for number in range(1, 4):
            bridge.cue_on_wire("paper", CueName.READING, 1.0)
            bridge.link_event("paper", Shown(CueName.READING, number / 1000))
        bridge.link_event("paper", Refused("thanks", NakReason.BAD_PAYLOAD))
        paper.heard_at = 499.5
        figures = bridge.snapshot()[0].figures
        assert figures == LinkFigures(opened=1, sent=3, confirmed=3, refused=1, rtt_ms=3.0, heard_at=499.5)
        paper.heard_at = None  # closed: when it was heard last is known all the same
        assert bridge.snapshot()[0].figures == figures


async def test_asks_each_mcu_for_its_status_when_it_comes_up_and_each_minute() -> None:
    paper, page, down = McuPaper(), PaperLink("page"), Silent("down", "/dev/down")
    other = McuPaper("other", "/dev/other")
    now = [0.0]
    bridge = Bridge([paper, page, down, other], terminal_id="sh-1", clock=lambda: now[0])
    async with running(bridge):
        await eventually(lambda: paper.asked)
        for minute in range(1, 4):
            now[0] += STATUS_EVERY_S
            bridge.set_level(100)  # any call looks at the clock
            await eventually(lambda minute=minute: len(paper.asked) == 1 + minute)
        assert set(paper.asked) == {Ask(AskStatus())}
        assert down.asked == []
        bridge.link_event("paper", Told(Status(CueName.INVITE, 61_000, -5, 0x11)))
        assert bridge.snapshot()[0].told == Status(CueName.INVITE, 61_000, -5, 0x11)
        bridge.link_event("paper", Refused("AskStatus", NakReason.UNKNOWN_TYPE))
        now[0] += STATUS_EVERY_S
        bridge.set_level(100)
        await eventually(lambda: len(other.asked) == 5)
        assert len(paper.asked) == 4, "one that has no status is not asked again"


class BrokenLink(PaperLink):
    """A link with bugs, one after the other."""

    def __init__(self, *bugs: BaseException) -> None:
        super().__init__("broken")
        self._bugs = list(bugs)
        self.show_fails = False

    def show(self, cue: Cue) -> None:
        if self.show_fails:
            raise KeyError("a fault of our own program")
        super().show(cue)

    async def serve(self, observer: LinkObserver) -> None:
        if self._bugs:
            raise self._bugs.pop(0)
        await super().serve(observer)


async def test_a_fault_of_one_link_is_told_with_its_traceback_and_ends_neither_it_nor_the_others() -> None:
    bugs = [ZeroDivisionError("one"), ZeroDivisionError("one"), ExceptionGroup("many", [ValueError("\x1b[2J")])]
    broken, paper = BrokenLink(*bugs, asyncio.CancelledError()), PaperLink()
    with structlog.testing.capture_logs() as logs:
        bridge = Bridge([broken, paper], terminal_id="sh-1")
        async with running(bridge):
            await eventually(lambda: bridge.snapshot()[0].state is LinkState.UP)
            assert bridge.snapshot()[1].figures.failures == 0
            figures = bridge.snapshot()[0].figures
            assert (figures.crashes, figures.failures, figures.opened) == (4, 4, 1)
    crashes = [entry for entry in logs if entry["event"] == "screen_link_crashed"]
    assert [entry["error"].split(":")[0] for entry in crashes] == [
        "ZeroDivisionError",
        "ExceptionGroup",
        "CancelledError",
    ]
    assert all(entry["log_level"] == "error" and entry["exc_info"].__traceback__ for entry in crashes)


async def test_a_link_that_cannot_even_take_a_cue_takes_it_from_nobody() -> None:
    broken, paper = BrokenLink(), PaperLink()
    bridge = Bridge([broken, paper], terminal_id="sh-1")
    async with running(bridge):
        await eventually(lambda: bridge.snapshot()[0].state is LinkState.UP)
        broken.show_fails = True
        with structlog.testing.capture_logs() as logs:
            bridge.show(CueName.READING)
            bridge.show(CueName.THANKS)
        assert [cue.name for cue in paper.shown][-2:] == [CueName.READING, CueName.THANKS]
        assert len(logs) == 1
        assert bridge.snapshot()[0].figures.crashes == 2
        assert bridge.snapshot()[0].state is LinkState.UP, "it is served all the same"


async def test_a_link_that_ends_without_a_word_is_opened_again() -> None:
    class Ending(PaperLink):
        served = 0

        async def serve(self, observer: LinkObserver) -> None:
            self.served += 1

    ending = Ending()
    bridge = Bridge([ending], terminal_id="sh-1")
    async with running(bridge):
        await eventually(lambda: ending.served > 2)
        status = bridge.snapshot()[0]
        assert (status.state, status.detail) == (LinkState.DOWN, "it ended by itself")


def test_two_screens_at_one_device_are_refused() -> None:
    with pytest.raises(ValueError, match="same device"):
        Bridge([McuPaper("a"), PaperLink("c"), McuPaper("b")], terminal_id="sh-1")


async def test_brightness_reaches_every_mcu_with_the_cue_and_the_next_cue_keeps_it() -> None:
    with McuSimulator() as first, McuSimulator() as second:
        links = [SerialLink(name, mcu.device_path, terminal_id="sh-1") for name, mcu in (("a", first), ("b", second))]
        bridge = Bridge(links, terminal_id="sh-1")
        async with running(bridge):
            await eventually(lambda: first.cues and second.cues)
            bridge.set_level(40)
            for mcu in (first, second):
                await eventually(lambda mcu=mcu: (mcu.showing.cue, mcu.showing.level) == (CueName.INVITE, 40))
            bridge.show(CueName.THANKS)
            for mcu in (first, second):
                await eventually(lambda mcu=mcu: (mcu.showing.cue, mcu.showing.level) == (CueName.THANKS, 40))
            # LEVEL of a technician holds until the next cue says what the bridge wants.
            links[0].ask(Ask(Level(70)))
            await eventually(lambda: first.showing.level == 70)
            bridge.show(CueName.READING)
            await eventually(lambda: (first.showing.cue, first.showing.level) == (CueName.READING, 40))


async def test_the_status_of_a_real_mcu_is_known_as_soon_as_it_is_up() -> None:
    with McuSimulator() as simulator:
        simulator.temperature_c, simulator.fault_bits = -7, 0x8001
        bridge = Bridge([SerialLink("door", simulator.device_path, terminal_id="sh-1")], terminal_id="sh-1")
        async with running(bridge):
            await eventually(lambda: bridge.snapshot()[0].told)
            status = bridge.snapshot()[0]
            assert status.told is not None
            assert (status.told.temperature_c, status.told.faults) == (-7, 0x8001)
            await eventually(lambda: bridge.snapshot()[0].figures.rtt_ms is not None)
            figures = bridge.snapshot()[0].figures
            assert (figures.opened, figures.failures) == (1, 0)
            assert figures.sent >= figures.confirmed >= 1
            assert figures.heard_at is not None
