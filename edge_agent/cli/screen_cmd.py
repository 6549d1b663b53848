"""`edge-agent screen`: lists the screens of the running agent; shows each cue on them, short and marked as a test."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json
from edge_agent.cli.render import Paper, counted
from edge_agent.cli.status_cmd import socket_of
from edge_agent.cli.status_view import Answer, facts, tables_in, text_of
from edge_agent.control_client import NotRunning, ask
from edge_agent.errors import ControlError, ExitCode

CUES = ("invite", "reading", "thanks", "unlock", "retry", "resting", "fault", "identify", "quiet")
"""All of firmware_bridge.cues, in the order in which people meet them."""
SECONDS, LEAST_S, LONGEST_S = 2.0, 0.2, 3.0
_TAP_LASTS_S = 12.0
_AGAIN_EVERY_S = 0.5


def add_parser(commands: Commands) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser(
        "screen", help=COMMANDS["screen"].help, description="See which screens there are, and whether they show cues."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    listed = parts.add_parser(
        "list",
        help="list the screens and how they are",
        description="List the screens of the running agent. Exit status: 0 all are up, 1 not, 3 no answer.",
    )
    test = parts.add_parser(
        "test",
        help="show each cue in turn, and who confirms it",
        description="Show each cue on every screen, short and marked as a test, and say which display confirmed it; "
        "then the screens show again what they have to. A tap has precedence. Exit status: 0 each screen confirmed "
        "each cue, 1 not, 3 no answer.",
    )
    test.add_argument("--screen", metavar="NAME", help="only what this screen answers counts")
    test.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="SECONDS",
        help=f"how long each cue is shown, {LEAST_S} to {LONGEST_S:g} (default: %(default)g)",
    )
    test.add_argument("--confirm", action="store_true", help="ask for each cue whether it is to be seen")
    for part in (listed, test):
        part.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
        part.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"configuration that names the socket (default: {DEFAULT_CONFIG})",
        )
        add_json(part)
    test.set_defaults(usage_error=test.error)


def run(args: argparse.Namespace) -> int:
    """Ask the agent; raises ControlError when nobody answers."""
    socket = socket_of(args.socket, args.config)
    try:
        status = ask(socket, {"op": "status"})
        return _list(args, status) if args.part == "list" else _test(args, socket, status)
    except NotRunning as error:
        remedy = "start it; or try a display without it: firmware-bridge play --port DEV"
        raise ControlError(error.text, remedy=remedy) from None


def _list(args: argparse.Namespace, status: Answer) -> int:
    screens = tables_in(status, "screens")
    well = bool(screens) and all(screen.get("state") == "up" for screen in screens)
    if args.json:
        print(json.dumps({"screens": screens}))
        return ExitCode.OK if well else ExitCode.PROBLEM
    paper = Paper(sys.stdout)
    up = sum(screen.get("state") == "up" for screen in screens)
    verdict = f"{up} of {counted(len(screens), 'screen')} up" if screens else "no screen is configured"
    paper.print(paper.paint(verdict, "good" if well else "bad"))
    paper.print()
    begin = "screen "
    paper.fields([(name.removeprefix(begin), text) for name, text in facts(status) if name.startswith(begin)])
    paper.print()
    paper.wrapped("Next: nothing to do." if well else "Next: see why: edge-agent doctor --only devices")
    return ExitCode.OK if well else ExitCode.PROBLEM


def _test(args: argparse.Namespace, socket: Path, status: Answer) -> int:
    names = [text_of(screen.get("name")) for screen in tables_in(status, "screens")]
    if not names:
        raise ControlError("no screen is configured", remedy="write a [[screens]] table, then restart the agent")
    if args.screen is not None and args.screen not in names:
        args.usage_error(f"there is no screen {args.screen!r}; there are {', '.join(names)}")
    chosen = [args.screen] if args.screen else names
    paper = Paper(sys.stdout)
    told: list[dict[str, object]] = []
    if not args.json:
        seconds = f"{args.seconds:g} s"
        paper.wrapped(f"{text_of(status.get('terminal', 'agent'))}: each cue for {seconds}, marked as a test")
        paper.print()
    try:
        for cue in CUES:
            answer = _shown(socket, cue, args.seconds)
            began = time.monotonic()
            screens = [screen for screen in tables_in(answer, "screens") if screen.get("name") in chosen]
            one: dict[str, object] = {"cue": cue, "shown": answer.get("shown") is True, "screens": screens}
            if not args.json:
                _line(paper, cue, screens, shown=one["shown"] is True)
            if args.confirm:
                one["seen"] = _asked(f"  {cue}: is it to be seen? [y/n] ")
            elif one["shown"]:
                time.sleep(max(0.0, args.seconds - (time.monotonic() - began)))
            told.append(one)
    finally:
        ask(socket, {"op": "screen-test", "cue": None})
    wrong = [str(one["cue"]) for one in told if not _is_well(one)]
    if args.json:
        print(json.dumps({"ok": not wrong, "cues": told}))
    else:
        _verdict(paper, wrong, len(told), chosen)
    return ExitCode.PROBLEM if wrong else ExitCode.OK


def _shown(socket: Path, cue: str, seconds: float) -> Answer:
    """Show one cue; while a tap is on the screens it waits for its end."""
    until = time.monotonic() + _TAP_LASTS_S
    while True:
        answer = ask(socket, {"op": "screen-test", "cue": cue, "seconds": seconds})
        if answer.get("shown") is True or time.monotonic() >= until:
            return answer
        time.sleep(_AGAIN_EVERY_S)


def _line(paper: Paper, cue: str, screens: Iterable[Answer], *, shown: bool) -> None:
    if not shown:
        paper.wrapped(
            f"{cue:<9} not shown: somebody taps all the time, or the screens identify themselves", "  ", "warn"
        )
        return
    words = [f"{text_of(screen.get('name'))} {_said(screen)}" for screen in screens]
    good = all(_answered(screen) for screen in screens)
    paper.wrapped(f"{cue:<9} {', '.join(words)}", "  ", "good" if good else "bad")


def _said(screen: Answer) -> str:
    if screen.get("state") != "up":
        return f"is {text_of(screen.get('state'))}: {text_of(screen.get('detail'))}"
    if screen.get("acknowledges") is not True:
        return "was told, and confirms nothing" if screen.get("sent") is True else "is open nowhere"
    if screen.get("confirmed") is True:
        return f"confirmed in {text_of(screen.get('ms'))} ms"
    return "refused it" if screen.get("refused") is True else "does not answer"


def _answered(screen: Answer) -> bool:
    if screen.get("state") != "up":
        return False
    return screen.get("confirmed" if screen.get("acknowledges") is True else "sent") is True


def _is_well(one: dict[str, object]) -> bool:
    return one["shown"] is True and one.get("seen") is not False and all(map(_answered, tables_in(one, "screens")))


def _asked(question: str) -> bool:
    """Ask until it is y or n; the end of the input is a no."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line or word in ("y", "yes", "n", "no"):
            return word.startswith("y")


def _verdict(paper: Paper, wrong: Sequence[str], count: int, chosen: Sequence[str]) -> None:
    paper.print()
    names = " and ".join(chosen)
    if not wrong:
        paper.wrapped(f"{names}: all {count} cues went through", kind="good")
        paper.wrapped("Next: nothing to do.")
        return
    paper.wrapped(
        f"{names}: {counted(len(wrong), 'cue')} of {count} did not go through: {', '.join(wrong)}", kind="bad"
    )
    paper.wrapped("Next: see why: edge-agent doctor --only devices")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not LEAST_S <= value <= LONGEST_S:  # NaN is not
        raise argparse.ArgumentTypeError(f"a number of seconds, {LEAST_S} to {LONGEST_S:g}")
    return value
