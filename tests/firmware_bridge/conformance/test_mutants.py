"""Each check can fail: a firmware with the fault that it looks for makes that check red, and no other."""

import pytest

from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.runner import CHECKS, run
from firmware_bridge.conformance.talk import Talk
from tests.fakes.broken_firmware import Firmware
from tests.fakes.mutants import MUTANTS, Mutant
from tests.fakes.virtual_wire import VirtualWire

QUESTIONS = {"look.cues": "say “", "look.text": "¥2.00", "look.level": "darker"}


def outcomes(firmware: type[Firmware], no_to: str = "") -> list[Outcome]:
    """Run every check with somebody at the screen who presses the button and says no to one question."""
    wire = VirtualWire(firmware)

    def person(question: str) -> bool:
        if "ress the button" in question:
            wire.press_button()
        return not no_to or no_to not in question

    return run(Talk(wire, person=person), CHECKS, [].append)


def failed(found: list[Outcome]) -> set[str]:
    return {outcome.check.id for outcome in found if outcome.verdict is Verdict.FAIL}


def test_a_firmware_that_keeps_every_rule_passes_every_check() -> None:
    found = outcomes(Firmware)
    assert {outcome.verdict for outcome in found} == {Verdict.PASS}, failed(found)
    assert len(found) == len(CHECKS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.firmware.__name__)
def test_a_fault_makes_its_check_fail_and_no_other(mutant: Mutant) -> None:
    found = outcomes(mutant.firmware)
    assert failed(found) == {mutant.check} | mutant.also
    (outcome,) = (outcome for outcome in found if outcome.check.id == mutant.check)
    assert outcome.expected
    assert outcome.got
    assert outcome.trace


@pytest.mark.parametrize("check", QUESTIONS)
def test_a_no_of_the_person_fails_the_check_that_asked(check: str) -> None:
    assert failed(outcomes(Firmware, no_to=QUESTIONS[check])) == {check}


def test_every_check_has_a_firmware_or_a_person_that_makes_it_fail() -> None:
    assert {mutant.check for mutant in MUTANTS} | set(QUESTIONS) == {check.id for check in CHECKS}
