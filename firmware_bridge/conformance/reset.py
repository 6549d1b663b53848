"""Checks of RESET and of what a firmware is like that has just started."""

from collections.abc import Callable

from firmware_bridge.conformance.base import Failed, check, rule
from firmware_bridge.conformance.talk import PATIENCE_S, Talk, in_words, with_bytes
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame
from firmware_bridge.links.base import LinkError
from firmware_bridge.messages import Ack, AskStatus, Message, Nak, NakReason, Ping, Reset, ShowCue, Status

RESTART_WITHIN_S = 5.0
_ASK_EVERY_S = 0.1
_UP_FOR_MS = 1500


def _until(talk: Talk, true: Callable[[Status], bool]) -> str:
    """Send RESET and wait until this is true of the STATUS, greeting again; the port may go and come back.

    Return nothing then, and after five seconds what was seen instead.
    """
    talk.acked(Reset())
    end = talk.wire.now() + RESTART_WITHIN_S * talk.stretch
    seen = "nothing"
    while talk.wire.now() < end:
        try:
            talk.wait(_ASK_EVERY_S)
            talk.greet()
            status = talk.status()
        except LinkError:
            talk.wire.reopen()
        except Failed as failed:
            seen = failed.got  # restarted between HELLO and ASK_STATUS, or still starting
        else:
            if true(status):
                return ""
            seen = in_words(status, talk.seq)
    return seen


@check(
    "reset.restarts",
    "RESET is acknowledged, then it restarts",
    clause=rule(2),
    hint="send the ACK out before the restart; the uptime begins at 0; answer HELLO again within 5 s",
)
def restarts(talk: Talk) -> None:
    """A technician can restart a display from afar, and gets it back."""
    talk.greet()
    before = talk.status()
    if before.uptime_ms < _UP_FOR_MS:
        talk.wait((_UP_FOR_MS - before.uptime_ms) / 1000)
    begun = talk.wire.now()
    seen = _until(talk, lambda status: status.uptime_ms <= (talk.wire.now() - begun) * 1100 + 100)
    if seen:
        raise Failed(f"a STATUS whose uptime begins anew, within {RESTART_WITHIN_S * talk.stretch:.0f} s", seen)
    talk.note = f"back after {talk.wire.now() - begun:.1f} s"


@check(
    "reset.picture",
    "after its start the screen shows invite",
    clause=rule(1),
    hint="STATUS names invite (1), or 0 before the first cue; no cue from before the restart comes back",
)
def picture(talk: Talk) -> None:
    """A display has a picture before it has a host."""
    talk.greet()
    talk.show(CueName.FAULT, 30_000)
    shown = _until(talk, lambda status: status.cue in (None, CueName.INVITE))
    if shown:
        raise Failed("STATUS with invite, or with nothing yet", shown)


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
    talk.settle()  # what was asked while it started
    messages: tuple[Message, ...] = (Ping(1), ShowCue(CueName.THANKS, 1000), AskStatus())
    for message in messages:
        talk.refused(
            Frame(message.TYPE, talk.next_seq(), bytes(message)),
            NakReason.HELLO_FIRST,
            "a message before the first HELLO",
        )
    talk.greet()


CHECKS = (restarts, picture, hello_first)
