"""`edge-agent now-playing`: which advert is on the screen, and the player's word of it, over the control socket.

For players that are shell scripts, and for their developers. What makes no sense is refused before the agent is asked.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.render import Paper, ago
from edge_agent.cli.status_cmd import socket_of
from edge_agent.control_client import ask
from edge_agent.errors import ExitCode, PlayerError
from edge_agent.sanitize import printable
from edge_agent.showing.base import LONGEST_S, Source
from edge_agent.showing.ops import OP
from edge_agent.showing.request import told_of

_SAID_BY: dict[str, str] = {
    Source.SOCKET: "told over the control socket",
    Source.HTTP: "told by the player over HTTP",
    Source.FILE: "told by the player's file",
    Source.SCHEDULE: "by the schedule of [[campaigns]]",
    Source.TERMINAL: "by campaign of [terminal]",
}


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "now-playing",
        help=COMMANDS["now-playing"].help,
        description="Without arguments: which advert is on the screen, who said so, for how long. With CAMPAIGN: say "
        "that it is showing now, as an ad player does. Exit status: 0 done, 2 makes no sense, 3 no answer.",
    )
    parser.add_argument("campaign", nargs="?", metavar="CAMPAIGN", help="campaign on the screen, 1-16 bytes")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--for", dest="life_s", type=float, metavar="SECONDS", help="how long it will be there")
    until.add_argument("--until", type=float, metavar="UNIX", help="when it ends, unix time in seconds")
    until.add_argument("--clear", action="store_true", help="take the word back: the schedule holds again")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Tell or ask, and print what is showing then; raises ControlError when nobody answers."""
    answer = ask(socket_of(args.socket, args.config), {"op": OP, **_word(args)})
    if args.json:
        print(json.dumps(answer))
    else:
        Paper(sys.stdout).print(_line(answer))
    return ExitCode.OK


def _word(args: argparse.Namespace) -> dict[str, object]:
    """What the player says; nothing where it asks."""
    if args.clear:
        if args.campaign is not None:
            args.usage_error("--clear takes no CAMPAIGN")
        return {"campaign": None}
    if args.life_s is not None and not 0 < args.life_s <= LONGEST_S:
        args.usage_error(f"--for takes more than 0 and at most {LONGEST_S:.0f} seconds, a day")
    until = args.until if args.life_s is None else time.time() + args.life_s
    if args.campaign is None:
        if until is not None:
            args.usage_error("say which CAMPAIGN is showing")
        return {}
    if until is None:
        args.usage_error("say for how long: --for SECONDS or --until UNIX")
    word = {"campaign": args.campaign, "until": until}
    try:
        told_of(word, now=time.time(), source=Source.SOCKET)
    except PlayerError as error:
        args.usage_error(str(error))
    return word


def _line(answer: dict[str, object]) -> str:
    campaign, source, until = answer.get("campaign"), answer.get("source"), answer.get("until")
    if campaign is None:
        return "no campaign: nobody told one, and the configuration names none for now"
    said_by = _SAID_BY.get(str(source), printable(str(source)))
    left = f", for {ago(max(0.0, until - time.time()))} more" if isinstance(until, int | float) else ""
    return f"{printable(str(campaign))}: {said_by}{left}"
