"""The table of docs/technician.md: which fault, which finding, how many seconds."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.diag.runner import Report
from tests.diag.faults import delivery, devices, host
from tests.diag.faults.base import Fault
from tests.diag.faults.terminal import healthy_terminal

FAULTS: tuple[Fault, ...] = (*host.FAULTS, *devices.FAULTS, *delivery.FAULTS)
BEGIN, END = "<!-- faults: begin (python -m tests.diag.faults) -->", "<!-- faults: end -->"
_HEAD = ("| What is broken | `doctor` says | within |", "|---|---|---:|")


@dataclass(frozen=True, slots=True)
class Row:
    """One line."""

    fault: str
    finding: str
    seconds: float

    def __str__(self) -> str:
        return f"| {self.fault} | [`{self.finding}`](findings/{self.finding}.md) | {self.seconds:.1f} s |"


def examine(fault: Fault, folder: Path) -> Report:
    """A healthy terminal, one thing broken, the whole doctor."""
    with healthy_terminal(folder) as terminal, fault.breaks(terminal):
        return terminal.doctor()


def measured(faults: Iterable[Fault] = FAULTS) -> Iterator[Row]:
    """Examine each; AssertionError where anything but its finding is shown."""
    for fault in faults:
        with tempfile.TemporaryDirectory(prefix="fault-") as folder:
            report = examine(fault, Path(folder))
        check(fault, report)
        yield Row(fault.name, fault.finding, report.seconds)


def check(fault: Fault, report: Report) -> None:
    """The finding is shown, nothing else is, and it took no longer than a person waits."""
    shown = [(finding.kind.id, finding.subject, finding.text) for finding in report.shown]
    lost = [(result.check.id, result.skipped) for result in report.lost]
    assert [name for name, _, _ in shown] == [fault.finding], (fault.name, shown, lost)
    if fault.subject:
        assert shown[0][1] == fault.subject, (fault.name, shown)
    assert not lost, (fault.name, lost)
    assert report.seconds < 20, (fault.name, report.seconds)


def markdown(rows: Iterable[Row]) -> str:
    """The table between its markers."""
    return "\n".join([BEGIN, "", *_HEAD, *map(str, rows), "", END])


def told(page: str) -> list[tuple[str, str]]:
    """Fault and finding of each line of the table in a page."""
    _, _, rest = page.partition(BEGIN)
    table, _, _ = rest.partition(END)
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return [(fault, finding.partition("`")[2].partition("`")[0]) for fault, finding, _ in cells]
