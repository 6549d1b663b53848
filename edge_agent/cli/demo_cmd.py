"""`edge-agent demo`: the whole path on this machine, without hardware and without root."""

import argparse
import re

from edge_agent.cli.commands import COMMANDS, Commands
from edge_agent.sanitize import printable


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help=COMMANDS["demo"].help,
        description="Simulated phones tap an emulated PN532 under the real driver; the agent signs and keeps each tap "
        "and publishes it to an embedded MQTT 5 broker; the receiver verifies and stores it; a page and an emulated "
        "display show it. Exit status 0 only if every tap was stored as fresh.",
    )
    parser.add_argument("--taps", type=_positive, metavar="N", help="end after N taps (default: on Ctrl-C)")
    parser.add_argument("--json", action="store_true", help="JSON lines; the last one is the summary")
    parser.add_argument("--verbose", action="store_true", help="show the agent's own log, too, on standard error")


def run(args: argparse.Namespace) -> int:
    """Run the demo; raises UplinkError when the embedded broker is not installed."""
    from edge_agent.demo import show  # noqa: PLC0415 -- the whole agent and its cloud half

    return show.run(show.DemoOptions(taps=args.taps, as_json=args.json, verbose=args.verbose))


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {printable(text)}, expected a whole number from 1 to 999999999")
    return int(text)
