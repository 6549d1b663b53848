"""Checks of CUE: each cue is acknowledged and, as STATUS tells, shown."""

from firmware_bridge.conformance.base import CUES, MESSAGES, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import MAX_LEVEL, MAX_TTL_MS, CueName
from firmware_bridge.frames import Frame
from firmware_bridge.messages import (
    AMOUNT_SEPARATOR,
    MAX_TEXT,
    Capability,
    NakReason,
    ShowCue,
)

_UNKNOWN_CODES = (0, 99, 128, 255)


@check(
    "cues.each",
    "cues 1 to 8 are acknowledged and shown",
    clause=CUES,
    hint="STATUS names the cue that is on the screen now, from the moment of its ACK",
)
def each(talk: Talk) -> None:
    """Every cue of the table is known."""
    talk.greet()
    for cue in CueName:
        if cue is not CueName.QUIET:
            talk.show(cue)
            talk.shows(cue, "after its CUE")


@check(
    "cues.quiet",
    "cue 9, quiet, is acknowledged and shown",
    clause=CUES,
    hint="the firmware declares capability bit 5: without it the host sends resting in its place",
    needs=Capability.QUIET,
)
def quiet(talk: Talk) -> None:
    """What the firmware declares, it does."""
    talk.greet()
    talk.show(CueName.QUIET)
    talk.shows(CueName.QUIET, "after its CUE")


@check(
    "cues.text",
    "texts of 0 to 64 bytes of UTF-8 are taken",
    clause=MESSAGES,
    hint="64 bytes, not characters; an amount is the first line, ended by 0A. A display without text ignores it",
)
def text(talk: Talk) -> None:
    """A host need not know what a display can write."""
    talk.greet()
    for words in ("", "x" * MAX_TEXT, "谢" * 21 + "!", f"¥2.00{AMOUNT_SEPARATOR}谢谢", AMOUNT_SEPARATOR, "🎁" * 16):
        talk.show(CueName.THANKS, text=words)
    talk.shows(CueName.THANKS, "after six texts")


@check(
    "cues.levels",
    "levels 0, 1 and 100 are taken",
    clause=MESSAGES,
    hint="the level of a CUE goes from 0 to 100, both included",
)
def levels(talk: Talk) -> None:
    """The whole range of brightness is legal."""
    talk.greet()
    for level in (0, 1, MAX_LEVEL):
        talk.show(CueName.INVITE, level=level)


@check(
    "cues.ttl_range",
    "times to live of 1 ms and of 65535 ms are taken",
    clause=MESSAGES,
    hint="ttl_ms is an unsigned u16, big-endian",
)
def ttl_range(talk: Talk) -> None:
    """The whole range of times is legal."""
    talk.greet()
    talk.show(CueName.RETRY, 1)
    talk.show(CueName.READING, MAX_TTL_MS)
    talk.shows(CueName.READING, f"with {MAX_TTL_MS} ms to live")


@check(
    "cues.unknown",
    "an unknown cue is refused and changes nothing",
    clause=rule(4),
    hint="NAK UNKNOWN_CUE (5), 0 included; what is on the screen stays",
)
def unknown(talk: Talk) -> None:
    """A later version may send more cues: the firmware says so and stays as it is."""
    talk.greet()
    talk.show(CueName.RETRY)
    for code in _UNKNOWN_CODES:
        frame = Frame(ShowCue.TYPE, talk.next_seq(), bytes((code, 0x27, 0x10, MAX_LEVEL, 0)))
        talk.refused(frame, NakReason.UNKNOWN_CUE, f"cue {code}")
    talk.shows(CueName.RETRY, "as before the unknown cues")


CHECKS = (each, quiet, text, levels, ttl_range, unknown)
