"""Checks that take a while: how fast answers come, whether any is missing in ten seconds, what silence does."""

import statistics

from firmware_bridge.conformance.base import Failed, check
from firmware_bridge.conformance.talk import PATIENCE_S, Talk
from firmware_bridge.cues import MAX_LEVEL, CueName
from firmware_bridge.messages import MAX_TEXT, Ack, Ping, ShowCue

_CLAUSE = "What the host does"
_PINGS = 100
_SOAK_S = 10.0
_SOAK_EVERY_S = 0.04
_SILENCE_S = 4.0
_LATE_SHARE = 0.05
"""Answers that may be late because this computer was busy; a firmware that is late is late more often."""


@check(
    "timing.ack",
    "answers come within 50 ms",
    clause=_CLAUSE,
    hint="answer before drawing; a USB adapter may hold bytes back for 16 ms (its latency timer)",
)
def ack(talk: Talk) -> None:
    """The host does not send again what was heard."""
    talk.greet()
    took = []
    for number in range(_PINGS):
        begun = talk.wire.now()
        talk.acked(Ping(number))
        took.append((talk.wire.now() - begun) * 1000)
    took.sort()
    late = sum(1 for ms in took if ms > talk.ack_within_s * 1000)
    talk.note = f"median {statistics.median(took):.1f} ms, p99 {took[-2]:.1f} ms, slowest {took[-1]:.1f} ms"
    if late > _LATE_SHARE * _PINGS:
        raise Failed(f"answers within {talk.ack_within_s * 1000:.0f} ms", f"{late} of {_PINGS} late: {talk.note}")


@check(
    "timing.soak",
    "10 s of cues, 25 a second, none unacknowledged",
    clause=_CLAUSE,
    hint="drawing must not stop the receiver: take bytes in the interrupt, draw between frames",
)
def soak(talk: Talk) -> None:
    """A rush of taps leaves no cue behind."""
    talk.seq = 128  # so that seq begins anew on the way
    talk.greet()
    shown = (CueName.READING, CueName.THANKS, CueName.RETRY, CueName.INVITE)
    begun = talk.wire.now()
    number = 0
    while (next_at := begun + number * _SOAK_EVERY_S) < begun + _SOAK_S:
        talk.wait(max(0.0, next_at - talk.wire.now()))
        seq = talk.send(ShowCue(shown[number % 4], 5000, MAX_LEVEL, "x" * (number % (MAX_TEXT + 1))))
        number += 1
        frame = talk.next_frame()
        if frame is None or frame.type != Ack.TYPE or frame.payload != bytes((seq,)):
            raise Failed(f"ACK seq={seq} to cue {number}", f"{talk.got(frame)} within {PATIENCE_S * talk.stretch:g} s")
    talk.note = f"{number} cues, {number} acknowledged"


@check(
    "timing.silence",
    "after 4 s of silence it is still there",
    clause="Sequence",
    hint="the MCU has nothing to do in silence: it ends no session, forgets no host and does not restart",
)
def silence(talk: Talk) -> None:
    """A host that was held up goes on where it was."""
    talk.greet()
    talk.wait(_SILENCE_S)
    if frame := talk.next_frame(0.0):
        raise Failed(f"nothing in {_SILENCE_S:.0f} s in which nobody asked", talk.got(frame))
    talk.acked(Ping(1))


CHECKS = (ack, soak, silence)
