"""Checks of EVENT: what a firmware says by itself. Most need somebody who presses the button."""

from itertools import pairwise

from firmware_bridge.conformance.base import Failed, HeldUp, Skipped, check
from firmware_bridge.conformance.talk import Talk, with_bytes
from firmware_bridge.frames import Frame
from firmware_bridge.messages import Ack, Capability, EventCode
from firmware_bridge.protocol import ACK_WITHIN_S, RETRIES

_CLAUSE = "Sequence"
_PRESS_WITHIN_S = 15.0
_QUIET_S = 8 * ACK_WITHIN_S
_TOGETHER_S = 0.003
_FLOOD = 50
"""So many EVENTs of one press are too many, whatever comes then."""


def _pressed(talk: Talk, question: str) -> list[tuple[float, Frame]]:
    """Ask for a press of the button; return its EVENT frames until they stop."""
    if not talk.ask_person(question):
        raise Skipped("nobody pressed the button")
    end = talk.wire.now() + _PRESS_WITHIN_S
    while not (found := _buttons(talk)) and talk.wire.now() < end:
        talk.wait(ACK_WITHIN_S)
    if not found:
        raise Failed("EVENT BUTTON", f"nothing for {_PRESS_WITHIN_S:.0f} s")
    seen = 0
    while seen < len(found) < _FLOOD:
        seen = len(found)
        talk.wait(_QUIET_S)
        found = _buttons(talk)
    return found


def _gaps(found: list[tuple[float, Frame]]) -> list[float]:
    return [after[0] - before[0] for before, after in pairwise(found)]


def _blame(gaps: list[float]) -> None:
    """Raise HeldUp where frames were read together: then this computer was late, and its ACK, too."""
    if min(gaps) < _TOGETHER_S:
        raise HeldUp


def _buttons(talk: Talk) -> list[tuple[float, Frame]]:
    return [(at, frame) for at, frame in talk.events if frame.payload[:1] == bytes((EventCode.BUTTON,))]


@check(
    "events.repeat",
    "an EVENT without an ACK is repeated three times",
    clause=_CLAUSE,
    hint="50 ms after each without an ACK send the same bytes again; after the third repeat give it up",
    needs=Capability.BUTTON,
    person=True,
)
def repeat(talk: Talk) -> None:
    """A press of the button is not lost with one frame, and nobody shouts for ever."""
    talk.greet()
    with talk.events_unanswered():
        found = _pressed(talk, "Press the button of the screen once, shortly.")
    frames = [frame for _, frame in found]
    if frames != [frames[0]] * (1 + RETRIES):
        raise Failed(f"the same EVENT {1 + RETRIES} times", f"{len(frames)}: {with_bytes(frames[-1])}")
    gaps = _gaps(found)
    if sum(gaps) < RETRIES * ACK_WITHIN_S / 2:
        _blame(gaps)
        raise Failed("50 ms between repeats", f"{min(gaps) * 1000:.0f} ms")
    talk.note = "repeats after " + ", ".join(f"{gap * 1000:.0f}" for gap in gaps) + " ms"


@check(
    "events.acknowledged",
    "an EVENT with an ACK is not repeated",
    clause=_CLAUSE,
    hint="the host's ACK names the seq of the EVENT: compare it and stop",
    needs=Capability.BUTTON,
    person=True,
)
def acknowledged(talk: Talk) -> None:
    """One press is told once."""
    talk.greet()
    found = _pressed(talk, "Press the button once more.")
    if 1 < len(found) <= RETRIES:
        # Who never hears an ACK says all repeats: here one was on its way when the ACK came. Not each time, though.
        _blame(_gaps(found))
        talk.events.clear()
        found = _pressed(talk, "Press the button once more.")
    if len(found) > 1:
        _blame(_gaps(found))
        raise Failed("one EVENT, which the host acknowledged", f"{len(found)}: {with_bytes(found[-1][1])}")


@check(
    "events.stray_ack",
    "an ACK of the host is never answered",
    clause="What the host does",
    hint="ACK is the one message without an answer, also when no EVENT waits for it",
)
def stray_ack(talk: Talk) -> None:
    """Two ends that acknowledge each other's ACK would never stop."""
    talk.greet()
    for seq in (0, 1, 200):
        talk.send(Ack(seq), seq)
    talk.nothing_came("an ACK of the host")


CHECKS = (repeat, acknowledged, stray_ack)
