"""``firmware-bridge conformance``: the whole protocol against a maker's firmware, with a report.

Exit status: 0 no check failed, 1 at least one did or the port could not be used, 2 wrong usage.
"""

import argparse
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain, number
from firmware_bridge.cli.target import add_port, complain_of, port_remedy
from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.report import Report, as_json
from firmware_bridge.conformance.runner import chosen, run
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.links.base import LinkError

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands
    from firmware_bridge.conformance.base import Check

_USAGE = 2


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "conformance", _conformance)
    add_port(parser, required=False)
    parser.add_argument("--list", action="store_true", help="say what the checks are, and run none")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a check or a group of checks; may be given again"
    )
    parser.add_argument("--interactive", action="store_true", help="ask whoever stands at the screen, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end instead of the report")
    parser.add_argument(
        "--ack-ms",
        type=number(1, 10_000),
        metavar="MS",
        help="bound of an answer's time (default: the protocol's 50; more is for an emulator only)",
    )


def _conformance(arguments: argparse.Namespace) -> int:
    try:
        checks = chosen(arguments.only)
    except ValueError as error:
        complain(str(error))
        return _USAGE
    if arguments.list:
        Report(sys.stdout).catalogue(checks)
        return OK
    if not arguments.port:
        complain("conformance needs --port DEV, the port of the firmware; --list needs none")
        return _USAGE
    if arguments.interactive and not sys.stdin.isatty():
        complain("--interactive needs a terminal to ask on")
        return _USAGE
    try:
        return _run(arguments, checks)
    except LinkError as error:
        complain_of(error, port_remedy(error, arguments.port))
        return PROBLEM


def _run(arguments: argparse.Namespace, checks: "tuple[Check, ...]") -> int:
    from firmware_bridge.conformance.port_wire import PortWire  # noqa: PLC0415 - pyserial: not for --list

    report = Report(sys.stdout)

    def tell(outcome: Outcome) -> None:
        if not arguments.json:
            report.tell(outcome)

    with PortWire(arguments.port, arguments.baud) as wire:
        person = _ask if arguments.interactive else None
        within_s = arguments.ack_ms / 1000 if arguments.ack_ms else None
        talk = Talk(wire, person=person, within_s=within_s, baud=arguments.baud)
        if not arguments.json:
            report.begin(arguments.port, len(checks))
        outcomes = run(talk, checks, tell)
    if arguments.json:
        document = as_json(arguments.port, outcomes, talk.hello, talk.unreadable)
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        report.end(outcomes, talk.hello, talk.unreadable)
    return PROBLEM if any(outcome.verdict is Verdict.FAIL for outcome in outcomes) else OK


def _ask(question: str) -> bool:
    """Ask on the terminal; Enter and y mean yes, an end of the input no."""
    with suppress(EOFError):
        print(f"\n  >> {question} [Y/n] ", end="", file=sys.stderr, flush=True)
        return input().strip().lower() in ("", "y", "yes")
    return False
