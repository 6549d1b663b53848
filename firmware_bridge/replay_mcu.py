"""Plays the MCU's side of a trace to a real host and compares what the host says. Pure: ``(event, now)`` gives effects.

A host has a clock and people before it: PING, ASK_STATUS, times to live, repeats, and a cue that is sent again to keep
it, are no difference. Answers bear the seq that this host uses; all other bytes are those of the trace.
"""

from collections.abc import Sequence
from dataclasses import replace

from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import Ack, AskStatus, HostHello, McuEvent, Nak, Ping, ShowCue, encode_message
from firmware_bridge.protocol import Received, Tick
from firmware_bridge.replay import NOTHING, Difference, Note, Opened, Play, ReplayEffect, ReplayEvent, Step, steps_of
from firmware_bridge.trace import Direction, Record, words_of

HOST_WITHIN_S = 10.0
"""A host that takes so much longer than in the trace will not come."""
_LOOK_AHEAD = 8
# After the last message a host still asks this and that; one that is cut off would call the port unplugged.
_LINGER_S = 0.5


def _essence(record: Record) -> object:
    message = record.message
    if isinstance(message, ShowCue):
        return replace(message, ttl_ms=1)
    return message if message is not None else record.data


def _of_the_clock(record: Record) -> bool:
    return isinstance(record.message, Ping | AskStatus)


class McuReplay:
    """One run; ``speed`` 2.0 is twice as fast as recorded, 0 sends what the MCU said by itself without a pause."""

    def __init__(self, records: Sequence[Record], speed: float = 1.0) -> None:
        self.done = False
        self.answers = 0
        """Messages of the host that were as in the trace."""
        self._speed = speed
        steps = steps_of(records)
        self._steps = _without_renewals(
            [step for step in steps if step.record.frame and not _of_the_clock(step.record)]
        )
        self._by_itself = [
            record
            for record in records
            if record.direction is Direction.TO_HOST and (record.frame is None or isinstance(record.message, McuEvent))
        ]
        self._clocked = [step for step in steps if _of_the_clock(step.record) and step.answers]
        self._next = 0
        self._said = 0
        self._decoder = FrameDecoder()
        self._heard_at = 0.0
        self._last: tuple[Frame, bytes] | None = None
        self._shown: object = None
        self._anchor: tuple[int, float] | None = None
        """A moment of the trace, microseconds, and when it was in this run."""

    @property
    def due(self) -> float | None:
        """Monotonic seconds of the next Tick; None when there is nothing to wait for, as before the host comes."""
        if self.done or self._anchor is None:
            return None
        moments = [self._moment(self._steps[self._next].record.at_us) + HOST_WITHIN_S] if self._waits_for_host else []
        if self._may_say:
            moments.append(self._moment(self._by_itself[self._said].at_us))
        return min(moments, default=self._heard_at + _LINGER_S)

    def handle(self, event: ReplayEvent, now: float) -> list[ReplayEffect]:
        """Take one event at ``now`` (monotonic seconds), return what to do, in order."""
        out: list[ReplayEffect] = []
        match event:
            case Received(data=data):
                for frame in self._decoder.feed(data):
                    self._receive(frame, now, out)
            case Opened() | Tick():
                pass
        if not self.done:
            self._speak(now, out)
            self._judge(now, out)
        return out

    @property
    def _waits_for_host(self) -> bool:
        return self._next < len(self._steps)

    @property
    def _may_say(self) -> bool:
        """Whether what the MCU says next by itself comes before the next message of the host in the trace."""
        if self._said == len(self._by_itself):
            return False
        return not self._waits_for_host or self._by_itself[self._said].at_us <= self._steps[self._next].record.at_us

    def _moment(self, at_us: int) -> float:
        assert self._anchor is not None  # noqa: S101 - who calls has looked
        since_us, since = self._anchor
        return since + (max(at_us - since_us, 0) / 1_000_000 / self._speed if self._speed else 0.0)

    def _speak(self, now: float, out: list[ReplayEffect]) -> None:
        while self._anchor and self._may_say and now >= self._moment(self._by_itself[self._said].at_us):
            out.append(Play(self._by_itself[self._said].data))
            self._said += 1

    def _judge(self, now: float, out: list[ReplayEffect]) -> None:
        if self._anchor is None:
            return
        if self._waits_for_host and now >= self._moment(self._steps[self._next].record.at_us) + HOST_WITHIN_S:
            out += [_missing(step) for step in self._steps[self._next :]]
            self._next = len(self._steps)
        over = not self._waits_for_host and self._said == len(self._by_itself)
        if over and now >= self._heard_at + _LINGER_S:
            self.done = True
            if self._decoder.errors:
                out.append(Note(f"{self._decoder.errors} unreadable pieces came"))

    def _receive(self, frame: Frame, now: float, out: list[ReplayEffect]) -> None:
        came = Record(0, Direction.TO_MCU, encode_frame(frame))
        if self.done or isinstance(came.message, Ack):
            return
        self._heard_at = now
        if self._last and self._last[0] == frame and not isinstance(came.message, HostHello):
            out.extend([Play(self._last[1])] if self._last[1] else [])  # a repeat is answered as before
            return
        answers = self._answers_to(came, now, out)
        data = b"".join(_readdressed(answer, frame.seq) for answer in answers)
        self._last = (frame, data)
        out.extend([Play(data)] if data else [])

    def _answers_to(self, came: Record, now: float, out: list[ReplayEffect]) -> list[Record]:
        found = _essence(came)
        if _of_the_clock(came):
            alike = (step for step in self._clocked if type(step.record.message) is type(came.message))
            return next((step.answers for step in alike), _acknowledged(came))
        ahead = self._steps[self._next : self._next + _LOOK_AHEAD]
        at = next((number for number, step in enumerate(ahead) if _essence(step.record) == found), None)
        before = self._steps[self._next - 1] if self._next else None
        if at != 0 and before and before.greets and _essence(before.record) == found:
            return before.answers  # said again: the answer was slow
        if at != 0 and isinstance(came.message, ShowCue) and found == self._shown:
            return _acknowledged(came)  # sent again, to keep it
        if at is None:
            wanted = words_of(ahead[0].record) if ahead else NOTHING
            out.append(Difference(ahead[0].record.at_us if ahead else self._end_us, wanted, words_of(came)))
            greeting = (step.answers for step in self._steps if step.greets and step.answers)
            return next(greeting, []) if isinstance(came.message, HostHello) else _acknowledged(came)
        out += [_missing(step) for step in ahead[:at]]
        self._next += at + 1
        self.answers += 1
        self._anchor = (ahead[at].record.at_us, now)
        if isinstance(came.message, ShowCue):
            self._shown = found
        return ahead[at].answers

    @property
    def _end_us(self) -> int:
        return self._steps[-1].record.at_us if self._steps else 0


def _without_renewals(steps: Sequence[Step]) -> list[Step]:
    """Leave out a cue that says only what the cue before it said, and each HELLO that was said again at once."""
    kept: list[Step] = []
    shown: object = None
    for step in steps:
        found = _essence(step.record)
        if isinstance(step.record.message, ShowCue):
            if found == shown:
                continue
            shown = found
        elif step.greets:
            shown = None
            if kept and _essence(kept[-1].record) == found:
                kept.pop()
        kept.append(step)
    return kept


def _missing(step: Step) -> Difference:
    return Difference(step.record.at_us, words_of(step.record), NOTHING)


def _acknowledged(came: Record) -> list[Record]:
    seq = came.frame.seq if came.frame else 0
    return [Record(0, Direction.TO_HOST, encode_message(Ack(seq), seq))]


def _readdressed(answer: Record, seq: int) -> bytes:
    """Return the bytes of an answer with the seq that this host used."""
    message, frame = answer.message, answer.frame
    if isinstance(message, Ack | Nak):
        return encode_message(replace(message, seq=seq), seq)
    return encode_frame(Frame(frame.type, seq, frame.payload, frame.version)) if frame else answer.data
