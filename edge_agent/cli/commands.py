"""The table of all commands and what they share. Importing it costs nothing: no command's module is imported here.

A command is one module with ``add_parser(commands)``, which declares its arguments, and ``run(args) -> int``, which
returns the exit status. It raises EdgeAgentError for what the user can do something about; main prints it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from edge_agent.config import Loaded

DEFAULT_CONFIG = Path("/etc/edge-agent/edge-agent.toml")
DEFAULT_SOCKET = Path("/run/edge-agent/control.sock")


class Command(NamedTuple):
    """Where a command lives and the line that `edge-agent --help` shows for it."""

    module: str
    help: str


COMMANDS = {
    "run": Command("edge_agent.cli.run_cmd", "run the agent; what the service does"),
    "doctor": Command("edge_agent.cli.doctor_cmd", "look at everything that can be wrong, and say what to do"),
    "status": Command("edge_agent.cli.status_cmd", "ask the running agent how it is"),
    "watch": Command("edge_agent.cli.watch_cmd", "watch the running agent live, in five lines"),
    "tap": Command("edge_agent.cli.tap_cmd", "make a test tap through the agent, follow it to the cloud"),
    "report": Command("edge_agent.cli.report_cmd", "write the last 24 hours as one page to print"),
    "now-playing": Command("edge_agent.cli.now_playing_cmd", "say which advert is on the screen, or ask"),
    "outbox": Command("edge_agent.cli.outbox_cmd", "look at the taps that wait, carry them home, send them again"),
    "identify": Command("edge_agent.cli.identify_cmd", "have the screens say which terminal this is"),
    "logs": Command("edge_agent.cli.logs_cmd", "show the agent's log as lines for people"),
    "bundle": Command("edge_agent.cli.bundle_cmd", "write one redacted archive for support"),
    "config": Command("edge_agent.cli.config_cmd", "check, show or explain the configuration"),
    "reader": Command("edge_agent.cli.reader_cmd", "find, list and try the readers of this machine"),
    "screen": Command("edge_agent.cli.screen_cmd", "list the screens, show each cue on them"),
    "enrol": Command("edge_agent.cli.enrol_cmd", "give this terminal its identity, or renew it"),
    "keys": Command("edge_agent.cli.keys_cmd", "make the signing key, show its public half"),
    "token": Command("edge_agent.cli.token_cmd", "explain a tap token in plain words"),
    "ticket": Command("edge_agent.cli.ticket_cmd", "check or redeem a ticket that a phone read from a terminal"),
    "receive": Command("edge_agent.cli.receive", "verify, store and acknowledge taps: the cloud half"),
    "demo": Command("edge_agent.cli.demo_cmd", "show the whole path on this machine, without hardware"),
}


class Commands(Protocol):
    """The part of argparse's sub-parsers that a command needs."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser:
        """Add one command."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config FILE``."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="configuration file (default: %(default)s)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object for a program")


def load_config(path: Path) -> "Loaded":
    """Load the configuration with this process's environment; raises ConfigError."""
    import os  # noqa: PLC0415 -- as below

    from edge_agent.config import load  # noqa: PLC0415 -- pydantic is half the start-up time of a command

    return load(path, os.environ)
