"""Runs the checks one after the other over a wire. A check that fails stops no other, a dead line stops them all."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from firmware_bridge.conformance import (
    brightness,
    cues,
    events,
    framing,
    hello,
    limits,
    look,
    noise,
    reset,
    sequence,
    status,
    time_to_live,
    timing,
)
from firmware_bridge.conformance.base import Check, Failed, HeldUp, Outcome, Skipped, Verdict
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.links.base import LinkError
from firmware_bridge.trace import ability_names

CHECKS: tuple[Check, ...] = tuple(
    chain.from_iterable(
        group.CHECKS
        for group in (
            hello,
            framing,
            noise,
            cues,
            limits,
            sequence,
            status,
            time_to_live,
            brightness,
            reset,
            timing,
            events,
            look,
        )
    )
)
_TRIES = 4
_LONGER = 2.0
_LINE_LOST = "look at plug and power; a firmware that crashes here takes a USB port of its own with it"


def chosen(names: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks of these ids or groups, all for none; raises ValueError for a name that is neither."""
    for name in names:
        if not any(name in (check.id, check.group) for check in CHECKS):
            raise ValueError(f"{name!r} is no check and no group of checks: --list names them")
    return tuple(check for check in CHECKS if not names or check.id in names or check.group in names)


def run(talk: Talk, checks: Iterable[Check], tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Run these checks and return how each ended; ``tell`` hears of each at once."""
    outcomes: list[Outcome] = []
    gone = ""
    for check in checks:
        if gone:
            outcome = Outcome(check, Verdict.SKIP, 0.0, note=gone)
        else:
            outcome, gone = _one(talk, check)
        outcomes.append(outcome)
        tell(outcome)
    return outcomes


def _one(talk: Talk, check: Check) -> tuple[Outcome, str]:
    """Run one check; the text says why no further one can be run, and is empty otherwise."""
    begun = talk.wire.now()

    def ended(verdict: Verdict, *, expected: str = "", got: str = "", note: str = "", hint: str = "") -> Outcome:
        trace = talk.trace if verdict is Verdict.FAIL else ()
        return Outcome(check, verdict, talk.wire.now() - begun, expected, got, note, trace, hint or check.hint)

    try:
        _applies(talk, check)
        _patiently(talk, check)
    except Skipped as skipped:
        return ended(Verdict.SKIP, note=str(skipped)), ""
    except HeldUp:
        return ended(Verdict.SKIP, note="this computer was too busy to measure it: run it again"), ""
    except Failed as failed:
        talk.failed = True
        # A firmware that never said HELLO is asked nothing more.
        gone = "" if talk.hello else "not run: the firmware never answered HELLO"
        return ended(Verdict.FAIL, expected=failed.expected, got=failed.got), gone
    except LinkError as error:
        outcome = ended(Verdict.FAIL, expected="a line that stays open", got=error.text, hint=_LINE_LOST)
        try:
            talk.wire.reopen()
        except LinkError as second:
            return outcome, f"not run: {second.text}"
        return outcome, ""
    return ended(Verdict.PASS, note=talk.note), ""


def _applies(talk: Talk, check: Check) -> None:
    """Raise Skipped where the firmware does not declare what the check needs."""
    talk.begin()
    if not check.needs:
        return
    if talk.hello is None:
        talk.greet()
    if check.needs not in talk.can:
        raise Skipped(f"the firmware does not declare {', '.join(ability_names(check.needs))}")


def _patiently(talk: Talk, check: Check) -> None:
    """Run a check, again with longer times while this computer itself is too slow for it; raises HeldUp at last."""
    try:
        for _ in range(_TRIES - 1):
            try:
                talk.begin()
                check.run(talk)
            except HeldUp:
                talk.stretch *= _LONGER
            else:
                return
        talk.begin()
        check.run(talk)
    finally:
        talk.stretch = 1.0
