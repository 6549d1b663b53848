"""`edge-agent report`: the last 24 hours of this terminal, and what doctor finds, as one HTML page to print."""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.render import Paper
from edge_agent.cli.status_cmd import socket_of
from edge_agent.control_client import ask
from edge_agent.errors import ControlError, ExitCode

DEFAULT_FILE = Path("edge-agent-report.html")


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report",
        help=COMMANDS["report"].help,
        description="Write one page with taps, speed, queue and resets of the last 24 hours and what doctor finds. "
        "Exit status: 0 written, 3 no agent, or the file cannot be written.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=DEFAULT_FILE, metavar="FILE",
        help="where to, - is standard output (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-doctor", action="store_true", help="leave out what doctor finds: up to 20 s faster")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and write; raises ControlError when nobody answers or the file cannot be written."""
    from edge_agent.cli.report_page import page  # noqa: PLC0415 -- not for --help

    asked = partial(ask, socket_of(args.socket, args.config))
    status, history = asked({"op": "status"}), asked({"op": "history"})
    findings = None if args.no_doctor else _findings(args)
    if args.json:
        print(json.dumps({"status": status, "history": history, "findings": findings}))
        return ExitCode.OK
    text = page(status, history, findings=findings, utc_offset_s=time.localtime().tm_gmtoff)
    if str(args.output) == "-":
        sys.stdout.write(text)
        return ExitCode.OK
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ControlError(
            f"cannot write {args.output}: {error.strerror}", remedy="name another file: -o FILE"
        ) from error
    paper = Paper(sys.stdout)
    paper.print(f"{args.output}: {len(text.encode()) / 1000:.0f} kB")
    paper.print()
    paper.print("Next: open it in a browser, and print it.")
    return ExitCode.OK


def _findings(args: argparse.Namespace) -> list[dict[str, object]]:
    from edge_agent.cli.doctor_view import finding_dict  # noqa: PLC0415 -- not for --help
    from edge_agent.diag.check import all_checks  # noqa: PLC0415 -- as above
    from edge_agent.diag.runner import run_checks  # noqa: PLC0415 -- as above
    from edge_agent.diag.site import Site  # noqa: PLC0415 -- as above

    site = Site(args.config or DEFAULT_CONFIG, socket=args.socket)
    return [finding_dict(finding) for finding in run_checks(all_checks(), site).shown]
