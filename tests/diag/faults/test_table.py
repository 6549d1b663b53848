"""Break one thing at a time: doctor names it, and nothing but it."""

from pathlib import Path

import pytest

from edge_agent.diag.check import all_kinds
from tests.diag.faults.base import Fault
from tests.diag.faults.table import FAULTS, check, examine, told
from tests.diag.faults.terminal import healthy_terminal

PAGE = Path(__file__).parents[3] / "docs" / "technician.md"


@pytest.mark.system
def test_a_healthy_terminal_is_healthy(tmp_path: Path) -> None:
    with healthy_terminal(tmp_path) as terminal:
        report = terminal.doctor()
    assert [(finding.kind.id, finding.text) for finding in report.shown] == []
    assert [(result.check.id, result.skipped) for result in report.lost] == []


@pytest.mark.proof
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_doctor_names_the_fault_and_nothing_else(fault: Fault, tmp_path: Path) -> None:
    check(fault, examine(fault, tmp_path))


def test_the_page_of_the_technician_has_the_table_of_all_faults() -> None:
    assert told(PAGE.read_text(encoding="utf-8")) == [(fault.name, fault.finding) for fault in FAULTS]


def test_each_fault_is_told_by_a_finding_that_exists_and_has_a_name_of_its_own() -> None:
    assert {fault.finding for fault in FAULTS} <= set(all_kinds())
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
