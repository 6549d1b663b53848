"""Plays the host's side of a trace to a real MCU and compares the answers. Pure: ``(event, now)`` gives effects.

What lies in the nature of another run is no difference: uptime and temperature of a STATUS, an EVENT, a repeat of the
same frame, how long an answer took.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import Ack, HostHello, McuEvent, Status, encode_message
from firmware_bridge.protocol import HELLO_EVERY_S, SILENCE_S, Received, Tick
from firmware_bridge.trace import Direction, Record, words_of

ANSWER_WITHIN_S = 1.0
"""An answer that takes longer than this is none; HELLO has three seconds, while a boot loader may run."""
_LINGER_S = 0.1
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Opened:
    """The line is open: begin."""


ReplayEvent = Opened | Received | Tick


@dataclass(frozen=True, slots=True)
class Play:
    """Effect: hand these bytes to the line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """Effect: this run is not as the trace: at ``at_us`` of the trace, what it has and what came now, in words."""

    at_us: int
    trace: str
    now: str


@dataclass(frozen=True, slots=True)
class Note:
    """Effect: something to know that is no difference."""

    text: str


ReplayEffect = Play | Difference | Note


@dataclass(slots=True)
class Step:
    """One frame (or noise) that is played, and the answers that the trace has to it."""

    record: Record
    answers: list[Record] = field(default_factory=list)

    @property
    def greets(self) -> bool:
        """Whether it is a HELLO of the host."""
        return isinstance(self.record.message, HostHello)


@dataclass(slots=True)
class _Waiting:
    step: Step
    left: list[Record]
    until: float
    taken: list[bytes] = field(default_factory=list)


def steps_of(records: Sequence[Record]) -> list[Step]:
    """Return what the host sent, in order, each once, with the MCU's answers to it; ACKs and EVENTs stand in none."""
    steps: list[Step] = []
    latest: dict[int, Step] = {}
    for record in records:
        frame = record.frame
        if record.direction is Direction.TO_HOST:
            step = latest.get(frame.seq) if frame else None
            if step and not isinstance(record.message, McuEvent) and not _among(record, step.answers):
                step.answers.append(record)
        elif frame is None:
            steps.append(Step(record))
        elif not isinstance(record.message, Ack):
            before = latest.get(frame.seq)
            if before and before is steps[-1] and before.record.data == record.data and not before.greets:
                continue  # the host repeated it
            step = Step(record)
            if steps and step.greets and steps[-1].greets and not steps[-1].answers:
                steps.pop()  # nobody heard that one
            steps.append(step)
            latest[frame.seq] = step
    return steps


def _among(record: Record, others: Sequence[Record]) -> bool:
    return any(essence(other) == essence(record) for other in others)


def essence(record: Record) -> object:
    """Return what must be the same in each run, for comparing; bytes that are no message stand for themselves."""
    message = record.message
    if isinstance(message, Status):
        return replace(message, uptime_ms=0, temperature_c=0)
    return message if message is not None else record.data


class HostReplay:
    """One run; ``speed`` 2.0 is twice as fast as recorded, 0 as fast as answers come."""

    def __init__(self, records: Sequence[Record], speed: float = 1.0) -> None:
        self.done = False
        self.answers = 0
        """Answers that were as in the trace."""
        self._steps = steps_of(records)
        self._speed = speed
        self._next = 0
        self._decoder = FrameDecoder()
        self._waiting: dict[int, _Waiting] = {}
        self._latest: _Waiting | None = None
        self._play_at = 0.0
        self._greet_at: float | None = None
        self._end_at: float | None = None
        self._event_seq: int | None = None

    @property
    def due(self) -> float | None:
        """Monotonic seconds of the next Tick; None when there is nothing to wait for."""
        moments = [waiting.until for waiting in self._waiting.values() if waiting.left]
        moments += [moment for moment in (self._greet_at, self._end_at) if moment is not None]
        if self._next < len(self._steps) and self._may_go_on():
            moments.append(self._play_at)
        return None if self.done else min(moments, default=None)

    def handle(self, event: ReplayEvent, now: float) -> list[ReplayEffect]:
        """Take one event at ``now`` (monotonic seconds), return what to do, in order."""
        out: list[ReplayEffect] = []
        match event:
            case Opened():
                self._play_at = now
            case Received(data=data):
                for frame in self._decoder.feed(data):
                    self._receive(frame, out)
            case Tick():
                pass
        if not self.done:
            self._give_up_waiting(now, out)
            self._play_due(now, out)
        return out

    def _play_due(self, now: float, out: list[ReplayEffect]) -> None:
        if self._greet_at is not None and now >= self._greet_at and self._latest:
            self._greet_at = now + HELLO_EVERY_S
            out.append(Play(self._latest.step.record.data))
        while self._next < len(self._steps) and now >= self._play_at and self._may_go_on():
            self._play(self._steps[self._next], now, out)
        if self._next == len(self._steps) and not any(waiting.left for waiting in self._waiting.values()):
            # One that says too much does so at once.
            self._end_at = self._end_at if self._end_at is not None else now + _LINGER_S
            if now >= self._end_at:
                self._finish(out)

    def _may_go_on(self) -> bool:
        if self._latest is None or not self._latest.left:
            return True
        return bool(self._speed) and not self._latest.step.greets

    def _play(self, step: Step, now: float, out: list[ReplayEffect]) -> None:
        self._next += 1
        out.append(Play(step.record.data))
        self._greet_at = now + HELLO_EVERY_S if step.greets and step.answers else None
        frame = step.record.frame
        if frame is not None:
            self._latest = _Waiting(step, [*step.answers], now + (SILENCE_S if step.greets else ANSWER_WITHIN_S))
            self._miss(self._waiting.pop(frame.seq, None), out)
            self._waiting[frame.seq] = self._latest
        if self._next < len(self._steps) and self._speed:
            gap_us = self._steps[self._next].record.at_us - step.record.at_us
            self._play_at = now + gap_us / 1_000_000 / self._speed

    def _receive(self, frame: Frame, out: list[ReplayEffect]) -> None:
        if self.done:
            return
        came = Record(0, Direction.TO_HOST, encode_frame(frame))
        if isinstance(came.message, McuEvent):
            out.append(Play(encode_message(Ack(frame.seq), frame.seq)))
            if frame.seq != self._event_seq:
                self._event_seq = frame.seq
                out.append(Note(f"the MCU tells: {words_of(came)}"))
            return
        waiting = self._waiting.get(frame.seq)
        if waiting is None:
            out.append(Difference(self._at_us(), NOTHING, words_of(came)))
        elif came.data in waiting.taken and not _among(came, waiting.left):
            return  # the answer to a repeat
        elif not waiting.left:
            played = waiting.step.record
            out.append(Difference(played.at_us, f"{NOTHING} more after {words_of(played)}", words_of(came)))
        else:
            wanted = waiting.left.pop(0)
            waiting.taken.append(came.data)
            if waiting.step.greets:
                self._greet_at = None
            if essence(wanted) == essence(came):
                self.answers += 1
            else:
                out.append(Difference(wanted.at_us, words_of(wanted), words_of(came)))

    def _give_up_waiting(self, now: float, out: list[ReplayEffect]) -> None:
        for waiting in self._waiting.values():
            if waiting.left and now >= waiting.until:
                self._miss(waiting, out)
                if waiting.step.greets:
                    out.append(Note("the MCU does not answer HELLO: the rest of the trace would say nothing"))
                    self._finish(out)
                    return

    def _miss(self, waiting: _Waiting | None, out: list[ReplayEffect]) -> None:
        if waiting:
            out += [Difference(record.at_us, words_of(record), NOTHING) for record in waiting.left]
            waiting.left.clear()

    def _finish(self, out: list[ReplayEffect]) -> None:
        self.done = True
        if self._decoder.errors:
            out.append(Note(f"{self._decoder.errors} unreadable pieces came"))

    def _at_us(self) -> int:
        return self._steps[max(self._next - 1, 0)].record.at_us if self._steps else 0
