"""Firmware with one fault each: what the conformance checks must catch. `MUTANTS` names the check beside each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceEffect, DeviceEvent, DeviceSession, Display, Send
from firmware_bridge.frames import (
    MAX_ENCODED,
    CrcError,
    Frame,
    FrameDecoder,
    FrameError,
    cobs_decode,
    decode_frame,
    encode_frame,
)
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
    HostHello,
    HostMessage,
    Level,
    McuHello,
    Message,
    MessageError,
    Nak,
    NakReason,
    Ping,
    ShowCue,
    Status,
    encode_message,
    from_host,
    from_mcu,
)
from firmware_bridge.protocol import Received

HELLO = McuHello((1, 4, 2), Capability(sum(Capability)), "LX-7")
Out = list[DeviceEffect]


class Firmware(DeviceSession):
    """One that declares everything and keeps every rule; the mutants break one each."""

    HELLO = HELLO

    def __init__(self, started: float) -> None:
        super().__init__(self.HELLO, started=started)
        self.now = started

    def handle(self, event: DeviceEvent, now: float) -> Out:
        self.now = now
        return super().handle(event, now)

    def nak(self, frame: Frame, reason: NakReason, out: Out) -> None:
        out.append(Send(encode_message(Nak(frame.seq, reason), frame.seq)))

    def message(self, frame: Frame) -> HostMessage | None:
        try:
            return from_host(frame)
        except MessageError:
            return None


class OtherOrder(Firmware):
    KIND: type[Message]

    def _answer_to(self, message: HostMessage, seq: int, now: float) -> bytes:
        answer = super()._answer_to(message, seq, now)
        if not isinstance(message, self.KIND):
            return answer
        first, second = FrameDecoder().feed(answer)
        return encode_frame(second) + encode_frame(first)


class HelloBeforeAck(OtherOrder):
    KIND = HostHello


class StatusBeforeAck(OtherOrder):
    KIND = AskStatus


class Slow(Firmware):
    """Answers one kind of message 80 ms late, in order."""

    KIND: type[Message]

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self._held: list[tuple[float, DeviceEffect]] = []

    @property
    def due(self) -> float | None:
        moments = [at for at in (super().due, self._held[0][0] if self._held else None) if at is not None]
        return min(moments, default=None)

    def handle(self, event: DeviceEvent, now: float) -> Out:
        late = isinstance(event, Received) and self._is_of_kind(event.data)
        at = max([now + (0.08 if late else 0.0), *(at for at, _ in self._held)])
        self._held += [(at, effect) for effect in super().handle(event, now)]
        ready = [effect for at, effect in self._held if at <= now]
        self._held = self._held[len(ready) :]
        return ready

    def _is_of_kind(self, data: bytes) -> bool:
        return any(frame.type == self.KIND.TYPE for frame in FrameDecoder().feed(data))


class SlowHello(Slow):
    KIND = HostHello


class SlowPing(Slow):
    KIND = Ping


class OtherVersion(Firmware):
    HELLO = replace(HELLO, version=2)


class UnknownBits(Firmware):
    HELLO = replace(HELLO, capabilities=Capability(0xFF))


class LongIdRefused(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type == HostHello.TYPE and 17 < len(frame.payload) <= 25:
            self.nak(frame, NakReason.BAD_PAYLOAD, out)
        else:
            super()._receive(frame, now, out)


class HelloTakenForARepeat(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type == HostHello.TYPE and self.greeted_by and frame.seq == self._ran_seq:
            out.append(Send(self._answer))
        else:
            super()._receive(frame, now, out)


class CountNotBegunAnew(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        before = self._ran_seq, self._answer
        super()._receive(frame, now, out)
        if frame.type == HostHello.TYPE and before[0] is not None:
            self._ran_seq, self._answer = before


class RunDecoder(FrameDecoder):
    """Looks at each run between two delimiters with `look`."""

    def __init__(self, look: Callable[[bytes], Frame | None]) -> None:
        super().__init__()
        self.look = look
        self.rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        *runs, self.rest = (self.rest + data).split(b"\x00")
        return [frame for run in runs if (frame := self.look(run))]


def read(run: bytes) -> Frame | None:
    try:
        return decode_frame(run)
    except FrameError:
        return None


class Looking(Firmware):
    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = RunDecoder(self.look)

    def look(self, run: bytes) -> Frame | None:
        return read(run)


class DoubledDelimiter(Looking):
    """Drops the frame behind an empty run."""

    empty = False

    def look(self, run: bytes) -> Frame | None:
        dropped, self.empty = self.empty, not run
        return None if dropped else read(run)


class TimeBetweenBytes(Firmware):
    """Begins anew after a pause of 50 ms, like a protocol that ends its frames with silence."""

    heard_at = 0.0

    def handle(self, event: DeviceEvent, now: float) -> Out:
        if isinstance(event, Received):
            if now > self.heard_at + 0.05:
                self.decoder = FrameDecoder()
            self.heard_at = now
        return super().handle(event, now)


class FirstFrameOnly(Firmware):
    class Decoder(FrameDecoder):
        def feed(self, data: bytes) -> list[Frame]:
            return super().feed(data)[:1]

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = self.Decoder()


class ShortBuffer(Looking):
    def look(self, run: bytes) -> Frame | None:
        return read(run) if len(run) <= 100 else None


class LastZeroLost(Looking):
    """COBS that forgets a 00 at the very end."""

    def look(self, run: bytes) -> Frame | None:
        frame = read(run)
        return None if frame and frame.payload[:2] == b"\0\0" and cobs_decode(run).endswith(b"\0") else frame


class AnyCrc(Looking):
    def look(self, run: bytes) -> Frame | None:
        try:
            return decode_frame(run)
        except CrcError:
            body = cobs_decode(run)
            return Frame(body[1], body[2], body[3:-2]) if body[0] == 1 and body[1] <= 6 else None
        except FrameError:
            return None


class HalfAFrameRefused(Looking):
    def look(self, run: bytes) -> Frame | None:
        try:
            return decode_frame(run)
        except CrcError:
            return None
        except FrameError:
            return Frame(0x7F, 0) if run[1:3] == b"\x01\x03" else None


class NoiseSwallowsAFrame(Looking):
    swallow = False

    def look(self, run: bytes) -> Frame | None:
        frame, swallowed = read(run), self.swallow
        self.swallow = frame is None and 30 < len(run) < MAX_ENCODED - 10
        return None if swallowed else frame


class FrameInsideNoise(Looking):
    """Looks for a frame at each byte instead of behind each 00."""

    def look(self, run: bytes) -> Frame | None:
        whole = len(run) <= MAX_ENCODED
        return next((frame for at in range(len(run)) if (frame := read(run[at:]))), None) if whole else None


class DeafAfterMuchNoise(Looking):
    bytes_of_noise = 0
    deaf_until = 0.0

    def look(self, run: bytes) -> Frame | None:
        frame = read(run)
        self.bytes_of_noise = 0 if frame else self.bytes_of_noise + len(run)
        if self.bytes_of_noise > 3000:
            self.deaf_until, self.bytes_of_noise = self.now + 2.0, 0
        return None if self.now < self.deaf_until else frame


class BufferBeginsAnew(Firmware):
    """When its buffer is full it begins anew, and takes the tail for a frame."""

    class Decoder(RunDecoder):
        def feed(self, data: bytes) -> list[Frame]:
            found = []
            for byte in data:
                if byte == 0:
                    found += [frame] if (frame := self.look(self.rest)) else []
                    self.rest = b""
                else:
                    self.rest = (self.rest if len(self.rest) < MAX_ENCODED else b"") + bytes((byte,))
            return found

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = self.Decoder(read)


class OversizeRefused(Looking):
    def look(self, run: bytes) -> Frame | None:
        return read(run) if len(run) <= MAX_ENCODED or 200 < len(run) < 260 else Frame(0x7F, 0)


class Refusing(Firmware):
    """Refuses some good messages."""

    REASON = NakReason.BAD_PAYLOAD

    def refuses(self, message: HostMessage) -> bool:
        raise NotImplementedError

    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        message = self.message(frame)
        if message is not None and self.refuses(message):
            self.nak(frame, self.REASON, out)
        else:
            super()._receive(frame, now, out)


class NoIdentify(Refusing):
    REASON = NakReason.UNKNOWN_CUE

    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, ShowCue) and message.name is CueName.IDENTIFY


class NoEmoji(Refusing):
    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, ShowCue) and any(ord(char) > 0xFFFF for char in message.text)


class NoDarkCue(Refusing):
    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, ShowCue) and message.level == 0


class SignedTtl(Refusing):
    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, ShowCue) and message.ttl_ms > 0x7FFF


class SignedUptime(Refusing):
    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, Ping) and message.uptime_ms > 0x7FFFFFFF


class NoDarkLevel(Refusing):
    def refuses(self, message: HostMessage) -> bool:
        return isinstance(message, Level) and message.brightness == 0


class QuietOnlyDeclared(Firmware):
    """Rests instead."""

    def _answer_to(self, message: HostMessage, seq: int, now: float) -> bytes:
        shown = self.showing
        if shown.cue is CueName.QUIET:
            self.showing = replace(shown, cue=CueName.RESTING)
        answer = super()._answer_to(message, seq, now)
        self.showing = shown
        return answer


class UnknownCueIsABadPayload(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        try:
            from_host(frame)
        except MessageError as error:
            if error.reason is NakReason.UNKNOWN_CUE:
                self.nak(frame, NakReason.BAD_PAYLOAD, out)
                return
        super()._receive(frame, now, out)


class Lenient(Firmware):
    """Reads more than is legal: makes something good of the frame first."""

    def mended(self, frame: Frame) -> Frame:
        raise NotImplementedError

    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        super()._receive(self.mended(frame), now, out)


class AnyVersion(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return frame._replace(version=1)


class OwnTypesSwallowed(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type not in (0x81, 0x83, 0x84, 0x85):
            super()._receive(frame, now, out)


class AnyPing(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return frame._replace(payload=frame.payload[:4].ljust(4, b"\0")) if frame.type == Ping.TYPE else frame


class ResetWithPayload(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return frame._replace(payload=b"") if frame.type == 0x06 else frame


def cue_field(frame: Frame, at: int, change: Callable[[bytes], bytes]) -> Frame:
    """Change the payload of a CUE from byte `at` on."""
    if frame.type != ShowCue.TYPE or len(frame.payload) < 5:
        return frame
    return frame._replace(payload=frame.payload[:at] + change(frame.payload[at:]))


class BytesLeftOver(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return cue_field(frame, 4, lambda rest: rest[: 1 + rest[0]])


class TextCut(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return cue_field(frame, 4, lambda rest: rest if rest[0] <= 64 or len(rest) < 65 else b"\x40" + rest[1:65])


class AnyText(Lenient):
    CODEC, ERRORS = "utf-8", "replace"

    def mended(self, frame: Frame) -> Frame:
        def replaced(rest: bytes) -> bytes:
            if rest[0] != len(rest) - 1 or rest[0] > 64:
                return rest
            text = rest[1:].decode("utf-8", self.ERRORS).encode("utf-8", "replace")
            return bytes((len(text),)) + text

        return cue_field(frame, 4, replaced)


class Surrogates(AnyText):
    def mended(self, frame: Frame) -> Frame:
        surrogate = frame.type == ShowCue.TYPE and b"\xed\xa0" in frame.payload
        return super().mended(frame) if surrogate else frame


class EndlessCue(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return cue_field(frame, 1, lambda rest: b"\0\1" + rest[2:] if rest[:2] == b"\0\0" else rest)


class CueLevelCut(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return cue_field(frame, 3, lambda rest: bytes((min(rest[0], 100),)) + rest[1:])


class LevelCut(Lenient):
    def mended(self, frame: Frame) -> Frame:
        one = frame.type == Level.TYPE and len(frame.payload) == 1
        return frame._replace(payload=bytes((min(frame.payload[0], 100),))) if one else frame


class IdCut(Lenient):
    def mended(self, frame: Frame) -> Frame:
        return frame._replace(payload=frame.payload[:25]) if frame.type == HostHello.TYPE else frame


def heads(effects: Iterable[DeviceEffect], change: Callable[[Frame], Frame]) -> Out:
    """Change the frames that are sent."""
    return [
        Send(b"".join(encode_frame(change(frame)) for frame in FrameDecoder().feed(effect.data)))
        if isinstance(effect, Send)
        else effect
        for effect in effects
    ]


class NoSeqInNakHead(Firmware):
    def handle(self, event: DeviceEvent, now: float) -> Out:
        return heads(super().handle(event, now), lambda frame: frame._replace(seq=0) if frame.type == 0x83 else frame)


class FreshStatus(Firmware):
    """Answers a repeated ASK_STATUS with the uptime of this moment."""

    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type == AskStatus.TYPE and not frame.payload and frame.seq == self._ran_seq:
            self._answer = self._answer_to(AskStatus(), frame.seq, now)
        super()._receive(frame, now, out)


class RunAgain(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        message = self.message(frame)
        if frame.seq == self._ran_seq and isinstance(message, ShowCue):
            self._run(message, now, out)
        super()._receive(frame, now, out)


class ZeroIsNoSeq(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.seq or frame.type == Ack.TYPE:
            super()._receive(frame, now, out)


class StepBackIsOld(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        old = self._ran_seq is not None and (frame.seq - self._ran_seq) % 256 > 128
        if not old or frame.type in (HostHello.TYPE, Ack.TYPE):
            super()._receive(frame, now, out)


class StatusMutant(Firmware):
    def changed(self, status: Status) -> Status:
        raise NotImplementedError

    def _answer_to(self, message: HostMessage, seq: int, now: float) -> bytes:
        def change(frame: Frame) -> Frame:
            read_status = from_mcu(frame)
            return (
                frame._replace(payload=bytes(self.changed(read_status))) if isinstance(read_status, Status) else frame
            )

        answer = super()._answer_to(message, seq, now)
        return b"".join(encode_frame(change(frame)) for frame in FrameDecoder().feed(answer))


class NoThermometer(StatusMutant):
    def changed(self, status: Status) -> Status:
        return replace(status, temperature_c=-128)


class UptimeInSeconds(StatusMutant):
    def changed(self, status: Status) -> Status:
        return replace(status, uptime_ms=status.uptime_ms // 1000)


class ThanksForEver(Firmware):
    def _run(self, message: HostMessage, now: float, out: Out) -> None:
        super()._run(message, now, out)
        if isinstance(message, ShowCue) and message.name is CueName.THANKS:
            self._until = None


class FallsBackToInvite(Firmware):
    AFTER: CueName

    def _fall_back(self, out: Out) -> None:
        falls = self.showing.cue is self.AFTER
        super()._fall_back(out)
        if falls:
            self._display(Display(CueName.INVITE, static=True), out)


class InvitesAfterFault(FallsBackToInvite):
    AFTER = CueName.FAULT


class InvitesAfterQuiet(FallsBackToInvite):
    AFTER = CueName.QUIET


class ShortTtl(Firmware):
    def _run(self, message: HostMessage, now: float, out: Out) -> None:
        super()._run(
            replace(message, ttl_ms=min(message.ttl_ms, 1200)) if isinstance(message, ShowCue) else message, now, out
        )


class PingRenews(Firmware):
    def _run(self, message: HostMessage, now: float, out: Out) -> None:
        super()._run(message, now, out)
        if isinstance(message, Ping) and self._until is not None:
            self._until = now + 1.0


class SameCueNotRenewed(Firmware):
    def _run(self, message: HostMessage, now: float, out: Out) -> None:
        until, shown = self._until, self.showing.cue
        super()._run(message, now, out)
        if isinstance(message, ShowCue) and message.name is shown and until is not None:
            self._until = until


class LevelInvites(Firmware):
    def _run(self, message: HostMessage, now: float, out: Out) -> None:
        super()._run(message, now, out)
        if isinstance(message, Level):
            self._display(Display(CueName.INVITE, level=message.brightness), out)


class UptimeSurvivesReset(Firmware):
    def __init__(self, started: float) -> None:
        super().__init__(min(started, 1000.0))


class CueSurvivesReset(Firmware):
    """Keeps the last cue in flash."""

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.showing = Display(CueName.FAULT)


class NeedsNoHello(Firmware):
    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.greeted_by = "whoever"


class DropsUnderLoad(Firmware):
    cues = 0

    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        self.cues = 0 if frame.type == HostHello.TYPE else self.cues + (frame.type == ShowCue.TYPE)
        if self.cues != 200:
            super()._receive(frame, now, out)


class ForgetsInSilence(Firmware):
    heard_at = 0.0

    def handle(self, event: DeviceEvent, now: float) -> Out:
        if isinstance(event, Received):
            if now > self.heard_at + 3:
                self.greeted_by = None
            self.heard_at = now
        return super().handle(event, now)


class TellsOnce(Firmware):
    def _report_events(self, now: float, out: Out) -> None:
        super()._report_events(now, out)
        self._report = None


class NeverHearsAck(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type != Ack.TYPE:
            super()._receive(frame, now, out)


class AckIsAcknowledged(Firmware):
    def _receive(self, frame: Frame, now: float, out: Out) -> None:
        if frame.type == Ack.TYPE and self._report is None:
            out.append(Send(encode_message(Ack(frame.seq), frame.seq)))
        super()._receive(frame, now, out)


@dataclass(frozen=True)
class Mutant:
    """A firmware, the check that must fail with it, and those that cannot help failing with it."""

    check: str
    firmware: type[Firmware]
    also: set[str] = field(default_factory=set)


MUTANTS = [
    Mutant("hello.answer", HelloBeforeAck),
    Mutant("hello.in_time", SlowHello),
    Mutant("hello.fields", OtherVersion),
    Mutant("hello.fields", UnknownBits),
    Mutant("hello.any_id", LongIdRefused),
    Mutant("hello.always_run", HelloTakenForARepeat),
    Mutant("hello.counts_anew", CountNotBegunAnew),
    Mutant("framing.delimiters", DoubledDelimiter),
    Mutant("framing.bytewise", TimeBetweenBytes),
    Mutant("framing.joined", FirstFrameOnly),
    Mutant("framing.longest", ShortBuffer, {"limits.text", "limits.hello"}),
    Mutant("framing.zeros", LastZeroLost),
    Mutant("framing.crc", AnyCrc),
    Mutant("framing.cut_off", HalfAFrameRefused),
    Mutant("noise.between", NoiseSwallowsAFrame),
    Mutant("noise.glued", FrameInsideNoise),
    Mutant("noise.storm", DeafAfterMuchNoise),
    Mutant("noise.oversize", BufferBeginsAnew),
    Mutant("noise.oversize", OversizeRefused, {"noise.storm"}),
    Mutant("cues.each", NoIdentify),
    Mutant("cues.quiet", QuietOnlyDeclared),
    Mutant("cues.text", NoEmoji),
    Mutant("cues.levels", NoDarkCue),
    Mutant("cues.ttl_range", SignedTtl),
    Mutant("cues.unknown", UnknownCueIsABadPayload),
    Mutant("limits.type", OwnTypesSwallowed),
    Mutant("limits.version", AnyVersion),
    Mutant("limits.length", AnyPing),
    Mutant("limits.length", ResetWithPayload),
    Mutant("limits.cue_length", BytesLeftOver),
    Mutant("limits.text", TextCut),
    Mutant("limits.utf8", AnyText),
    Mutant("limits.utf8", Surrogates),
    Mutant("limits.cue_ttl", EndlessCue),
    Mutant("limits.cue_level", CueLevelCut),
    Mutant("limits.level", LevelCut),
    Mutant("limits.hello", IdCut),
    Mutant("sequence.head", NoSeqInNakHead),
    Mutant("sequence.repeat", FreshStatus),
    Mutant("sequence.once", RunAgain),
    Mutant("sequence.wrap", ZeroIsNoSeq, {"timing.soak"}),
    Mutant("sequence.jump", StepBackIsOld),
    Mutant("status.answer", StatusBeforeAck),
    Mutant("status.fields", NoThermometer),
    Mutant("status.uptime", UptimeInSeconds),
    Mutant("status.ping", SignedUptime),
    Mutant("time_to_live.invite", ThanksForEver),
    Mutant("time_to_live.resting", InvitesAfterFault),
    Mutant("time_to_live.quiet", InvitesAfterQuiet),
    Mutant("time_to_live.early", ShortTtl),
    Mutant("time_to_live.only_cue", PingRenews),
    Mutant("time_to_live.renewed", SameCueNotRenewed),
    Mutant("brightness.range", NoDarkLevel),
    Mutant("brightness.keeps_cue", LevelInvites),
    Mutant("reset.restarts", UptimeSurvivesReset),
    Mutant("reset.picture", CueSurvivesReset),
    Mutant("reset.hello_first", NeedsNoHello),
    Mutant("timing.ack", SlowPing),
    Mutant("timing.soak", DropsUnderLoad),
    Mutant("timing.silence", ForgetsInSilence),
    Mutant("events.repeat", TellsOnce),
    Mutant("events.acknowledged", NeverHearsAck),
    Mutant("events.stray_ack", AckIsAcknowledged),
]
