"""`edge-agent tap simulate`: a tap without a phone, flagged test, through the running agent; each step with its time.

It is a real token with a place in the chain, that nobody can redeem. The screens show it as any other tap.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.live_feed import Ask, Feed
from edge_agent.cli.render import Paper, counted
from edge_agent.cli.status_cmd import socket_of
from edge_agent.cli.status_view import Answer, text_of
from edge_agent.cli.watch_cmd import last_step_of
from edge_agent.control_client import ask
from edge_agent.errors import ControlError, ExitCode

WAIT_S = 10.0
MAX_WAIT_S = 3600.0
MAX_COUNT = 1000
PAUSE_S = 1.0
"""Between two: so many a minute the agent takes without an end."""
_POLL_S = 2.0


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tap",
        help=COMMANDS["tap"].help,
        description="Try the path of a tap without a phone: from the token to the cloud.",
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    simulate = parts.add_parser(
        "simulate",
        help="make a test tap and follow it",
        description="Make a tap that is flagged as a test through the running agent, and follow it to the cloud. "
        "Exit status: 0 it has, 1 not in time, 3 no agent.",
    )
    simulate.add_argument("--reader", metavar="NAME", help="at which reader or tag (default: the first)")
    simulate.add_argument("--count", type=int, default=1, metavar="N", help="how many, one a second (default: 1)")
    simulate.add_argument(
        "--wait",
        type=float,
        default=WAIT_S,
        metavar="SECONDS",
        help="for how long to follow each (default: %(default)g)",
    )
    simulate.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    simulate.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(simulate)
    simulate.set_defaults(usage_error=simulate.error)


def run(args: argparse.Namespace) -> int:
    """Make the taps, one after the other; raises ControlError when nobody answers."""
    if not 1 <= args.count <= MAX_COUNT:
        args.usage_error(f"--count takes 1 to {MAX_COUNT}")
    if not 0 <= args.wait <= MAX_WAIT_S:
        args.usage_error(f"--wait takes 0 to {MAX_WAIT_S:g} seconds")
    asked = partial(ask, socket_of(args.socket, args.config))
    last_step = last_step_of(asked({"op": "status"}))
    paper = Paper(sys.stdout)
    arrived = []
    for number in range(args.count):
        if number:
            time.sleep(PAUSE_S)
        begun = time.monotonic()
        tap = _Tap(asked, paper, args.reader, last_step, quiet=args.json)
        tap.follow(begun + args.wait)
        arrived.append(tap.arrived)
        if args.json:
            print(json.dumps(tap.as_json()), flush=True)
    if not args.json:
        _conclude(paper, arrived, asked)
    return ExitCode.OK if all(arrived) else ExitCode.PROBLEM


class _Tap:
    """One test; made when it is constructed. Raises ControlError when the agent takes none."""

    def __init__(self, asked: Ask, paper: Paper, reader: str | None, last_step: str, *, quiet: bool) -> None:
        self._asked = asked
        self._paper = paper
        self._last_step = last_step
        self._quiet = quiet
        request: dict[str, object] = {"op": "simulate-tap"}
        self._made = asked(request if reader is None else {**request, "reader": reader})
        self._steps: list[Answer] = []
        self.arrived = False
        if not quiet:
            name, seq = text_of(self._made.get("reader"), 24), text_of(self._made.get("seq"))
            paper.print(f"test tap at {name}, seq {seq}")

    def follow(self, until: float) -> None:
        """Print its steps as they come, until the last one or the end of the time."""
        feed = Feed(self._asked, after=self._made.get("after"), run=self._made.get("run"))
        while not self.arrived:
            left_s = max(0.0, until - time.monotonic())
            steps = feed.news(min(left_s, _POLL_S))
            if feed.restarts:
                return  # what became of it, the outbox knows
            for step in steps:
                if step.get("visit") == self._made.get("visit"):
                    self._take(step)
            if left_s <= 0:
                return

    def _take(self, step: Answer) -> None:
        self._steps.append(step)
        self.arrived |= step.get("step") == self._last_step
        at_ms, text = step.get("at_ms"), _TEXTS.get(str(step.get("step")), "")
        if self._quiet or not text or not isinstance(at_ms, int | float):
            return
        more = f" {text_of(step['cue'], 24)} on {text_of(step['screen'], 24)}" if "cue" in step else ""
        self._paper.print(f"  {at_ms:>9.1f} ms  {text}{more}")

    def as_json(self) -> dict[str, object]:
        """The tap with its steps."""
        known = {name: self._made.get(name) for name in ("reader", "chain", "seq")}
        return {**known, "arrived": self.arrived, "steps": self._steps}


_TEXTS = {
    "cue": "screen:",
    "token": "token signed and on disk",
    "sent": "the broker has it",
    "stored": "the cloud has stored it",
}


def _conclude(paper: Paper, arrived: list[bool], asked: Ask) -> None:
    paper.print()
    late = arrived.count(False)
    if not late:
        paper.wrapped(f"ARRIVED: {counted(len(arrived), 'test tap')} in the cloud", kind="good")
        paper.print()
        paper.print("Next: nothing to do.")
        return
    paper.wrapped(f"NOT YET: {counted(late, 'test tap')} of {len(arrived)} not in the cloud in time", kind="bad")
    paper.wrapped("Nothing is lost: they wait in the outbox, with all others, until the cloud has them.")
    paper.print()
    paper.wrapped(f"Next: {_why(asked)}")


def _why(asked: Ask) -> str:
    try:
        uplink = asked({"op": "status"}).get("uplink")
    except ControlError:
        return "the agent has gone meanwhile: systemctl status edge-agent"
    if isinstance(uplink, dict) and uplink.get("up") is not True:
        return f"there is no connection ({text_of(uplink.get('text') or uplink.get('reason', '?'))}): edge-agent doctor"
    return "there is a connection, and the receiver does not confirm: look at the receiver, and edge-agent outbox stats"
