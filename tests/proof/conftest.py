"""What the proofs found, printed once more at the end of the run where nobody overlooks it."""

import pytest

from tests.fakes import proof_report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if proof_report.LINES:
        terminalreporter.section("proofs")
        for line in proof_report.LINES:
            terminalreporter.write_line(line)
