"""Checks of LEVEL."""

from firmware_bridge.conformance.base import MESSAGES, check
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import Level


@check(
    "brightness.range",
    "LEVEL 0, 50 and 100 are acknowledged",
    clause=MESSAGES,
    hint="a display that cannot be dimmed acknowledges LEVEL all the same",
)
def whole_range(talk: Talk) -> None:
    """A host need not know whether a display can be dimmed."""
    talk.greet()
    for level in (0, 50, 100):
        talk.acked(Level(level))


@check(
    "brightness.keeps_cue",
    "LEVEL changes nothing but the brightness",
    clause=MESSAGES,
    hint="LEVEL is for what is shown now and from now on: the cue stays",
)
def keeps_cue(talk: Talk) -> None:
    """A schedule that dims the screen in the evening takes no cue away."""
    talk.greet()
    talk.show(CueName.UNLOCK)
    talk.acked(Level(30))
    talk.shows(CueName.UNLOCK, "after LEVEL")
    talk.acked(Level(100))


CHECKS = (whole_range, keeps_cue)
