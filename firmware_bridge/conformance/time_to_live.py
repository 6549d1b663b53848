"""Checks of the time to live: a display that nobody speaks to goes to its own picture, in time and not before."""

from firmware_bridge.conformance.base import CUES, Failed, HeldUp, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import Capability, Level, Ping

_TTL_S = 0.6
_GRACE_S = 0.4
"""A fall back may be this late; a firmware looks at its clock at least that often."""


def _falls_back(talk: Talk, cue: CueName, picture: CueName) -> None:
    ttl_s = _TTL_S * talk.stretch
    talk.show(cue, round(ttl_s * 1000))
    talk.wait(ttl_s + _GRACE_S)
    talk.shows(picture, f"{(ttl_s + _GRACE_S) * 1000:.0f} ms after {cue} with ttl {ttl_s * 1000:.0f} ms")


@check(
    "time_to_live.invite",
    "a cue that is over falls back to invite",
    clause=rule(5),
    hint="the firmware's own timer ends a cue, without the host; STATUS then names invite (1)",
)
def invite(talk: Talk) -> None:
    """A screen whose host has died invites again and is never stuck on an old cue."""
    talk.greet()
    for cue in (CueName.READING, CueName.THANKS, CueName.RETRY):
        _falls_back(talk, cue, CueName.INVITE)


@check(
    "time_to_live.resting",
    "resting and fault fall back to resting",
    clause=rule(5),
    hint="an invitation that the host had taken back must not come back by itself",
)
def resting(talk: Talk) -> None:
    """A screen whose host has died does not invite to a reader that was lost."""
    talk.greet()
    for cue in (CueName.RESTING, CueName.FAULT):
        _falls_back(talk, cue, CueName.RESTING)


@check(
    "time_to_live.quiet",
    "quiet falls back to resting",
    clause=rule(5),
    hint="with the advert that has no reward there is nothing to invite to",
    needs=Capability.QUIET,
)
def quiet(talk: Talk) -> None:
    """A screen whose host has died promises no reward that there may not be."""
    talk.greet()
    _falls_back(talk, CueName.QUIET, CueName.RESTING)


@check(
    "time_to_live.early",
    "a cue stays for its time",
    clause=CUES,
    hint="ttl_ms is milliseconds, big-endian",
)
def early(talk: Talk) -> None:
    """A cue is not over before its time."""
    talk.greet()
    ttl_s = 2.0 * talk.stretch
    begun = talk.wire.now()
    talk.show(CueName.READING, round(ttl_s * 1000))
    talk.wait(0.7 * ttl_s)
    status = talk.status()
    if talk.wire.now() > begun + ttl_s:
        raise HeldUp
    if status.cue is not CueName.READING:
        raise Failed(f"reading for {ttl_s * 1000:.0f} ms", f"STATUS with {status.cue or 'nothing yet'} before that")


@check(
    "time_to_live.only_cue",
    "PING and LEVEL do not renew a cue",
    clause=CUES,
    hint="only CUE sets the timer: a host that pings may still have lost its picture of the world",
)
def only_cue(talk: Talk) -> None:
    """A link that is merely alive keeps no old cue on the screen."""
    talk.greet()
    ttl_s = _TTL_S * talk.stretch
    begun = talk.wire.now()
    talk.show(CueName.READING, round(ttl_s * 1000))
    talk.wait(0.5 * ttl_s)
    talk.acked(Ping(1))
    talk.acked(Level(100))
    talk.wait(0.8 * ttl_s)
    status = talk.status()
    if talk.wire.now() > begun + 1.5 * ttl_s:
        raise HeldUp
    if status.cue is CueName.READING:
        raise Failed(f"the end of a cue after {ttl_s * 1000:.0f} ms", "STATUS with reading: renewed by PING or LEVEL")


@check(
    "time_to_live.renewed",
    "a new CUE begins its time anew",
    clause=CUES,
    hint="each CUE replaces the timer of the one before: the host sends lasting cues again every 4 s",
)
def renewed(talk: Talk) -> None:
    """A cue that the host keeps sending stays without a gap."""
    talk.greet()
    ttl_s = 1.0 * talk.stretch
    talk.show(CueName.READING, round(ttl_s * 1000))
    talk.wait(0.6 * ttl_s)
    begun = talk.wire.now()
    talk.show(CueName.READING, round(ttl_s * 1000))
    talk.wait(0.6 * ttl_s)
    status = talk.status()
    if talk.wire.now() > begun + ttl_s:
        raise HeldUp
    if status.cue is not CueName.READING:
        raise Failed("reading, which was sent again", f"STATUS with {status.cue or 'nothing yet'}")


CHECKS = (invite, resting, quiet, early, only_cue, renewed)
