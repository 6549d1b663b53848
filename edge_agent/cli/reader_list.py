"""`edge-agent reader list`: the readers of the configuration, what is at their ports, and what else is plugged in.

No port is opened: what the kernel, pcscd and the running agent tell is enough.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.commands import Commands, add_config, add_json, load_config
from edge_agent.cli.render import Paper, counted
from edge_agent.control_client import ask
from edge_agent.errors import ControlError, ExitCode, ReaderError
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.cli.reader_machine import Machine

_WORKS = frozenset({"polling", "serving", "occupied", "lent", "opening"})


@dataclass(frozen=True, slots=True)
class Row:
    """One reader of the configuration; ``state`` is the agent's word, "" where no agent tells."""

    name: str
    driver: str
    port: str
    path: str = ""
    product: str = ""
    there: bool = True
    state: str = ""
    chip: str = ""
    error: str = ""

    @property
    def well(self) -> bool:
        """Whether it is there, and the agent has it, if one runs."""
        return self.there and (not self.state or self.state in _WORKS)

    @property
    def about(self) -> str:
        """The row for people."""
        where = self.port if not self.path or self.path == self.port else f"{self.port}, now {self.path}"
        words = [f"{self.driver} at {where}" if where else self.driver]
        words += [f"on a USB device that says it is {self.product}"] if self.product else []
        words += [] if self.there else ["not there"]
        words += [word for word in (self.state, self.chip) if word]
        words += [self.error] if self.error and not self.well else []
        return ", ".join(words)


def add_part(parts: Commands) -> None:
    """Declare it."""
    parser = parts.add_parser(
        "list",
        help="list the configured readers, and what else is plugged in",
        description="List the readers of the configuration with their ports and what the running agent says of them, "
        "then the ports that are no reader's. No port is opened. Exit status: 0 all are there, 1 not.",
    )
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List; raises ConfigError."""
    from edge_agent.cli.reader_machine import look_around  # noqa: PLC0415 -- with what it reads, for this alone

    machine = look_around(args.config)
    rows = _rows(args.config, machine)
    pcsc = _pcsc(rows)
    if args.json:
        print(json.dumps(_as_dict(rows, machine, pcsc)))
    else:
        _show(Paper(sys.stdout), rows, machine, pcsc)
    return ExitCode.OK if rows and all(row.well for row in rows) else ExitCode.PROBLEM


def _rows(config: Path, machine: "Machine") -> list[Row]:
    settings = load_config(config).settings
    try:
        status: Mapping[str, Any] = ask(settings.control.socket, {"op": "status"}, timeout_s=2.0)
    except ControlError:
        status = {}
    return [_told(_row(wanted, machine), status) for wanted in settings.readers]


def _row(wanted: Any, machine: "Machine") -> Row:
    from edge_agent.readers.ports import resolve  # noqa: PLC0415 -- as above

    if wanted.driver not in ("pn532", "serial"):
        return Row(wanted.name, wanted.driver, getattr(wanted, "reader", None) or "")
    driver = wanted.driver if wanted.driver == "pn532" else f"{wanted.driver} {wanted.profile}"
    try:
        path = resolve(wanted.device)
    except ReaderError as error:
        return Row(wanted.name, driver, wanted.device, there=False, error=error.text)
    found = machine.port_of(path)
    now = str(Path(path).resolve()) if Path(path).is_symlink() else path
    product = found.text if found is not None else ""
    return Row(wanted.name, driver, wanted.device, now, product, there=Path(path).exists())


def _told(row: Row, status: Mapping[str, Any]) -> Row:
    readers = status.get("readers")
    for table in readers if isinstance(readers, list) else []:
        if isinstance(table, dict) and table.get("name") == row.name:
            state, chip, error = (printable(str(table.get(key) or ""), 160) for key in ("state", "chip", "last_error"))
            return replace(row, state=state, chip=chip, error=error or row.error)
    return row


def _pcsc(rows: Sequence[Row]) -> tuple[str, ...]:
    """What pcscd knows, where the configuration has such a reader; who it hangs for is told by the agent."""
    if not any(row.driver == "pcsc" for row in rows):
        return ()
    from edge_agent.readers.probe import pcsc_readers  # noqa: PLC0415 -- with the drivers

    try:
        return tuple(printable(name, 160) for name in pcsc_readers())
    except ReaderError:
        return ()


def _others(rows: Sequence[Row], machine: "Machine") -> list[tuple[str, str]]:
    """The ports that are no reader's, and what they are."""
    used = {str(Path(row.path).resolve()) for row in rows if row.path}
    found = []
    for port in machine.ports:
        if str(Path(port.path).resolve()) in used:
            continue
        spared = machine.spared.get(Path(port.path).resolve())
        what = spared.why if spared is not None else "no reader of the configuration"
        found.append((port.path, f"{what}; says it is {port.text}" if port.text else what))
    return found


def _show(paper: Paper, rows: Sequence[Row], machine: "Machine", pcsc: Sequence[str]) -> None:
    ill = [row for row in rows if not row.well]
    if not rows:
        paper.print(paper.paint("no reader is configured", "bad"))
    elif ill:
        paper.print(paper.paint(f"{len(ill)} of {counted(len(rows), 'reader')} not there, or not at work", "bad"))
    else:
        paper.print(paper.paint(f"{counted(len(rows), 'reader')}, all there", "good"))
    paper.print()
    paper.fields([(row.name, row.about) for row in rows])
    others = [*_others(rows, machine), *(("pcscd", name) for name in pcsc)]
    if others:
        paper.print()
        paper.fields(others)
    paper.print()
    if not rows:
        paper.wrapped("Next: find out what is there: edge-agent reader probe")
    else:
        paper.wrapped("Next: see why: edge-agent doctor --only devices" if ill else "Next: nothing to do.")


def _as_dict(rows: Sequence[Row], machine: "Machine", pcsc: Sequence[str]) -> dict[str, object]:
    return {
        "readers": [
            {
                "name": row.name,
                "driver": row.driver,
                "port": row.port or None,
                "path": row.path or None,
                "product": row.product or None,
                "there": row.there,
                "state": row.state or None,
                "chip": row.chip or None,
                "error": row.error or None,
                "well": row.well,
            }
            for row in rows
        ],
        "ports": [{"path": path, "text": what} for path, what in _others(rows, machine)],
        "pcsc": list(pcsc),
    }
