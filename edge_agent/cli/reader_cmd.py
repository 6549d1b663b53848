"""`edge-agent reader`: finds the readers of this machine (probe), lists them, reads what is in the field of one (read).

For a technician on a ladder: each port is asked, then a card is asked for. What others use is left as it is.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from edge_agent.cli import reader_list, reader_read
from edge_agent.cli.commands import COMMANDS, Commands, add_config, add_json
from edge_agent.cli.render import Paper, counted
from edge_agent.errors import ExitCode, ReaderError

if TYPE_CHECKING:
    from edge_agent.cli.reader_view import Survey
    from edge_agent.readers.probe import Hint

WAIT_S = 20
_LONGEST_WAIT_S = 600


def add_parser(commands: Commands) -> None:
    """Declare the command and its part."""
    parser = commands.add_parser(
        "reader",
        help=COMMANDS["reader"].help,
        description="Find out which readers this machine has, and what is in their field.",
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    probe = parts.add_parser(
        "probe",
        help="try ports, speeds and protocols; print the lines of the configuration",
        description="Try every serial port: ask what answers by itself, then listen while a card is held to the "
        "reader. List the readers that pcscd knows. Print the lines of the configuration. A port that is tried gets a "
        "few bytes at several speeds: name the ports where other things must not get them. Exit status: 0 found, "
        "1 nothing found, 3 could not look.",
    )
    probe.add_argument(
        "--port",
        action="append",
        type=_port,
        metavar="PORT",
        help="only this port: a path, or usb:VENDOR:PRODUCT[:SERIAL]; may be repeated",
    )
    probe.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help=f"listen for a card so long, 0 to {_LONGEST_WAIT_S}; left out: {WAIT_S} where nothing answers by itself, "
        "else not at all",
    )
    add_config(probe)
    add_json(probe)
    reader_list.add_part(parts)
    reader_read.add_part(parts)


def run(args: argparse.Namespace) -> int:
    """Run the part that was asked for; Ctrl-C ends each within a second. Raises what the parts raise."""
    return {"list": reader_list.run, "read": reader_read.run}.get(args.part, _probe)(args)


def _probe(args: argparse.Namespace) -> int:
    """Look, print, tell how it went. Raises ReaderError for a USB port that is none."""
    from edge_agent.cli import reader_view  # noqa: PLC0415 - with the drivers, which no other command needs

    survey = _look(args)
    if args.json:
        print(json.dumps(reader_view.as_dict(survey)))
    else:
        reader_view.show(Paper(sys.stdout), survey, args.config)
    if survey.found:
        return ExitCode.OK
    return ExitCode.COULD_NOT_LOOK if survey.not_looked else ExitCode.PROBLEM


def _look(args: argparse.Namespace) -> "Survey":
    from edge_agent.cli.reader_machine import look_around  # noqa: PLC0415 - as above
    from edge_agent.cli.reader_view import Survey  # noqa: PLC0415 - as above
    from edge_agent.clock import SystemClock  # noqa: PLC0415 - as above
    from edge_agent.readers import probe  # noqa: PLC0415 - as above

    machine = look_around(args.config)
    devices, spared = machine.to_try(args.port)
    pcsc, fault = _pcsc() if args.port is None else ((), None)
    probing = probe.Probe(devices, clock=SystemClock())
    if devices:
        _say(f"asking {counted(len(devices), 'port')} what is there, {probe.ASK_WITHIN_S} s at most")
    reports = probing.ask()
    survey = Survey(machine, tuple(reports), tuple(spared), pcsc, fault)
    wait_s = (0 if survey.found else WAIT_S) if args.wait is None else args.wait
    if not wait_s or not any(report.state is probe.PortState.SILENT for report in reports):
        return survey
    _say(f"hold a card or a key fob to the reader now, until this ends: {wait_s:.0f} s at most")
    reports = probing.listen(reports, wait_s, _hint)
    return Survey(machine, tuple(reports), tuple(spared), pcsc, fault, listened=True)


def _pcsc() -> tuple[tuple[str, ...], ReaderError | None]:
    from edge_agent.readers.probe import pcsc_readers  # noqa: PLC0415 - as above

    try:
        return pcsc_readers(), None
    except ReaderError as error:
        return (), error


def _hint(device: str, _hint: "Hint") -> None:
    _say(f"{device} said something at another speed: take the card away, and hold it there again")


def _say(text: str) -> None:
    """For the person who waits; nothing where nobody looks."""
    if sys.stderr.isatty():
        paper = Paper(sys.stderr)
        paper.wrapped(text, kind="dim")
        sys.stderr.flush()


def _port(text: str) -> str:
    from edge_agent.readers.port_names import check_port  # noqa: PLC0415 - only where a port is named

    try:
        return check_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _LONGEST_WAIT_S:  # NaN is not
        raise argparse.ArgumentTypeError(f"a number of seconds, 0 to {_LONGEST_WAIT_S}")
    return value
