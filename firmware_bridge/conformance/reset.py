"""Checks of RESET and of what a firmware is like that has just started."""

from firmware_bridge.conformance.base import Failed, check, rule
from firmware_bridge.conformance.talk import PATIENCE_S, Talk, with_bytes
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame
from firmware_bridge.links.base import LinkError
from firmware_bridge.messages import Ack, AskStatus, Message, Nak, NakReason, Ping, Reset, ShowCue, Status

RESTART_WITHIN_S = 5.0
_ASK_EVERY_S = 0.1
_UP_FOR_MS = 1500


def _restarted(talk: Talk) -> None:
    """Send RESET and wait until the uptime has begun anew, greeting again; the port may go and come back."""
    before = talk.status()
    if before.uptime_ms < _UP_FOR_MS:
        talk.wait((_UP_FOR_MS - before.uptime_ms) / 1000)
    begun = talk.wire.now()
    talk.acked(Reset())
    end = begun + RESTART_WITHIN_S * talk.stretch
    status: Status | None = None
    while talk.wire.now() < end:
        try:
            talk.wait(_ASK_EVERY_S)
            talk.greet()
            status = talk.status()
        except LinkError:
            talk.wire.reopen()
            continue
        except Failed:
            continue  # restarted between HELLO and ASK_STATUS, or still starting
        if status.uptime_ms <= (talk.wire.now() - begun) * 1100 + 100:
            talk.note = f"back after {talk.wire.now() - begun:.1f} s"
            return
    shown = f"STATUS with uptime {status.uptime_ms} ms: not restarted" if status else "no STATUS"
    raise Failed(f"a restart within {RESTART_WITHIN_S * talk.stretch:.0f} s", shown)


@check(
    "reset.restarts",
    "RESET is acknowledged, then it restarts",
    clause=rule(2),
    hint="send the ACK out before the restart; the uptime begins at 0; answer HELLO again within 5 s",
)
def restarts(talk: Talk) -> None:
    """A technician can restart a display from afar, and gets it back."""
    talk.greet()
    _restarted(talk)


@check(
    "reset.picture",
    "after its start the screen shows invite",
    clause=rule(1),
    hint="STATUS names invite (1), or 0 before the first cue; no cue from before the restart comes back",
)
def picture(talk: Talk) -> None:
    """A display has a picture before it has a host."""
    talk.greet()
    talk.show(CueName.FAULT, 60_000)
    _restarted(talk)
    status = talk.status()
    if status.cue not in (None, CueName.INVITE):
        raise Failed("STATUS with invite, or with nothing yet", f"STATUS with {status.cue}")


@check(
    "reset.hello_first",
    "before the first HELLO all else is refused",
    clause=rule(4),
    hint="NAK HELLO_FIRST (6) is how a firmware that has restarted gets its cue back within milliseconds",
)
def hello_first(talk: Talk) -> None:
    """A host notices at its next frame that the firmware has restarted."""
    talk.greet()
    talk.acked(Reset())
    end = talk.wire.now() + RESTART_WITHIN_S * talk.stretch
    frame: Frame | None = None
    while frame is None or frame.type != Nak.TYPE:
        if talk.wire.now() >= end:
            got = with_bytes(frame) if frame and frame.type == Ack.TYPE else talk.got(frame)
            raise Failed("NAK HELLO_FIRST to a PING after RESET", got)
        try:
            talk.wait(_ASK_EVERY_S)
            talk.send(Ping(1))
            frame = talk.next_frame(PATIENCE_S / 4)
        except LinkError:
            talk.wire.reopen()
    messages: tuple[Message, ...] = (Ping(1), ShowCue(CueName.THANKS, 1000), AskStatus())
    for message in messages:
        talk.refused(
            Frame(message.TYPE, talk.next_seq(), bytes(message)),
            NakReason.HELLO_FIRST,
            "a message before the first HELLO",
        )
    talk.greet()


CHECKS = (restarts, picture, hello_first)
