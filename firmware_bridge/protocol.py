"""The host's end of the screen link: HELLO, seq, ACK, repeat, PING, replay. Pure: ``(event, now)`` gives effects.

One frame waits for its ACK at a time, and a new cue never waits at all: it takes the place of whatever is outstanding.
A cue that no ACK confirmed is sent again as soon as the MCU is heard; a cue whose time to live is over never is.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from firmware_bridge.cues import Cue, CueName, Lang
from firmware_bridge.frames import PROTOCOL_VERSION, Frame, FrameDecoder
from firmware_bridge.messages import (
    MAX_TEXT,
    Ack,
    AskStatus,
    Capability,
    HostHello,
    HostMessage,
    Level,
    McuEvent,
    McuHello,
    MessageError,
    Nak,
    NakReason,
    Ping,
    Reset,
    ShowCue,
    Status,
    encode_message,
    from_mcu,
    show_cue,
)

ACK_WITHIN_S = 0.05
RETRIES = 3
DEFAULT_BAUD = 115200
PING_EVERY_S = 1.0
SILENCE_S = 3.0
# What an MCU may tell by itself: so many at once, so many a second. The rest has no ACK, so that a sound MCU says it
# again; a switch that chatters costs the host nothing.
TOLD_BURST = 20
TOLD_PER_S = 10.0
_SENDINGS_KEPT = 8
# An MCU that is reset by the opening of its port is deaf while its boot loader runs: greet it anew until it answers.
HELLO_EVERY_S = 0.25
_BITS_A_BYTE = 10
_CUE_AND_ACK = len(encode_message(ShowCue(CueName.INVITE, 1, 0, "x" * MAX_TEXT), 0) + encode_message(Ack(0), 0))


def ack_within_s(baud: int) -> float:
    """Return after how many seconds a message without its ACK is sent again: 50 ms, and longer on a slow line.

    Longer by what the longest CUE and its ACK take there beyond their time at 115200 baud: a repeat of what the line
    still carries would only keep the next cue waiting.
    """
    return ACK_WITHIN_S + _CUE_AND_ACK * _BITS_A_BYTE * max(0.0, 1 / baud - 1 / DEFAULT_BAUD)


class Phase(StrEnum):
    """Where a session stands."""

    CLOSED = "closed"
    GREETING = "greeting"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Opened:
    """The line is open."""


@dataclass(frozen=True, slots=True)
class Received:
    """The line gave bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Want:
    """Show this cue; while the link is not up it is kept and shown when it is.

    Its time to live counts from ``asked_at`` (monotonic seconds), None for the moment at which the session takes it.
    """

    cue: Cue
    asked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Send one of the occasional messages when the line is free; the newest of each kind is kept."""

    message: Level | AskStatus | Reset


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed: send it at ``HostSession.due`` at the latest."""


HostEvent = Opened | Received | Want | Ask | Tick


@dataclass(frozen=True, slots=True)
class Write:
    """Effect: hand these bytes to the line; ``cue`` names the cue that they carry, ``repeat`` a second try."""

    data: bytes
    cue: CueName | None = None
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Up:
    """Effect: the MCU answered."""

    hello: McuHello


@dataclass(frozen=True, slots=True)
class Down:
    """Effect: give the line up and open it again; ``reason`` is for a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Effect: the MCU confirmed a cue, ``after_s`` seconds after its first byte was asked for."""

    cue: CueName
    after_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Effect: the MCU said no to a message and will not be asked again."""

    message: str
    reason: NakReason


@dataclass(frozen=True, slots=True)
class Told:
    """Effect: the MCU reported something; a repeated EVENT is told once."""

    message: Status | McuEvent


Effect = Write | Up | Down | Shown | Refused | Told


@dataclass(slots=True)
class _Outstanding:
    seq: int
    message: HostMessage
    data: bytes
    cue: CueName | None
    repeat_at: float
    repeats: int = 0


@dataclass(slots=True)
class _WantedCue:
    cue: Cue
    until: float
    to_send: bool = True
    sent: dict[int, float] = field(default_factory=dict)
    """seq of each sending, the newest few, and when it was: over a slow line an ACK may come for an earlier one."""
    confirmed: bool = False


class HostSession:
    """One opening of one line; after Down it takes nothing more, a new opening needs a new session.

    ``ack_within_s``: seconds after which a message without an ACK is repeated; longer where the line is slow to answer.
    """

    def __init__(self, terminal_id: str, *, lang: Lang = Lang.EN, ack_within_s: float = ACK_WITHIN_S) -> None:
        self.phase = Phase.CLOSED
        self.decoder = FrameDecoder()
        self.unreadable = 0
        """Frames with a right CRC that are no message of this version."""
        self.left_out = 0
        """Frames beyond what an MCU may tell: not told, and not acknowledged."""
        self._terminal_id = terminal_id
        self._lang = lang
        self._ack_within_s = ack_within_s
        self._can = Capability.NONE
        self._seq = 0
        self._outstanding: _Outstanding | None = None
        self._wanted: _WantedCue | None = None
        self._asked: dict[int, HostMessage] = {}
        self._heard_at = 0.0
        self._trouble_before = (0, 0)
        self._greet_at = 0.0
        self._ping_at = 0.0
        self._event_seq: int | None = None
        self._told_until = 0.0

    @property
    def heard_at(self) -> float | None:
        """Monotonic seconds of the last sign of the MCU; None as long as it has not said HELLO."""
        return self._heard_at if self.phase is Phase.UP else None

    @property
    def trouble(self) -> str:
        """What went wrong on this line so far, for a technician; empty where nothing did."""
        return ", ".join(_told_of(self.decoder.errors, self.unreadable, self.left_out))

    @property
    def due(self) -> float | None:
        """Monotonic seconds of the next Tick; None when there is nothing to wait for."""
        if self.phase is Phase.GREETING:
            moments = [self._heard_at + SILENCE_S, self._greet_at]
        elif self.phase is Phase.UP:
            moments = [self._heard_at + SILENCE_S, self._ping_at]
        else:
            return None
        if self._outstanding:
            moments.append(self._outstanding.repeat_at)
        return min(moments)

    def handle(self, event: HostEvent, now: float) -> list[Effect]:
        """Take one event at ``now`` (monotonic seconds), return what to do, in order."""
        out: list[Effect] = []
        match event:
            case Opened():
                self.phase = Phase.GREETING
                self._heard_at = self._greet_at = now
                # A delimiter of its own ends what the line may have picked up before.
                out.append(Write(b"\x00"))
            case Received(data=data):
                for frame in self.decoder.feed(data):
                    self._receive(frame, now, out)
            case Want(cue=cue, asked_at=asked_at):
                self._wanted = _WantedCue(cue, (now if asked_at is None else asked_at) + cue.ttl_ms / 1000)
            case Ask(message=message):
                self._asked[message.TYPE] = message
            case Tick():
                pass
        self._advance(now, out)
        return out

    def _advance(self, now: float, out: list[Effect]) -> None:
        """Send what is due: one place decides, whatever the event was."""
        if self.phase not in (Phase.GREETING, Phase.UP):
            return
        if now >= self._heard_at + SILENCE_S:
            self._give_up(self._silence(), out)
            return
        self._repeat(now, out)
        if self.phase is Phase.GREETING:
            if now >= self._greet_at:
                self._greet_at = now + HELLO_EVERY_S
                self._send(HostHello(self._terminal_id), now, out)
            return
        if self._wanted and self._wanted.to_send:
            self._send_cue(self._wanted, now, out)
        if self._outstanding is None and self._asked:
            self._send(self._asked.pop(next(iter(self._asked))), now, out)
        if now >= self._ping_at:
            self._ping_at = now + PING_EVERY_S
            if self._outstanding is None:
                self._send(Ping(int(now * 1000)), now, out)

    def _repeat(self, now: float, out: list[Effect]) -> None:
        waiting = self._outstanding
        if waiting is None or now < waiting.repeat_at:
            return
        if waiting.repeats >= RETRIES:
            self._outstanding = None
            return
        waiting.repeats += 1
        waiting.repeat_at = now + self._ack_within_s
        out.append(Write(waiting.data, waiting.cue, repeat=True))

    def _send_cue(self, wanted: _WantedCue, now: float, out: list[Effect]) -> None:
        wanted.to_send = False
        left_ms = round((wanted.until - now) * 1000)
        if left_ms <= 0:
            return
        waiting = self._outstanding
        if waiting and isinstance(waiting.message, Level | AskStatus | Reset):
            self._asked.setdefault(waiting.message.TYPE, waiting.message)
        message = show_cue(wanted.cue, left_ms, lang=self._lang, can=self._can)
        self._send(message, now, out, cue=wanted.cue.name)
        wanted.sent[self._seq] = now
        if len(wanted.sent) > _SENDINGS_KEPT:
            del wanted.sent[next(iter(wanted.sent))]

    def _send(self, message: HostMessage, now: float, out: list[Effect], cue: CueName | None = None) -> None:
        self._seq = (self._seq + 1) % 256
        data = encode_message(message, self._seq)
        self._outstanding = _Outstanding(self._seq, message, data, cue, now + self._ack_within_s)
        out.append(Write(data, cue))

    def _receive(self, frame: Frame, now: float, out: list[Effect]) -> None:
        if self.phase not in (Phase.GREETING, Phase.UP):
            return
        try:
            message = from_mcu(frame)
        except MessageError:
            self.unreadable += 1
            return
        match message:
            case McuHello():
                self._sign(now)
                self._greeted(message, now, out)
            case Ack(seq=seq):
                self._heard(now)
                self._acknowledged(seq, now, out)
            case Nak():
                self._heard(now)
                self._refused(message, out)
            case Status():
                self._heard(now)
                if self._may_tell(now):
                    out.append(Told(message))
            case McuEvent():
                self._heard(now)
                self._happened(message, frame.seq, now, out)

    def _sign(self, now: float) -> None:
        self._heard_at = now
        self._trouble_before = (self.decoder.errors, self.unreadable)

    def _heard(self, now: float) -> None:
        # Only HELLO counts while greeting: an MCU that acknowledges but never says who it is, is not up.
        if self.phase is not Phase.UP:
            return
        self._sign(now)
        wanted = self._wanted
        if wanted and not wanted.confirmed and not (self._outstanding and self._outstanding.cue):
            wanted.to_send = True

    def _happened(self, event: McuEvent, seq: int, now: float, out: list[Effect]) -> None:
        repeated = seq == self._event_seq
        if not repeated and not self._may_tell(now):
            return
        out.append(Write(encode_message(Ack(seq), seq)))
        if not repeated:
            self._event_seq = seq
            out.append(Told(event))

    def _may_tell(self, now: float) -> bool:
        """Whether one more is within TOLD_BURST and TOLD_PER_S; `_told_until` is when all so far are paid for."""
        if self._told_until - now > (TOLD_BURST - 0.5) / TOLD_PER_S:  # half of one, so that no rounding decides
            self.left_out += 1
            return False
        self._told_until = max(self._told_until, now) + 1 / TOLD_PER_S
        return True

    def _greeted(self, hello: McuHello, now: float, out: list[Effect]) -> None:
        if self.phase is Phase.UP:
            return
        self.phase = Phase.UP
        self._can = hello.capabilities
        self._outstanding = None
        self._event_seq = None
        self._ping_at = now + PING_EVERY_S
        if self._wanted:
            self._wanted.to_send = True
            self._wanted.confirmed = False
            self._wanted.sent.clear()  # the MCU counts anew
        out.append(Up(hello))

    def _acknowledged(self, seq: int, now: float, out: list[Effect]) -> None:
        if self._outstanding and self._outstanding.seq == seq:
            self._outstanding = None
        wanted = self._wanted
        if wanted and seq in wanted.sent and not wanted.confirmed:
            wanted.confirmed = True
            # An ACK that came after the last repeat confirms as well as one in time.
            wanted.to_send = False
            if self._outstanding and self._outstanding.cue:
                self._outstanding = None  # the same cue, sent again meanwhile
            out.append(Shown(wanted.cue.name, now - wanted.sent[seq]))

    def _refused(self, nak: Nak, out: list[Effect]) -> None:
        waiting = self._outstanding
        if nak.reason is NakReason.HELLO_FIRST and self.phase is Phase.UP:
            self.phase = Phase.GREETING
            self._outstanding = None
            return  # HELLO follows at once, but no sooner than HELLO_EVERY_S after the one before
        if waiting is None or waiting.seq != nak.seq or nak.reason in (NakReason.BUSY, NakReason.HELLO_FIRST):
            return
        self._outstanding = None
        if isinstance(waiting.message, HostHello):
            self._give_up(f"the MCU refused HELLO: {nak.reason.name.lower()}", out)
            return
        if self._wanted and nak.seq in self._wanted.sent:
            self._wanted.confirmed = True
        out.append(Refused(waiting.cue or type(waiting.message).__name__, nak.reason))

    def _silence(self) -> str:
        """Say what three seconds without an answer look like from here: an idle line is not a line full of noise."""
        noise, strange = self._trouble_before
        noise, strange = self.decoder.errors - noise, self.unreadable - strange
        look = ": look at the baud rate, at TX, RX and ground" if noise else ": look at the firmware" if strange else ""
        return ", ".join([f"no answer for {SILENCE_S:.0f} s", *_told_of(noise, strange)]) + look

    def _give_up(self, reason: str, out: list[Effect]) -> None:
        self.phase = Phase.DOWN
        self._outstanding = None
        out.append(Down(reason))


def _told_of(noise: int, strange: int, too_many: int = 0) -> list[str]:
    counts = (
        (noise, "unreadable frames"),
        (strange, f"frames that are no message of version {PROTOCOL_VERSION}"),
        (too_many, "events too many"),
    )
    return [f"{count} {what}" for count, what in counts if count]
