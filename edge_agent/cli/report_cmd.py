"""`edge-agent report`: the last 24 hours of this terminal, and what doctor finds, as one HTML page to print."""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.new_file import appearing, give_to_who_asked
from edge_agent.cli.render import Paper
from edge_agent.cli.status_cmd import socket_of
from edge_agent.cli.status_view import Answer
from edge_agent.control_client import ask
from edge_agent.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report",
        help=COMMANDS["report"].help,
        description="Write one page with taps, speed, queue and resets of the last 24 hours and what doctor finds. "
        "Exit status: 0 written, 1 not written, 3 no agent.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="where to, - is standard output (default: edge-agent-report-DATE-TIME.html, in this folder)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--no-doctor", action="store_true", help="leave out what doctor finds: up to 20 s faster")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and write; raises ControlError when nobody answers, NotWritten."""
    asked = partial(ask, socket_of(args.socket, args.config))
    status, history = asked({"op": "status"}), asked({"op": "history"})
    if args.json:
        print(json.dumps({"status": status, "history": history, "findings": _findings(args)}))
        return ExitCode.OK
    if str(args.output) == "-":
        sys.stdout.write(_page(args, status, history))
        return ExitCode.OK
    file: Path = args.output or Path(time.strftime("edge-agent-report-%Y-%m-%d-%H%M%S.html"))
    with appearing(file, force=args.force) as out:  # first: a folder that cannot be written to is told at once
        give_to_who_asked(out)
        data = _page(args, status, history).encode()
        out.write(data)
    paper = Paper(sys.stdout)
    paper.print(f"{file}: written, {len(data) / 1000:.0f} kB")
    paper.print()
    paper.print("Next: open it in a browser, and print it.")
    return ExitCode.OK


def _page(args: argparse.Namespace, status: Answer, history: Answer) -> str:
    from edge_agent.cli.report_page import page  # noqa: PLC0415 -- not for --help

    return page(status, history, findings=_findings(args), utc_offset_s=time.localtime().tm_gmtoff)


def _findings(args: argparse.Namespace) -> list[dict[str, object]] | None:
    if args.no_doctor:
        return None
    from edge_agent.cli.doctor_view import finding_dict  # noqa: PLC0415 -- not for --help
    from edge_agent.diag.check import all_checks  # noqa: PLC0415 -- as above
    from edge_agent.diag.runner import run_checks  # noqa: PLC0415 -- as above
    from edge_agent.diag.site import Site  # noqa: PLC0415 -- as above

    if sys.stderr.isatty():
        print("looking at everything, 20 seconds at most ...", file=sys.stderr)
    site = Site(args.config or DEFAULT_CONFIG, socket=args.socket)
    return [finding_dict(finding) for finding in run_checks(all_checks(), site).shown]
