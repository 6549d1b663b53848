"""Firmware with one fault each in what it says; `mutants.py` names the conformance check that must catch it."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceEffect, DeviceEvent, DeviceSession, Display, Send
from firmware_bridge.frames import (
    Frame,
    FrameDecoder,
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


class AnyVersionOfHello(Lenient):
    def mended(self, frame: Frame) -> Frame:
        if frame.type != HostHello.TYPE or not 1 <= len(frame.payload) <= 20:
            return frame
        return frame._replace(payload=b"\x01" + frame.payload[1:])


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
