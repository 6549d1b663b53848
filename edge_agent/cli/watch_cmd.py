"""`edge-agent watch`: what the running agent does, live; five lines that stay in place, or one line for each tap.

Asks the control socket and changes nothing; goes on through restarts of the agent, until Ctrl-C.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.live_feed import Ask, Feed, Visits
from edge_agent.cli.live_screen import HIDE, LEAVE, LiveScreen, Segment
from edge_agent.cli.render import MAX_WIDTH, Paper
from edge_agent.cli.status_cmd import socket_of
from edge_agent.cli.status_view import Answer
from edge_agent.cli.watch_view import HEIGHT, lines, one_tap, state_of, waiting
from edge_agent.control_client import NotAllowed, ask
from edge_agent.errors import ControlError, ExitCode

STATUS_EVERY_S = 1.0
WAIT_S = 0.5
"""The ages on the screen go on so often, even if nothing happens."""
AT_MOST_EVERY_S = 0.25
RETRY_S = 0.5


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "watch",
        help=COMMANDS["watch"].help,
        description="Watch the running agent: five lines that stay in place, until Ctrl-C. Where the output is no "
        "terminal, a line for each tap.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="print the five lines once, and end")
    how.add_argument("--lines", action="store_true", help="a line for each tap, on a terminal, too")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C; raises ControlError where nobody may ask, and with ``--once`` where nobody answers."""
    asked = partial(ask, socket_of(args.socket, args.config))
    paper = Paper(sys.stdout)
    if args.once:
        return _once(asked, paper, as_json=args.json)
    signal.signal(signal.SIGTERM, _interrupt)
    if args.json or args.lines or not paper.on_terminal:
        _follow(asked, paper, as_json=args.json)
    else:
        _in_place(asked, paper)
    return ExitCode.OK


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _once(asked: Ask, paper: Paper, *, as_json: bool) -> int:
    now = time.monotonic()
    visits = Visits()
    visits.take(Feed(asked, after=0).news(0), now)
    status = asked({"op": "status"})
    if as_json:
        print(json.dumps({"event": "status", **status}))
    else:
        for line in lines(status, visits.newest(), now):
            paper.print("".join(paper.paint(text, kind) if kind else text for text, kind in _cut(line, paper.width)))
    return ExitCode.OK if state_of(status) == "ok" else ExitCode.PROBLEM


def _cut(line: list[Segment], width: int) -> list[Segment]:
    out: list[Segment] = []
    for text, kind in line:
        out.append((text[:width], kind))
        width -= len(out[-1][0])
    return [segment for segment in out if segment[0]]


def _in_place(asked: Ask, paper: Paper) -> None:
    screen = LiveScreen(HEIGHT, colour=paper.colour)
    feed, visits = Feed(asked, after=0), Visits()
    status: Answer = {}
    due = 0.0
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z would leave a shell without a cursor
    try:
        write(HIDE)
        while True:
            begun = time.monotonic()
            try:
                visits.take(feed.news(WAIT_S), time.monotonic(), feed.restarts)
                if time.monotonic() >= due:
                    status = asked({"op": "status"})
                    due = time.monotonic() + STATUS_EVERY_S
                view = lines(status, visits.newest(), time.monotonic())
            except NotAllowed:
                raise
            except ControlError as error:
                view, due = waiting(error.text), 0.0
                time.sleep(RETRY_S)
            columns = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns - 1)
            write(screen.frame([[(paper.plain(text), kind) for text, kind in line] for line in view], columns))
            time.sleep(max(0.0, AT_MOST_EVERY_S - (time.monotonic() - begun)))
    finally:
        write(LEAVE)


def write(text: str) -> None:
    """To the terminal, at once."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _follow(asked: Ask, paper: Paper, *, as_json: bool) -> None:
    """One line for each tap, or one object for each step, from now on."""
    feed, visits = Feed(asked), Visits()
    was_up: bool | None = None
    last_step = "stored"
    while True:
        try:
            steps = feed.news(WAIT_S)
            if was_up is not True:
                last_step = last_step_of(asked({"op": "status"}))
                _say(paper, as_json=as_json, up=True, why="")
                was_up = True
        except NotAllowed:
            raise
        except ControlError as error:
            if was_up is not False:
                _say(paper, as_json=as_json, up=False, why=error.text)
                was_up = False
            time.sleep(RETRY_S)
            continue
        now = time.monotonic()
        visits.take(steps, now, feed.restarts)
        if as_json:
            for step in steps:
                print(json.dumps({"event": "step", **step}))
        else:
            for visit in visits.settled(now, last_step):
                paper.print("".join(paper.paint(text, kind) if kind else text for text, kind in one_tap(visit, now)))
        sys.stdout.flush()


def last_step_of(status: Answer) -> str:
    """The last thing that happens to a tap: with ``confirm = "broker"`` nobody says that it is stored."""
    uplink = status.get("uplink")
    return "sent" if isinstance(uplink, dict) and uplink.get("confirm") == "broker" else "stored"


def _say(paper: Paper, *, as_json: bool, up: bool, why: str) -> None:
    if as_json:
        print(json.dumps({"event": "agent", "up": up, "why": why}))
    elif up:
        paper.print("watching, Ctrl-C ends it")
    else:
        paper.print(f"waiting for the agent … {why}")
    sys.stdout.flush()
