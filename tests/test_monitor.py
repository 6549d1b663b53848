"""What the monitor tells the health board: evidence from the parts' own work, and never over the word of a crash."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge_agent import monitor as monitor_module
from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault, ReaderError, ReaderFault
from edge_agent.models import ClockTrust, ComponentHealth, ComponentState
from edge_agent.monitor import CLOCK, EVICTING_S, MONITOR, OUTBOX, SCREENS, SILENT_S, UPLINK, Monitor
from edge_agent.outbox.base import OutboxStats
from edge_agent.outbox.store import OutboxStore
from edge_agent.readers.exchange import ExchangeSettings
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.supervision.health import HealthBoard
from edge_agent.tags.service import Issuing, SurfaceState, TagService
from edge_agent.uplink.publisher import Publisher, UplinkSnapshot
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links.base import LinkError, LinkFault, LinkObserver, LinkState
from firmware_bridge.messages import Status
from firmware_bridge.protocol import Told
from tests.fakes.fake_reader import FakeReader, FakeSession
from tests.fakes.fake_surface import FakeSurface
from tests.fakes.outbox_taps import PLAIN, a_tap
from tests.fakes.waiting import eventually


class Display:
    """A screen link that is up, down or undecided, as the test says."""

    name, kind, detail = "screen0", "fake", ""

    def __init__(self) -> None:
        self.fails = asyncio.Event()
        self.answers = asyncio.Event()

    def show(self, cue: Cue) -> None:
        """Show nothing."""

    async def serve(self, observer: LinkObserver) -> None:
        await self.answers.wait()
        observer.link_up(self.name, "1.0")
        await self.fails.wait()
        raise LinkError(LinkFault.UNPLUGGED, "gone")


class World:
    """A monitor over a real outbox, reader service and bridge, with hardware that the test plays."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.board = HealthBoard()
        for name in ("fake0", "tag0", CLOCK, MONITOR, OUTBOX, SCREENS, UPLINK):
            self.board.register(name, self.clock.monotonic(), deadline_s=SILENT_S)
        self.outbox = OutboxStore(folder / "outbox.db", PLAIN, clock=self.clock)
        self.display = Display()
        self.bridge = Bridge([self.display], terminal_id="sh-1")
        self.reader = FakeReader(last_poll=self.clock.mono)
        self.service = ReaderService(
            self.reader,
            settings=ExchangeSettings(),
            issue=lambda _facts: self.outbox.append(a_tap()),
            show=lambda _cue: None,
            clock=self.clock,
            pseudonyms=Pseudonyms(),
        )
        self.surface = FakeSurface(last_sign=self.clock.mono)
        self.tag = TagService(
            self.surface,
            issuing=Issuing("t.example.net", 120, bytes(8), lambda _data: bytes(64)),
            issue=lambda _facts: self.outbox.append(a_tap()),
            show=lambda _cue: None,
            clock=self.clock,
        )
        self.faults: list[str] = []
        self.monitor = Monitor(
            self.board,
            self.clock,
            self.outbox,
            (self.service,),
            self.bridge,
            lambda: None,
            on_outbox_fault=self.faults.append,
            surfaces=(self.tag,),
        )
        self.tasks = [asyncio.create_task(work()) for work in (self.service.run, self.bridge.run, self.tag.run)]

    def look(self) -> None:
        """One round of the monitor over the parts."""
        self.monitor._look_at_reader(self.service)
        self.monitor._look_at_surface(self.tag)
        self.monitor._look_at_screens()
        self.monitor._look_at_uplink()
        self.monitor._look_at_clock()

    def seen(self, name: str) -> ComponentHealth:
        health = self.board.snapshot(self.clock.monotonic())
        return next(part for part in health.components if part.name == name)

    async def end(self, *tasks: asyncio.Task[None]) -> None:
        """End parts as a crash does."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(name="world")
async def _world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.outbox.open()
    await eventually(lambda: world.service.snapshot().state is ReaderState.POLLING)
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.SHOWING)
    yield world
    await world.end(*world.tasks)
    await world.outbox.close()


async def test_a_reader_is_well_while_it_polls_and_silent_when_its_polls_stop(world: World) -> None:
    world.look()
    assert world.seen("fake0").state is ComponentState.OK
    world.clock.advance(SILENT_S - 1)
    world.look()
    world.clock.advance(SILENT_S - 1)
    world.look()
    world.clock.advance(2)
    world.look()
    late = world.seen("fake0")
    assert (late.state, late.detail[:16]) == (ComponentState.FAILED, "no sign of life ")


async def test_a_lost_reader_is_told_with_its_error_and_is_not_late(world: World) -> None:
    world.reader.open_errors.extend([ReaderError(ReaderFault.NOT_FOUND, "no reader at /dev/fake")] * 100)
    world.reader.put(ReaderError(ReaderFault.UNPLUGGED, "the reader is gone"))
    await eventually(lambda: world.service.snapshot().state is ReaderState.LOST)
    world.clock.advance(SILENT_S * 3)
    world.look()
    part = world.seen("fake0")
    assert part.state is ComponentState.FAILED
    assert part.detail in {"the reader is gone", "no reader at /dev/fake"}


async def test_a_surface_is_well_while_it_is_looked_at_and_silent_when_nobody_does(world: World) -> None:
    world.look()
    assert world.seen("tag0").state is ComponentState.OK
    world.clock.advance(SILENT_S + 1)
    world.look()
    assert world.seen("tag0").detail.startswith("no sign of life")
    world.surface.last_sign = world.clock.monotonic()
    world.look()
    assert world.seen("tag0").state is ComponentState.OK


async def test_a_surface_that_shows_nothing_says_why(world: World) -> None:
    world.clock.trust = ClockTrust.UNSET
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.HIDDEN)
    world.look()
    assert world.seen("tag0").state is ComponentState.DEGRADED
    assert "clock" in world.seen("tag0").detail


async def test_who_shows_no_ticket_and_has_no_reader_invites_nobody(world: World) -> None:
    told: list[bool] = []
    world.monitor.on_nowhere_to_tap = told.append
    world.monitor.readers = ()
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.SHOWING)
    world.monitor._look_for_somewhere_to_tap()
    world.clock.trust = ClockTrust.UNSET
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.HIDDEN)
    world.monitor._look_for_somewhere_to_tap()
    world.monitor.readers = (world.service,)
    world.monitor._look_for_somewhere_to_tap()
    assert told == [False, True, False]


async def test_a_reader_is_replaceable_while_another_or_a_tag_takes_taps(world: World) -> None:
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.SHOWING)
    await eventually(lambda: world.service.snapshot().state is ReaderState.POLLING)
    assert world.monitor.replaceable() == {"fake0", "tag0"}
    world.surface.open_errors.extend([ReaderError(ReaderFault.HANGS, "the bus hangs")] * 1000)
    world.surface.tell(ReaderError(ReaderFault.UNPLUGGED, "gone"))
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.LOST)
    assert world.monitor.replaceable() == {"tag0"}
    world.monitor.surfaces = ()
    assert world.monitor.replaceable() == frozenset()


async def test_a_surface_that_hangs_is_ill_and_one_that_is_lost_is_not(world: World) -> None:
    world.surface.open_errors.extend([ReaderError(ReaderFault.HANGS, "the bus hangs")] * 1000)
    world.surface.tell(ReaderError(ReaderFault.UNPLUGGED, "gone"))
    await eventually(lambda: world.tag.snapshot().state is SurfaceState.LOST)
    world.look()
    assert world.seen("tag0").state is ComponentState.FAILED
    await eventually(lambda: world.monitor.ill() == {"tag0": "the bus hangs"})


@pytest.mark.parametrize(("index", "name"), [(0, "fake0"), (1, SCREENS), (2, "tag0")])
async def test_the_error_of_a_crashed_part_stays_to_be_read(world: World, index: int, name: str) -> None:
    await world.end(world.tasks[index])
    world.board.crashed(name, world.clock.monotonic(), "ValueError: no way")
    world.look()
    assert (world.seen(name).state, world.seen(name).detail) == (ComponentState.FAILED, "ValueError: no way")


async def test_the_error_of_a_crashed_uplink_stays_to_be_read(world: World) -> None:
    world.board.crashed(UPLINK, world.clock.monotonic(), "ValueError: no way")
    world.look()
    assert world.seen(UPLINK).detail == "ValueError: no way"


async def test_screens_are_starting_until_each_answered_and_degraded_when_one_fails(world: World) -> None:
    world.look()
    assert world.seen(SCREENS).state is ComponentState.STARTING
    world.display.answers.set()
    await eventually(lambda: world.bridge.snapshot()[0].state is LinkState.UP)
    world.look()
    assert world.seen(SCREENS).state is ComponentState.OK
    world.display.answers.clear()
    world.display.fails.set()
    await eventually(lambda: world.bridge.snapshot()[0].state is LinkState.DOWN)
    world.look()
    assert (world.seen(SCREENS).state, world.seen(SCREENS).detail) == (ComponentState.DEGRADED, "screen0")


async def test_a_screen_that_reports_faults_of_its_own_is_degraded_until_it_reports_none(world: World) -> None:
    world.display.answers.set()
    await eventually(lambda: world.bridge.snapshot()[0].state is LinkState.UP)
    for faults, state in ((0x0003, ComponentState.DEGRADED), (0, ComponentState.OK)):
        world.bridge.link_event("screen0", Told(Status(CueName.INVITE, 1000, 41, faults)))
        world.look()
        assert world.seen(SCREENS).state is state
        assert world.seen(SCREENS).detail == ("screen0 reports fault bits 0x0003" if faults else "")


async def test_a_reader_that_is_lent_is_degraded_and_not_late(world: World) -> None:
    await world.service.loan.borrow(60, 10)
    world.clock.advance(30)
    world.look()
    told = world.seen("fake0")
    assert (told.state, told.detail) == (ComponentState.DEGRADED, "lent to a technician")
    assert "fake0" not in world.monitor.ill()


async def test_a_clock_that_nobody_set_is_a_finding(world: World) -> None:
    world.look()
    assert world.seen(CLOCK).state is ComponentState.OK
    world.clock.trust = ClockTrust.UNSET
    world.look()
    assert world.seen(CLOCK).state is ComponentState.DEGRADED
    assert "none can be redeemed" in world.seen(CLOCK).detail


async def test_the_outbox_is_well_when_its_writer_answers(world: World) -> None:
    await world.outbox.append(a_tap())
    watching = asyncio.create_task(world.monitor.watch_outbox())
    await eventually(lambda: world.seen(OUTBOX).state is ComponentState.OK)
    assert world.seen(OUTBOX).detail == "1 waiting"
    await world.end(watching)


async def test_a_phone_in_the_field_is_no_silence(world: World) -> None:
    world.reader.put(FakeSession())
    await eventually(lambda: world.service.snapshot().state is not ReaderState.POLLING)
    world.look()
    assert world.seen("fake0").state is ComponentState.OK


async def test_a_reader_is_late_in_less_than_ten_seconds_after_its_last_sign(world: World) -> None:
    began = world.clock.monotonic()
    while world.board.snapshot(world.clock.monotonic()).late == ():
        world.look()
        world.clock.advance(1.0)
        world.board.check_in(OUTBOX, world.clock.monotonic())
        for name in (CLOCK, MONITOR, SCREENS, UPLINK, "tag0"):
            world.board.check_in(name, world.clock.monotonic())
    assert world.board.snapshot(world.clock.monotonic()).late == ("fake0",)
    assert world.clock.monotonic() - began < 10
    assert world.monitor.ill() == {"fake0": f"no sign of life for {SILENT_S:.0f} s"}


async def test_a_driver_that_hangs_is_ill_although_its_service_lives(world: World) -> None:
    world.reader.open_errors.extend([ReaderError(ReaderFault.HANGS, "the thread hangs in the driver")] * 100)
    world.reader.put(ReaderError(ReaderFault.IO, "cut"))
    await eventually(lambda: world.service.snapshot().hangs)
    assert world.monitor.ill() == {"fake0": "the thread hangs in the driver"}


def stats_of(world: World, **facts: object) -> OutboxStats:
    head = world.outbox.head()
    counts = {"pending": 1, "leased": 0, "sent": 0, "stored": 0, "parked": 0, "bytes_on_disk": 0}
    return OutboxStats(chain=head.chain, next_seq=head.seq + 1, **{**counts, **facts})  # type: ignore[arg-type] # made by hand


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        ({"fault": "full"}, "taps cannot be kept: full, 1 waiting"),
        ({"quarantined": ("outbox.db.broken-1",)}, "set aside as damaged: outbox.db.broken-1, 1 waiting"),
        ({"salvaging": True}, "rows of a damaged file are being taken over, 1 waiting"),
    ],
)
async def test_an_outbox_that_is_not_well_says_what_it_lacks(
    world: World, facts: dict[str, object], detail: str
) -> None:
    world.monitor._look_at_outbox(stats_of(world, **facts))
    assert (world.seen(OUTBOX).state, world.seen(OUTBOX).detail) == (ComponentState.DEGRADED, detail)
    assert world.faults == [facts.get("fault", "")]
    world.monitor._look_at_outbox(stats_of(world))
    assert (world.seen(OUTBOX).state, world.seen(OUTBOX).detail) == (ComponentState.OK, "1 waiting")


async def test_rows_given_up_are_a_finding_while_it_goes_on_and_a_figure_after_that(world: World) -> None:
    world.monitor._look_at_outbox(stats_of(world, evicted=7))
    assert world.seen(OUTBOX).state is ComponentState.OK, "long ago, in another run"
    world.monitor._look_at_outbox(stats_of(world, evicted=9))
    assert world.seen(OUTBOX).state is ComponentState.DEGRADED
    world.clock.advance(EVICTING_S)
    world.monitor._look_at_outbox(stats_of(world, evicted=9))
    assert (world.seen(OUTBOX).state, world.seen(OUTBOX).detail) == (
        ComponentState.OK,
        "1 waiting, 9 given up undelivered",
    )


async def test_an_error_is_an_answer_but_a_thread_that_ended_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OutboxError("the disk fails", fault=OutboxFault.FAILING)]

    async def stats() -> OutboxStats:
        raise errors[-1]

    monkeypatch.setattr(world.outbox, "stats", stats)
    monkeypatch.setattr(monitor_module, "LOOK_EVERY_S", 0.01)
    watching = asyncio.create_task(world.monitor.watch_outbox())
    await eventually(lambda: world.seen(OUTBOX).detail == "the disk fails")
    assert world.monitor.ill() == {}
    assert world.faults[-1] == OutboxFault.FAILING
    errors.append(OutboxError("the outbox is not open", fault=OutboxFault.CLOSED))
    await eventually(lambda: world.monitor.ill() == {OUTBOX: "the outbox is not open"})
    await world.end(watching)


async def test_while_the_writer_does_not_answer_the_screens_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "SLOW_S", 0.05)
    released = threading.Event()
    watching = asyncio.create_task(world.monitor.watch_outbox())
    await eventually(lambda: world.faults)
    hanging = asyncio.ensure_future(world.outbox._call(lambda _: released.wait(20)))
    await eventually(lambda: world.faults[-1] == OutboxFault.BUSY)
    released.set()
    await hanging
    await eventually(lambda: world.faults[-1] == "")
    await world.end(watching)


async def test_the_last_good_time_is_kept_once_it_is_known_and_never_an_unset_one(world: World) -> None:
    world.clock.trust = ClockTrust.UNSET
    await world.monitor._keep_wall_time()
    assert await world.outbox.last_wall() is None
    world.clock.trust = ClockTrust.SYNCED
    await world.monitor._keep_wall_time()
    kept = await world.outbox.last_wall()
    assert kept is not None
    assert (kept.unix, kept.boot, kept.up) == (int(world.clock.unix), world.clock.boot, int(world.clock.up))
    world.clock.advance(3600)
    await world.monitor._keep_wall_time()
    assert await world.outbox.last_wall() == kept, "no commit of its own; the next confirmations take it along"


async def test_a_time_that_cannot_be_kept_is_no_fault_of_the_taps_and_is_not_tried_every_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    async def remember_wall(_good: object, *, at_once: bool) -> None:
        tried.append(world.clock.monotonic())
        raise OutboxError("no space left", fault=OutboxFault.FULL)

    monkeypatch.setattr(world.outbox, "remember_wall", remember_wall)
    monkeypatch.setattr(monitor_module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(monitor_module, "SLOW_S", 60.0)  # a writer that is slow for once is another fault
    watching = asyncio.create_task(world.monitor.watch_outbox())
    await eventually(lambda: len(world.faults) >= 5)
    assert set(world.faults) == {""}, "the screens would flicker"
    assert world.seen(OUTBOX).state is ComponentState.OK
    assert len(tried) == 1
    world.clock.advance(monitor_module.WALL_EVERY_S)
    await eventually(lambda: len(tried) == 2)
    await world.end(watching)


async def test_a_publisher_whose_tick_stops_is_late_whatever_it_says(world: World) -> None:
    snap = UplinkSnapshot(
        up=True, since=0.0, reason="", text="", session="", in_flight=0, sent=0, acked=0, stored=0, refused=0,
        parked=0, requeued=0, dropped=0, ticked=world.clock.monotonic(),
    )  # fmt: skip
    uplink = SimpleNamespace(snapshot=lambda: snap, rebirth=lambda: None)
    world.monitor.uplink = lambda: cast("Publisher", uplink)
    world.look()
    assert world.seen(UPLINK).state is ComponentState.OK
    for _ in range(int(SILENT_S) + 1):
        world.clock.advance(1)
        world.look()
    assert world.seen(UPLINK).state is ComponentState.FAILED
    assert UPLINK in world.monitor.ill()
    snap = replace(snap, ticked=world.clock.monotonic())
    world.look()
    assert world.seen(UPLINK).state is ComponentState.OK
    assert UPLINK not in world.monitor.ill()
