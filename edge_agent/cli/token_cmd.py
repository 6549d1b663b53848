"""`edge-agent token inspect FILE|-`: what a token says, line by line, and whether its signature holds."""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, Commands, add_json
from edge_agent.cli.public_key import read_limited, read_public_key
from edge_agent.cli.render import Paper
from edge_agent.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("token", help=COMMANDS["token"].help, description="Look into tap tokens.")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    inspect = parts.add_parser(
        "inspect",
        help="explain one token",
        description="Explain a token, checkpoint or gap record: binary, hex or base64url. Exit status 1 if it is none "
        "or its signature is wrong.",
    )
    inspect.add_argument("file", metavar="FILE|-", help="file with the token; - reads standard input")
    inspect.add_argument("--key", type=Path, metavar="FILE", help="output of `edge-agent keys show --json`")
    inspect.add_argument("--fleet", help="fleet of the terminal; with --key the signature is checked")
    inspect.add_argument("--terminal", help="terminal whose stream the token came from, if not the one it names")
    add_json(inspect)


def run(args: argparse.Namespace) -> int:
    """Explain; exit status 0 for a token of the contract, 1 for anything else or a wrong signature."""
    from edge_agent.tokens import inspect  # noqa: PLC0415 -- cryptography is slow to import

    raw = read_limited(args.file, inspect.MAX_INPUT_BYTES + 1)
    public = read_public_key(args.key) if args.key else None
    rows = inspect.explain(raw, inspect.Context(public, args.fleet, args.terminal))
    if args.json:
        print(json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False))
    else:
        Paper(sys.stdout).fields(
            [(row.label, row.value if not row.meaning else f"{row.value} · {row.meaning}") for row in rows], indent=""
        )
    believable = rows[-1].label == "signature" and rows[-1].value != "WRONG"
    return ExitCode.OK if believable else ExitCode.PROBLEM
