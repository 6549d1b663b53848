"""The MCU's end of the screen link: what a maker's firmware does. Pure: ``(event, now)`` gives effects.

The simulator runs it behind a pty and the tests join it to ``protocol.HostSession``; a port to C can follow it.
"""

from collections import deque
from dataclasses import dataclass

from firmware_bridge.cues import MAX_LEVEL, WITHOUT_INVITATION, CueName
from firmware_bridge.frames import Frame, FrameDecoder
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
    HostHello,
    HostMessage,
    Level,
    McuEvent,
    McuHello,
    Message,
    MessageError,
    Nak,
    NakReason,
    Reset,
    ShowCue,
    Status,
    encode_message,
    from_host,
)
from firmware_bridge.protocol import ACK_WITHIN_S, RETRIES, Received, Tick

_MAX_EVENTS_WAITING = 4


@dataclass(frozen=True, slots=True)
class Raise:
    """Something happened at the MCU: report it to the host."""

    event: McuEvent


DeviceEvent = Received | Tick | Raise


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: hand these bytes to the line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Display:
    """Effect: show this; ``static`` is the display's own fall back picture, shown because nobody said anything."""

    cue: CueName
    text: str = ""
    level: int = MAX_LEVEL
    static: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """Effect: the host asked for a restart; a new DeviceSession follows."""


DeviceEffect = Send | Display | Restart


@dataclass(slots=True)
class _Report:
    seq: int
    data: bytes
    repeat_at: float
    repeats: int = 0


class DeviceSession:
    """One run of the MCU since its start at ``started`` (monotonic seconds), from which STATUS counts the uptime."""

    def __init__(self, hello: McuHello | None = None, *, started: float = 0.0) -> None:
        able = Capability.TEXT | Capability.BRIGHTNESS | Capability.QUIET
        self.hello = hello or McuHello((1, 0, 0), able, "simulated")
        self.decoder = FrameDecoder()
        self.showing = Display(CueName.INVITE, static=True)
        self.greeted_by: str | None = None
        """Terminal id of the host; None until HELLO."""
        self.temperature_c = 41
        """What STATUS tells, -128 to 127 degrees Celsius; change it at any time, like ``faults``, 16 bits."""
        self.faults = 0
        self._started = started
        self._until: float | None = None
        self._ran_seq: int | None = None
        self._answer = b""
        self._event_seq = 0
        self._report: _Report | None = None
        self._waiting: deque[McuEvent] = deque(maxlen=_MAX_EVENTS_WAITING)

    @property
    def falls_back_at(self) -> float | None:
        """Monotonic seconds at which the cue's time to live is over; None while the display's own picture stands."""
        return self._until

    @property
    def due(self) -> float | None:
        """Monotonic seconds of the next Tick; None when there is nothing to wait for."""
        moments = [self._until, self._report.repeat_at if self._report else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def handle(self, event: DeviceEvent, now: float) -> list[DeviceEffect]:
        """Take one event at ``now`` (monotonic seconds), return what to do, in order."""
        out: list[DeviceEffect] = []
        match event:
            case Received(data=data):
                for frame in self.decoder.feed(data):
                    self._receive(frame, now, out)
            case Raise(event=raised):
                self._waiting.append(raised)
            case Tick():
                pass
        if self._until is not None and now >= self._until:
            self._fall_back(out)
        self._report_events(now, out)
        return out

    def _receive(self, frame: Frame, now: float, out: list[DeviceEffect]) -> None:
        try:
            message = from_host(frame)
        except MessageError as error:
            out.append(Send(encode_message(Nak(frame.seq, error.reason), frame.seq)))
            return
        if isinstance(message, Ack):
            if self._report and self._report.seq == message.seq:
                self._report = None
            return
        if self.greeted_by is None and not isinstance(message, HostHello):
            out.append(Send(encode_message(Nak(frame.seq, NakReason.HELLO_FIRST), frame.seq)))
            return
        # A repeat is answered as the first time and carried out never again. HELLO begins a new count.
        if frame.seq != self._ran_seq or isinstance(message, HostHello):
            self._ran_seq = frame.seq
            self._answer = self._answer_to(message, frame.seq, now)
            out.append(Send(self._answer))
            self._run(message, now, out)
        else:
            out.append(Send(self._answer))

    def _answer_to(self, message: HostMessage, seq: int, now: float) -> bytes:
        answers: list[Message] = [Ack(seq)]
        if isinstance(message, HostHello):
            answers.append(self.hello)
        elif isinstance(message, AskStatus):
            uptime_ms = int((now - self._started) * 1000)
            answers.append(Status(self.showing.cue, uptime_ms, self.temperature_c, self.faults))
        return b"".join(encode_message(answer, seq) for answer in answers)

    def _run(self, message: HostMessage, now: float, out: list[DeviceEffect]) -> None:
        match message:
            case HostHello(terminal_id=terminal_id):
                self.greeted_by = terminal_id
            case ShowCue(name=name, text=text, level=level, ttl_ms=ttl_ms):
                self._until = now + ttl_ms / 1000
                self._display(Display(name, text, level), out)
            case Level(brightness=brightness):
                shown = self.showing
                self._display(Display(shown.cue, shown.text, brightness, shown.static), out)
            case Reset():
                out.append(Restart())

    def _fall_back(self, out: list[DeviceEffect]) -> None:
        self._until = None
        cue = CueName.RESTING if self.showing.cue in WITHOUT_INVITATION else CueName.INVITE
        self._display(Display(cue, level=self.showing.level, static=True), out)

    def _display(self, display: Display, out: list[DeviceEffect]) -> None:
        self.showing = display
        out.append(display)

    def _report_events(self, now: float, out: list[DeviceEffect]) -> None:
        report = self._report
        if report and now >= report.repeat_at:
            if report.repeats >= RETRIES:
                self._report = None
            else:
                report.repeats += 1
                report.repeat_at = now + ACK_WITHIN_S
                out.append(Send(report.data))
        if self._report is None and self._waiting and self.greeted_by is not None:
            self._event_seq = (self._event_seq + 1) % 256
            data = encode_message(self._waiting.popleft(), self._event_seq)
            self._report = _Report(self._event_seq, data, now + ACK_WITHIN_S)
            out.append(Send(data))
