"""What a maker runs against a firmware finds nothing in ours, with somebody at the screen who presses the button."""

from collections.abc import Sequence

import pytest

from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.port_wire import PortWire
from firmware_bridge.conformance.runner import CHECKS, chosen, run
from firmware_bridge.conformance.talk import Talk
from tests.fakes.mcu_reference import Firmware

pytestmark = pytest.mark.usefixtures("patient_checks")

# These two wait by the clock, for 25 seconds together.
AT_LENGTH = {"time_to_live", "timing"}
# An emulator beside seven other processes answers when it is its turn.
ACK_WITHIN_S = 1.0


def outcomes(firmware: Firmware, groups: Sequence[str]) -> list[Outcome]:
    def somebody(question: str) -> bool:
        if "button" in question:
            firmware.press("b")
        return True

    with PortWire(firmware.path, 115200) as wire:
        return run(Talk(wire, person=somebody, within_s=ACK_WITHIN_S), chosen(groups), lambda _: None)


def not_passed(found: list[Outcome]) -> list[tuple[str, str, str]]:
    return [(end.check.id, end.got, end.note) for end in found if end.verdict is not Verdict.PASS]


def test_the_reference_conforms(firmware: Firmware) -> None:
    groups = sorted({check.group for check in CHECKS} - AT_LENGTH)
    assert not_passed(outcomes(firmware, groups)) == []


@pytest.mark.proof
def test_the_reference_conforms_at_full_length(firmware: Firmware) -> None:
    found = outcomes(firmware, [])
    assert len(found) == len(CHECKS)
    assert not_passed(found) == []
