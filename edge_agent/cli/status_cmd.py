"""`edge-agent status`: verdict first, then the parts, the next step last. Asks the running agent, changes nothing.

The answer is edge_agent.reports'; its ``health`` (Health.as_dict) decides the verdict and the exit status.
"""

import argparse
import json
import os
import sys
import textwrap
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, DEFAULT_SOCKET, Commands, add_json, load_config
from edge_agent.cli.render import Paper, ago
from edge_agent.cli.socket_path import plain_socket
from edge_agent.cli.status_view import Answer, facts, tables_in, text_of
from edge_agent.control_client import ask
from edge_agent.errors import ConfigError, ExitCode

_VERDICTS = {
    "ok": ("good", "OK, takes taps"),
    "starting": ("warn", "STARTING"),
    "degraded": ("warn", "DEGRADED, takes taps, but not all is well"),
    "failed": ("bad", "FAILED"),
    "stopped": ("bad", "STOPPED"),
}
_KINDS = {"ok": "good", "starting": "warn", "degraded": "warn"}


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "status",
        help=COMMANDS["status"].help,
        description="Ask the running agent how it is. Exit status: 0 healthy, 1 problem, 3 no answer.",
    )
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration that names the socket (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and print; raises ControlError when nobody answers."""
    answer = ask(socket_of(args.socket, args.config), {"op": "status"})
    health = answer.get("health")
    state = str(health.get("state")) if isinstance(health, dict) else "unknown"
    if args.json:
        print(json.dumps(answer))
    else:
        _print(Paper(sys.stdout), answer, state)
    return ExitCode.OK if state == "ok" else ExitCode.PROBLEM


def socket_of(socket: Path | None, config: Path | None) -> Path:
    """Return the control socket that ``--socket`` names, or the configuration of ``--config``, or the default one."""
    if socket is not None:
        return socket
    # Only a configuration that is not plain is read whole: that takes most of the time of a command.
    if (plain := plain_socket(config or DEFAULT_CONFIG, os.environ)) is not None:
        return plain
    if config is not None:
        return load_config(config).settings.control.socket
    try:
        return load_config(DEFAULT_CONFIG).settings.control.socket
    except ConfigError:
        # The agent may well be running although the file was broken later: look where it most likely listens.
        return DEFAULT_SOCKET


def _print(paper: Paper, answer: Answer, state: str) -> None:
    kind, verdict = _VERDICTS.get(state, ("bad", "UNKNOWN"))
    paper.print(paper.paint(f"{text_of(answer.get('terminal', 'agent'))}: {verdict}", kind))
    paper.print()
    health = answer.get("health")
    parts = tables_in(health, "components") if isinstance(health, dict) else []
    width = min(max((len(text_of(part.get("name"))) for part in parts), default=0) + 2, 26)
    for part in parts:
        said = text_of(part.get("state"))
        word = paper.paint(f"{said:<9}", _KINDS.get(said, "bad"))
        hang = " " * (2 + width + 10)
        about = textwrap.wrap(_about(part), max(paper.width - len(hang), 20)) or [""]
        paper.print(f"  {text_of(part.get('name')):<{width}}{word} {about[0]}".rstrip())
        for line in about[1:]:
            paper.print(hang + line)
    paper.print()
    paper.fields(facts(answer))
    paper.print()
    paper.wrapped(f"Next: {_next_step(answer, state, parts)}")


def _about(part: Answer) -> str:
    since = part.get("since_s")
    texts = [f"for {ago(since)}"] if isinstance(since, int | float) else []
    if part.get("restarts"):
        texts.append(f"restarted {text_of(part['restarts'])} times")
    if part.get("detail"):
        texts.append(text_of(part["detail"]))
    return ", ".join(texts)


def _next_step(answer: Answer, state: str, parts: list[Answer]) -> str:
    uplink = answer.get("uplink")
    if state == "ok":
        return "nothing to do."
    if isinstance(uplink, dict) and uplink.get("identity"):
        return "find the other terminal with this one's id or key, and give it its own."
    wrong = [text_of(part.get("name")) for part in parts if part.get("state") in {"failed", "degraded"}]
    if not wrong:
        return "ask again in a few seconds."
    hidden = {text_of(tag.get("name")) for tag in tables_in(answer, "tags") if tag.get("state") == "hidden"}
    if "clock" in wrong and set(wrong) - hidden == {"clock"}:  # a tag shows no ticket while the clock is unset
        return "see why the clock is not synchronised: timedatectl"
    if wrong == ["outbox"]:
        return "look into the outbox: edge-agent outbox stats"
    return f"look at {', '.join(wrong)}: edge-agent logs -n 50"
