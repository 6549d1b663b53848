"""What `edge-agent reader probe` found: a line for each port, and the lines of the configuration. Shows no number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.cli.reader_machine import Machine, Spared
from edge_agent.cli.render import Paper, counted
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers import probe_lines
from edge_agent.readers.probe import FoundReader, PortReport, PortState, pcsc_part
from edge_agent.sanitize import printable

_NOT_LOOKED = frozenset({PortState.FORBIDDEN, PortState.TAKEN})


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was seen; ``listened`` tells whether a card was asked for."""

    machine: Machine
    reports: tuple[PortReport, ...]
    spared: tuple[Spared, ...]
    pcsc: tuple[str, ...] = ()
    pcsc_fault: ReaderError | None = None
    listened: bool = False

    @property
    def found(self) -> int:
        """Readers, those of the running agent included."""
        answered = sum(report.state is PortState.FOUND for report in self.reports)
        return answered + sum(bool(spared.reader) for spared in self.spared) + len(self.pcsc)

    @property
    def not_looked(self) -> bool:
        """Whether something was not looked at that may be a reader."""
        refused = self.pcsc_fault is not None and self.pcsc_fault.fault is ReaderFault.NO_PERMISSION
        return refused or any(report.state in _NOT_LOOKED for report in self.reports)


@dataclass(frozen=True, slots=True)
class Table:
    """One [[readers]] table: for which port or PC/SC reader, its lines, and what is to be known about it."""

    reader: str
    lines: tuple[str, ...]
    warning: str = ""


def tables(survey: Survey) -> list[Table]:
    """Return a table for each reader that the agent does not have already."""
    taken = set(survey.machine.names)

    def name(kind: str, configured: str | None = None) -> str:
        chosen = configured or probe_lines.free_name(kind, taken)
        taken.add(chosen)
        return chosen

    made = []
    for report in survey.reports:
        if report.reader is None:
            continue
        port, warning = survey.machine.name_for_configuration(report.device)
        configured = survey.machine.configured.get(Path(report.device).resolve())
        found = report.reader
        if found.settings is None:
            lines = probe_lines.pn532(name("nfc", configured), port)
        else:
            lines = probe_lines.serial(name("serial", configured), port, found.baud, found.settings)
        made.append(Table(report.device, tuple(lines), warning))
    for reader in survey.pcsc:
        if reader not in survey.machine.pcsc:
            part = pcsc_part(reader, survey.pcsc)
            lines = probe_lines.pcsc(name("usb"), part) if part else probe_lines.table(name("usb"), "pcsc")
            made.append(Table(reader, tuple(lines)))
    return made


def show(paper: Paper, survey: Survey, config: Path) -> None:
    """Write it for a person: verdict, ports, lines to copy, the next step."""
    verdict = f"{counted(survey.found, 'reader')} found" if survey.found else "no reader found"
    paper.print(paper.paint(verdict, "good" if survey.found else "bad"))
    paper.print()
    rows = list(_rows(survey))
    paper.fields(rows or [("ports", "this machine has no serial port that anything is plugged into")])
    made = tables(survey)
    if made:
        paper.print()
        paper.wrapped(f"For {config}:")
        for table in made:
            paper.print()
            for line in ([f"# {table.warning}"] if table.warning else []) + list(table.lines):
                paper.print(line)
    paper.print()
    paper.wrapped(f"Next: {_next_step(survey, made)}")


def as_dict(survey: Survey) -> dict[str, object]:
    """Return it for a program."""
    made = tables(survey)
    return {
        "found": survey.found,
        "listened": survey.listened,
        "ports": [_port(report) for report in survey.reports],
        "left_alone": [
            {"device": spared.device, "text": spared.why, "reader": spared.reader or None} for spared in survey.spared
        ],
        "pcsc": [{"name": printable(name, 160), "reader": survey.machine.pcsc.get(name)} for name in survey.pcsc],
        "pcsc_error": str(survey.pcsc_fault) if survey.pcsc_fault else None,
        "tables": [
            {"for": printable(table.reader, 160), "toml": "\n".join(table.lines), "warning": table.warning or None}
            for table in made
        ],
    }


def _port(report: PortReport) -> dict[str, object]:
    told: dict[str, object] = {"device": report.device, "state": report.state.value}
    if report.text:
        told |= {"error": report.text, "remedy": report.remedy}
    if report.heard:
        told["heard_bytes"] = {str(baud): count for baud, count in report.heard}
    if (found := report.reader) is not None:
        told |= {
            "driver": found.driver,
            "about": found.about,
            "baud": found.baud,
            "profile": found.settings.profile if found.settings else None,
            "sees_phones": found.sees_phones,
            "also": [str(candidate) for candidate in found.also],
        }
    return told


def _rows(survey: Survey) -> Iterator[tuple[str, str]]:
    for spared in survey.spared:
        yield spared.device, spared.why
    for report in survey.reports:
        port = survey.machine.port_of(report.device)
        behind = f"; on a USB device that says it is {port.text}" if port and port.text else ""
        yield report.device, _about(report, listened=survey.listened) + behind
    for name in survey.pcsc:
        mine = survey.machine.pcsc.get(name)
        yield "pcscd", printable(name, 160) + (f", {mine} of the running agent" if mine else "")
    if survey.pcsc_fault is not None:
        yield "pcscd", str(survey.pcsc_fault)


def _about(report: PortReport, *, listened: bool) -> str:
    if report.reader is not None:
        return _reader(report.reader)
    match report.state:
        case PortState.SILENT:
            return "nothing answers, and no card was read" if listened else "nothing answers"
        case PortState.NOT_UNDERSTOOD:
            speeds = ", ".join(str(baud) for baud, _ in report.heard)
            return f"says something ({speeds} baud) that is none of the known profiles"
        case _:
            return f"{report.text}; {report.remedy}" if report.remedy else report.text


def _reader(found: FoundReader) -> str:
    text = f"{found.about} at {found.baud} baud"
    if not found.sees_phones:
        text += ": tells the numbers of cards, and cannot see a phone"
    if found.also:
        text += f"; {' and '.join(map(str, found.also))} would fit as well: try again with another card"
    return text


def _next_step(survey: Survey, made: list[Table]) -> str:
    if made:
        return "put these lines into the configuration, then: edge-agent config check"
    if survey.found:
        return "nothing to do: the running agent has them all."
    if survey.not_looked:
        return "look again as root, or as a user of the group of these ports (on Debian it is dialout)."
    if survey.listened or not survey.reports:
        return (
            "check cable and power of the reader (RX to TX, switches on HSU), then probe again. A reader that types "
            "like a keyboard cannot be used."
        )
    return "hold a card to it while this runs: edge-agent reader probe --wait 60"
