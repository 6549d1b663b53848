"""One talk with a firmware: send raw frames, wait for what must come, remember all of it for the report.

It is strict about one thing at a time, so that one fault of a firmware makes one check fail: order, heads and times of
answers have checks of their own. It acknowledges an EVENT like a host, unless a check takes that over.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from firmware_bridge.conformance.base import Failed, HeldUp, Skipped, Wire
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import (
    CUE_CODES,
    Ack,
    AskStatus,
    Capability,
    HostHello,
    McuEvent,
    McuHello,
    Message,
    MessageError,
    Nak,
    NakReason,
    Ping,
    ShowCue,
    Status,
    encode_message,
    from_mcu,
)
from firmware_bridge.protocol import DEFAULT_BAUD, HELLO_EVERY_S, ack_within_s
from firmware_bridge.trace import MAX_PIECE, Direction, Record, line_of, words_of

# How long a missing answer is waited for. Longer than the protocol's 50 ms: whether it comes and when are two checks.
PATIENCE_S = 1.0
GREET_WITHIN_S = 5.0
TERMINAL_ID = "conformance"
_BITS_PER_BYTE = 10
_TRACE_FRAMES = 8
_MOST_ANSWERS = 8
# Where the seq of a check begins: not where the one before did, so that a late answer is never taken for a new one.
_SEQ_STEP = 32
_SEQ_BASES = 5
Person = Callable[[str], bool]
_M = TypeVar("_M", McuHello, Status)


class Talk:
    """The host's end, for checks: ``baud`` is the speed of the line, and lays down how late an answer may be.

    ``within_s`` takes the place of that.
    """

    def __init__(
        self, wire: Wire, *, person: Person | None = None, within_s: float | None = None, baud: int = DEFAULT_BAUD
    ) -> None:
        self.wire = wire
        self.ack_within_s = ack_within_s(baud) if within_s is None else within_s
        self.stretch = 1.0
        """Times of checks that wait are multiplied by this; raised after HeldUp."""
        self.hello: McuHello | None = None
        self.failed = False
        """The last check failed: answers to it may still come."""
        self.note = ""
        """What a check has measured."""
        self.events: list[tuple[float, Frame]] = []
        """(moment, EVENT frame) of this check."""
        self.seq = 0
        self._person = person
        self._acknowledging = True
        self._decoder = FrameDecoder()
        self._inbox: deque[Frame] = deque()
        self._trace: deque[str] = deque(maxlen=_TRACE_FRAMES)
        self._byte_s = _BITS_PER_BYTE / baud
        self._line_free_at = wire.now()
        self._begun = 0
        self._began_at = wire.now()

    @property
    def can(self) -> Capability:
        """What the firmware declared in its last HELLO."""
        return self.hello.capabilities if self.hello else Capability.NONE

    @property
    def unreadable(self) -> int:
        """Runs of bytes from the firmware that were no frames, in the whole run."""
        return self._decoder.errors

    @property
    def trace(self) -> tuple[str, ...]:
        """The last frames of this check, both ways, in words."""
        return tuple(self._trace)

    def begin(self) -> None:
        """Forget what was before; after a failure, also what is still on its way."""
        if self.failed:
            self.failed = False
            self.settle()
        self._inbox.clear()
        self._trace.clear()
        self.events.clear()
        self.note = ""
        self._acknowledging = True
        self._begun += 1
        self._began_at = self.wire.now()
        self.seq = self._begun % _SEQ_BASES * _SEQ_STEP

    def greet(self) -> McuHello:
        """Say HELLO until the firmware answers ACK and HELLO, in any order; raises Failed after five seconds."""
        self.write(b"\x00")
        end = self.wire.now() + GREET_WITHIN_S
        got: deque[Frame] = deque(maxlen=3)
        tries = 0
        while self.wire.now() < end:
            tries += 1
            seq = self.send(HostHello(TERMINAL_ID))
            hello, acked = None, False
            until = self.wire.now() + HELLO_EVERY_S
            while self.wire.now() < until and (frame := self._take(until)):
                got.append(frame)
                acked = acked or _is(frame, Ack(seq))
                if frame.type == McuHello.TYPE:
                    self.hello = hello = self._read(frame, McuHello)
                if hello and acked:
                    if tries > 1:
                        self.settle()
                    return hello
        raise Failed("ACK and HELLO to HELLO", _list(got) or f"nothing for {GREET_WITHIN_S:.0f} s")

    # What is sent

    def next_seq(self) -> int:
        """Count on, 255 is followed by 0."""
        self.seq = (self.seq + 1) % 256
        return self.seq

    def write(self, data: bytes) -> None:
        """Put bytes on the line as they are."""
        begun = self.wire.now()
        self.wire.write(data)
        self._line_free_at = max(self._line_free_at, begun) + len(data) * self._byte_s

    def send(self, message: Message, seq: int | None = None) -> int:
        """Send a message with this seq, or the next; return it."""
        seq = self.next_seq() if seq is None else seq
        return self.send_frame(Frame(message.TYPE, seq, bytes(message)))

    def send_frame(self, frame: Frame) -> int:
        """Send any frame, right or wrong; return its seq."""
        self._note(Direction.TO_MCU, encode_frame(frame))
        self.write(encode_frame(frame))
        return frame.seq

    def send_raw(self, data: bytes) -> None:
        """Send bytes that may be no frame at all."""
        self._note(Direction.TO_MCU, data[:MAX_PIECE])
        self.write(data)

    # What must come

    def acked(self, message: Message, seq: int | None = None) -> int:
        """Send a message that must be answered with its ACK and nothing before it."""
        sent = self.send(message, seq)
        self.expect_ack(sent)
        return sent

    def refused(self, frame: Frame, reason: NakReason, what: str) -> None:
        """Send a frame that must be answered with this NAK; ``what`` says what is wrong with it."""
        self.send_frame(frame)
        self._expect(Nak(frame.seq, reason), f" to {what}")

    def expect_ack(self, seq: int) -> Frame:
        """Wait for this ACK; whatever else comes first is a failure."""
        return self._expect(Ack(seq), "")

    def nothing_came(self, after: str) -> None:
        """Prove that what was sent was not answered: the next answer is that to a PING."""
        seq = self.send(Ping(1))
        frame = self.next_frame()
        if not _is(frame, Ack(seq)):
            raise Failed(f"no answer to {after}, then ACK seq={seq} to a PING", self.got(frame))

    def next_frame(self, within_s: float | None = None) -> Frame | None:
        """Return the next frame that is no EVENT, None when there is none in time."""
        # A slow line is still carrying what the kernel took at once.
        sent_at = max(self.wire.now(), self._line_free_at)
        return self._take(sent_at + (PATIENCE_S * self.stretch if within_s is None else within_s))

    def got(self, frame: Frame | None) -> str:
        """Say what came instead."""
        return with_bytes(frame) if frame else f"nothing for {PATIENCE_S * self.stretch:g} s"

    def status(self) -> Status:
        """Ask for the status; its ACK may come before or after it."""
        return self._with_ack(self.send(AskStatus()), Status)

    def greeted(self, message: HostHello, seq: int | None = None) -> McuHello:
        """Say this HELLO once; ACK and HELLO may come in any order."""
        return self._with_ack(self.send(message, seq), McuHello)

    def _with_ack(self, seq: int, kind: type[_M]) -> _M:
        got: list[Frame] = []
        answer: _M | None = None
        acked = False
        # A firmware that floods must not hold the run for ever.
        while len(got) < _MOST_ANSWERS and (frame := self.next_frame()):
            got.append(frame)
            if frame.type == kind.TYPE:
                answer = self._read(frame, kind)
            elif _is(frame, Ack(seq)):
                acked = True
            else:
                break
            if answer and acked:
                return answer
        raise Failed(
            f"{in_words(Ack(seq))} and {kind.__name__.removeprefix('Mcu').upper()}", _list(got[-3:]) or self.got(None)
        )

    def shows(self, cue: CueName, after: str) -> None:
        """Ask for the status, which must name this cue."""
        status = self.status()
        if status.cue is not cue:
            raise Failed(f"STATUS with {cue} ({CUE_CODES[cue]}) {after}", _shown(status))

    def show(self, cue: CueName, ttl_ms: int = 10_000, *, level: int = 100, text: str = "") -> None:
        """Show a cue, which must be acknowledged."""
        self.acked(ShowCue(cue, ttl_ms, level, text))

    def wait(self, seconds: float) -> None:
        """Let time pass; what comes meanwhile is kept."""
        self._fill(self.wire.now() + seconds, stop_at_frame=False)

    def settle(self) -> None:
        """Forget the answers that are still on their way: a firmware that was busy may give several at once."""
        self.wait(HELLO_EVERY_S)
        self._inbox.clear()

    def before(self, moment: float) -> None:
        """Go on only if that moment has not come yet; raises HeldUp."""
        if self.wire.now() >= moment:
            raise HeldUp

    def ask_person(self, question: str) -> bool:
        """Ask whoever stands at the screen; raises Skipped where nobody does."""
        if self._person is None:
            raise Skipped("needs a person at the screen: --interactive")
        return self._person(question)

    @contextmanager
    def events_unanswered(self) -> Iterator[None]:
        """Acknowledge no EVENT meanwhile."""
        self._acknowledging = False
        try:
            yield
        finally:
            self._acknowledging = True

    # Inside

    def _note(self, direction: Direction, data: bytes) -> None:
        self._trace.append(line_of(Record(max(0, round((self.wire.now() - self._began_at) * 1e6)), direction, data)))

    def _expect(self, answer: Message, why: str) -> Frame:
        frame = self.next_frame()
        if frame is None or not _is(frame, answer):
            raise Failed(in_words(answer) + why, self.got(frame))
        return frame

    def _read(self, frame: Frame, kind: type[_M]) -> _M:
        try:
            message = from_mcu(frame)
        except MessageError as error:
            raise Failed(f"a payload as laid down: {kind.parse.__doc__}", f"{with_bytes(frame)} ({error})") from error
        if not isinstance(message, kind):
            raise Failed(kind.__name__, with_bytes(frame))
        return message

    def _take(self, until: float) -> Frame | None:
        if not self._inbox:
            self._fill(until, stop_at_frame=True)
        return self._inbox.popleft() if self._inbox else None

    def _fill(self, until: float, *, stop_at_frame: bool) -> None:
        while not (stop_at_frame and self._inbox):
            data = self.wire.read(until)
            for frame in self._decoder.feed(data):
                self._note(Direction.TO_HOST, encode_frame(frame))
                if frame.type != McuEvent.TYPE:
                    self._inbox.append(frame)
                    continue
                self.events.append((self.wire.now(), frame))
                if self._acknowledging:
                    self.write(encode_message(Ack(frame.seq), frame.seq))
            if self.wire.now() >= until:
                return


def _is(frame: Frame | None, answer: Message) -> bool:
    return frame is not None and frame.type == answer.TYPE and frame.payload == bytes(answer)


def in_words(answer: Message, seq: int | None = None) -> str:
    """Name an answer with its fields; its head bears the seq that it answers."""
    number = bytes(answer)[0] if seq is None else seq
    return words_of(Record(0, Direction.TO_HOST, encode_message(answer, number)))


def with_bytes(frame: Frame) -> str:
    """Name what the firmware sent, and show its bytes."""
    data = encode_frame(frame)
    return f"{words_of(Record(0, Direction.TO_HOST, data))}  | {data.hex(' ')}"


def _list(frames: Iterable[Frame]) -> str:
    return ", then ".join(with_bytes(frame) for frame in frames)


def _shown(status: Status) -> str:
    return f"STATUS with {status.cue or 'nothing yet'}"
