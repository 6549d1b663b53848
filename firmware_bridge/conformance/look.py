"""Checks that only a person at the screen can make."""

from firmware_bridge.conformance.base import CUES, MESSAGES, Failed, check
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import AMOUNT_SEPARATOR, Capability, Level

_UNDERSTOOD = {
    CueName.INVITE: "tap your phone here",
    CueName.READING: "hold still",
    CueName.THANKS: "it worked",
    CueName.UNLOCK: "unlock your phone",
    CueName.RETRY: "once more, a little longer",
    CueName.RESTING: "not now, nothing is broken",
    CueName.FAULT: "no invitation, a small mark for the technician",
}


@check(
    "look.cues",
    "each cue says what it means",
    clause=CUES,
    hint="show it to somebody who has not seen it before",
    person=True,
)
def each(talk: Talk) -> None:
    """A passenger understands the screen at a glance."""
    talk.greet()
    for cue, meaning in _UNDERSTOOD.items():
        talk.show(cue, 30_000)
        if not talk.ask_person(f"{cue}: does the screen say “{meaning}”?"):
            raise Failed(f"a picture that says “{meaning}”", "another one")


@check(
    "look.text",
    "amount and text can be read",
    clause=MESSAGES,
    hint="first line the amount, then the text, in UTF-8: the font needs ¥ and Chinese characters",
    needs=Capability.TEXT,
    person=True,
)
def text(talk: Talk) -> None:
    """A display that declares text shows it whole."""
    talk.greet()
    talk.show(CueName.THANKS, 30_000, text=f"¥2.00{AMOUNT_SEPARATOR}谢谢 thanks")
    if not talk.ask_person("Does the screen show ¥2.00 and 谢谢 thanks?"):
        raise Failed("amount and text", "something else")


@check(
    "look.level",
    "the screen gets darker and brighter",
    clause=MESSAGES,
    hint="LEVEL sets the backlight; 0 may be dark",
    needs=Capability.BRIGHTNESS,
    person=True,
)
def level(talk: Talk) -> None:
    """A display that declares brightness can be dimmed."""
    talk.greet()
    talk.show(CueName.INVITE, 30_000)
    talk.acked(Level(20))
    darker = talk.ask_person("Is the screen darker now?")
    talk.acked(Level(100))
    if not darker:
        raise Failed("a darker screen at LEVEL 20", "no change")


CHECKS = (each, text, level)
