"""The run itself: what it skips, when it gives up, and that a slow computer makes no firmware fail."""

from collections import deque
from collections.abc import Callable

import pytest

from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.runner import CHECKS, chosen, run
from firmware_bridge.conformance.talk import GREET_WITHIN_S, Talk
from firmware_bridge.device import DeviceEvent, DeviceSession, Send
from firmware_bridge.device import Tick as DeviceTick
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import Ack, Capability, McuEvent, McuHello, encode_message
from firmware_bridge.protocol import Received
from tests.fakes.broken_firmware import Firmware
from tests.fakes.virtual_wire import BYTE_S, VirtualWire


class Bare(Firmware):
    """Declares nothing."""

    HELLO = McuHello((0, 1, 0))


class Deaf(Firmware):
    def _receive(self, frame: Frame, now: float, out: list[object]) -> None:  # type: ignore[override]  # never answers
        pass


def made(
    *names: str, firmware: type[Firmware] = Firmware, change: Callable[[VirtualWire], None] | None = None
) -> list[Outcome]:
    wire = VirtualWire(firmware)
    if change:
        change(wire)
    told: list[Outcome] = []
    outcomes = run(Talk(wire), chosen(names), told.append)
    assert told == outcomes
    return outcomes


def verdicts(outcomes: list[Outcome]) -> dict[str, Verdict]:
    return {outcome.check.id: outcome.verdict for outcome in outcomes}


def test_what_is_not_declared_is_skipped_and_says_so() -> None:
    found = made(firmware=Bare)
    skipped = {outcome.check.id: outcome.note for outcome in found if outcome.verdict is Verdict.SKIP}
    assert {outcome.check.id for outcome in found if outcome.verdict is Verdict.FAIL} == set()
    assert skipped["cues.quiet"] == "the firmware does not declare quiet"
    assert set(skipped) == {check.id for check in CHECKS if check.needs or check.person}


def test_what_needs_a_person_is_skipped_without_one() -> None:
    found = made("look", "events")
    skipped = {outcome.check.id for outcome in found if outcome.verdict is Verdict.SKIP}
    assert skipped == {check.id for check in CHECKS if check.person}
    assert {outcome.note for outcome in found if outcome.check.person} == {
        "needs a person at the screen: --interactive"
    }


def test_a_firmware_that_never_answers_is_asked_once() -> None:
    first, *rest = made(firmware=Deaf)
    assert (first.verdict, first.expected) == (Verdict.FAIL, "ACK and HELLO to HELLO")
    assert first.got == "nothing for 5 s"
    assert GREET_WITHIN_S <= first.seconds < GREET_WITHIN_S + 1
    assert {(outcome.verdict, outcome.note) for outcome in rest} == {
        (Verdict.SKIP, "not run: the firmware never answered HELLO")
    }


def test_a_port_that_is_gone_ends_the_run() -> None:
    def dead(wire: VirtualWire) -> None:
        wire.dead = True

    first, second, *_ = made("status", change=dead)
    assert (first.verdict, first.got) == (Verdict.FAIL, "screen was unplugged")
    assert first.hint.startswith("look at plug and power")
    assert (second.verdict, second.note) == (Verdict.SKIP, "not run: screen: No such file or directory")


def test_a_port_that_goes_with_a_restart_and_comes_back_is_no_failure() -> None:
    def usb(wire: VirtualWire) -> None:
        wire.port_goes = True
        wire.boots_for_s = 2.0

    assert set(verdicts(made("reset", change=usb)).values()) == {Verdict.PASS}


def test_a_restart_that_takes_longer_than_five_seconds_is_a_failure() -> None:
    def slow(wire: VirtualWire) -> None:
        wire.boots_for_s = 12.0

    assert verdicts(made("reset.restarts", change=slow)) == {"reset.restarts": Verdict.FAIL}


def test_events_meanwhile_disturb_no_check() -> None:
    class Restless(Firmware):
        """Tells the light before each answer."""

        def handle(self, event: DeviceEvent, now: float) -> list[object]:  # type: ignore[override]  # effects only
            light = encode_message(McuEvent(3, b"\x01\x2c"), 77)
            told: list[object] = [Send(light)] if isinstance(event, Received) and not _only_acks(event.data) else []
            return [*told, *super().handle(event, now)]

    found = made("hello", "status", "sequence", "limits", firmware=Restless)
    assert set(verdicts(found).values()) == {Verdict.PASS}


def _only_acks(data: bytes) -> bool:
    frames = FrameDecoder().feed(data)
    return bool(frames) and all(frame.type == Ack.TYPE for frame in frames)


class SlowHost(VirtualWire):
    """A computer that is away for a while, a number of times, in the middle of what it waits for."""

    def __init__(self, power_on: Callable[[float], DeviceSession], times: int) -> None:
        super().__init__(power_on)
        self.times = times

    def read(self, until: float) -> bytes:
        if until - self.at > 0.2 and self.times:
            self.times -= 1
            until += 1.0
        return super().read(until)


@pytest.mark.parametrize(
    "check", ["sequence.once", "time_to_live.early", "time_to_live.only_cue", "time_to_live.renewed"]
)
def test_a_computer_that_was_held_up_makes_no_firmware_fail(check: str) -> None:
    (once,) = run(Talk(SlowHost(Firmware, 1)), chosen([check]), [].append)
    assert once.verdict is Verdict.PASS
    (always,) = run(Talk(SlowHost(Firmware, 1000)), chosen([check]), [].append)
    assert (always.verdict, always.note[:22]) in ((Verdict.SKIP, "this computer was too "), (Verdict.PASS, ""))


def test_a_run_of_one_check_or_one_group() -> None:
    assert [check.id for check in chosen(["status.ping", "brightness"])] == [
        "status.ping",
        "brightness.range",
        "brightness.keeps_cue",
    ]
    assert chosen([]) == CHECKS
    with pytest.raises(ValueError, match=r"'look.at' is no check and no group of checks: --list names them"):
        chosen(["look.at"])


def test_each_check_is_described() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.id == check.id.lower()
        assert check.proves.endswith(".")
        assert check.hint
        assert len(check.title) <= 49, "a line of the report"


def test_boot_messages_before_hello_are_counted_and_do_no_harm() -> None:
    class Chatty(Firmware):
        def __init__(self, started: float) -> None:
            super().__init__(started)
            self.said = False

        def _receive(self, frame: Frame, now: float, out: list[object]) -> None:  # type: ignore[override]  # effects only
            if not self.said:
                out.append(Send(b"boot v1.2\r\nready\r\n\x00"))
                self.said = True
            super()._receive(frame, now, out)  # type: ignore[arg-type]  # as above

    talk = Talk(VirtualWire(Chatty))
    assert {outcome.verdict for outcome in run(talk, chosen(["status"]), [].append)} == {Verdict.PASS}
    assert talk.unreadable == 1


def test_a_hello_that_cannot_be_read_names_the_layout() -> None:
    class ShortHello(Firmware):
        def _answer_to(self, message: object, seq: int, now: float) -> bytes:
            return encode_message(Ack(seq), seq) + encode_frame(Frame(0x81, seq, b"\x01\x01"))

    first, *_ = made(firmware=ShortHello)
    assert "Layout: version u8 | major, minor, patch, u8 each | capabilities u8" in first.expected


def test_every_capability_bit_that_a_person_can_see_has_a_check() -> None:
    asked = {check.needs for check in CHECKS}
    assert asked >= {Capability.TEXT, Capability.BRIGHTNESS, Capability.BUTTON, Capability.QUIET}


class SlowLine(VirtualWire):
    """9600 baud behind a kernel that takes all bytes at once: the firmware hears them later, and thinks for 40 ms."""

    def __init__(self, power_on: Callable[[float], DeviceSession]) -> None:
        super().__init__(power_on)
        self.carried: list[tuple[float, bytes]] = []
        self.free_at = self.at

    def write(self, data: bytes) -> None:
        self.free_at = max(self.free_at, self.at) + len(data) * 10 / 9600
        self.carried.append((self.free_at, data))

    def read(self, until: float) -> bytes:
        while self.carried and self.carried[0][0] <= max(until, self.at):
            if data := self._heard(self.at):
                return data
            at, data = self.carried.pop(0)
            self.at = max(self.at, at)
            self._handle(Received(data))
        return self._heard(until)

    def _heard(self, until: float) -> bytes:
        data = super().read(until)
        self.at += 0.04 + len(data) * (10 / 9600 - BYTE_S) if data else 0.0
        return data


def test_a_slow_line_gets_the_time_that_it_takes() -> None:
    talk = Talk(SlowLine(Firmware), baud=9600)
    found = run(talk, CHECKS, [].append)
    assert {outcome.check.id: outcome.got for outcome in found if outcome.verdict is Verdict.FAIL} == {}
    assert {outcome.check.person for outcome in found if outcome.verdict is Verdict.SKIP} == {True}


class Together(VirtualWire):
    """A computer that reads what came in a while at once, some times."""

    def __init__(self, power_on: Callable[[float], DeviceSession], times: int) -> None:
        super().__init__(power_on)
        self.times = times

    def press_button(self) -> None:
        super().press_button()
        if self.times:
            self.times -= 1
            held, self._inbox = self._inbox, deque()
            for _ in range(3):
                self.at += 0.06
                self._handle(DeviceTick())
            self._inbox.appendleft(b"".join([*held, *self._inbox]))
            while len(self._inbox) > 1:
                self._inbox.pop()


@pytest.mark.parametrize("check", ["events.repeat", "events.acknowledged"])
def test_events_that_were_read_late_are_asked_for_again(check: str) -> None:
    wire = Together(Firmware, 1)
    asked: list[str] = []

    def person(question: str) -> bool:
        asked.append(question)
        wire.press_button()
        return True

    (outcome,) = run(Talk(wire, person=person), chosen([check]), [].append)
    assert (outcome.verdict, len(asked)) == (Verdict.PASS, 2)


class LateAck(VirtualWire):
    """The ACK of an EVENT comes when the firmware has just repeated it, some times."""

    def __init__(self, times: int) -> None:
        super().__init__(Firmware)
        self.times = times

    def write(self, data: bytes) -> None:
        if self.times and any(frame.type == Ack.TYPE for frame in FrameDecoder().feed(data)):
            self.times -= 1
            self.at += 0.06
            self._handle(DeviceTick())
        super().write(data)


@pytest.mark.parametrize(("times", "verdict"), [(1, Verdict.PASS), (100, Verdict.FAIL)])
def test_a_repeat_that_crossed_its_ack_is_asked_for_once_more(times: int, verdict: Verdict) -> None:
    wire = LateAck(times)
    asked: list[str] = []

    def person(question: str) -> bool:
        asked.append(question)
        wire.press_button()
        return True

    (outcome,) = run(Talk(wire, person=person), chosen(["events.acknowledged"]), [].append)
    assert (outcome.verdict, len(asked)) == (verdict, 2)


class Hoarding(VirtualWire):
    """A firmware whose interrupt keeps what comes while it starts: all of it is answered then, at once."""

    def __init__(self, power_on: Callable[[float], DeviceSession]) -> None:
        super().__init__(power_on)
        self.boots_for_s = 1.0
        self.kept = b""

    def write(self, data: bytes) -> None:
        if self.at < self._deaf_until:
            self.kept += data
        super().write(data)

    def read(self, until: float) -> bytes:
        if self.kept and self._deaf_until <= until:
            self.at, data, self.kept = max(self.at, self._deaf_until), self.kept, b""
            self._handle(Received(data))
        return super().read(until)


def test_a_firmware_that_answers_after_its_start_what_came_meanwhile_passes() -> None:
    found = run(Talk(Hoarding(Firmware)), chosen(["reset"]), [].append)
    assert {outcome.check.id: outcome.got for outcome in found if outcome.verdict is not Verdict.PASS} == {}
