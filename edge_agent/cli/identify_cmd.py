"""`edge-agent identify`: have the screens say for half a minute which terminal this is. Changes nothing else."""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.render import Paper
from edge_agent.cli.status_cmd import socket_of
from edge_agent.control_client import ask
from edge_agent.errors import ExitCode
from edge_agent.report_id import ReportId
from edge_agent.sanitize import printable


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "identify",
        help=COMMANDS["identify"].help,
        description="Have every screen show for 30 s which terminal this is, with --report the id of a support report "
        "beside it. Exit status: 0 shown, 3 no answer.",
    )
    parser.add_argument("--report", type=_report, metavar="ID", help="report id to show too, as bundle printed it")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the agent for it; raises ControlError when nobody answers."""
    answer = shown(socket_of(args.socket, args.config), args.report)
    if args.json:
        print(json.dumps(answer))
        return ExitCode.OK
    ids = " and ".join(printable(str(answer[name])) for name in ("terminal", "report") if name in answer)
    Paper(sys.stdout).wrapped(f"{ids}: on the screens for 30 s")
    return ExitCode.OK


def shown(socket: Path, report: ReportId | None) -> dict[str, object]:
    """Have the ids shown; returns the agent's answer. Raises ControlError when nobody answers."""
    return ask(socket, {"op": "identify", **({"report": report} if report else {})})


def _report(word: str) -> ReportId:
    try:
        return ReportId.parse(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
