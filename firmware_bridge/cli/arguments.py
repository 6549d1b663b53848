"""What the commands share on their command line: cues, numbers, and how to say that something is wrong."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware_bridge.cli.commands import COMMANDS
from firmware_bridge.cues import CueName

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name for it

OK, PROBLEM = 0, 1


def add_command(
    commands: "Commands", name: str, run: Callable[[argparse.Namespace], int], *, endless: bool = False
) -> argparse.ArgumentParser:
    """Add one command of the table; ``endless`` where Ctrl-C is its regular end (status 0)."""
    purpose = COMMANDS[name]
    parser = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    parser.set_defaults(run=run, endless=endless)
    return parser


def number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return the type of a whole number from ``lowest`` to ``highest``, for ``add_argument``."""

    def parse(word: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", word) or not lowest <= int(word) <= highest:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {lowest} to {highest}")
        return int(word)

    return parse


def cue_name(word: str) -> CueName:
    """Return the cue of this word, for ``add_argument``."""
    try:
        return CueName(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no cue; the cues are {', '.join(CueName)}") from None


def complain(text: str) -> None:
    """Say in one line on stderr what is wrong."""
    print(f"firmware-bridge: {text}", file=sys.stderr)
