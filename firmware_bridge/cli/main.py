"""The command ``firmware-bridge``: drive a screen, be a screen, look at the line. For makers; needs no agent.

It picks the command and imports that one alone, so that asking for help loads no event loop and no library.
Exit status: 0 done, 1 a problem was found, 2 wrong usage.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Container, Sequence

from firmware_bridge.cli.arguments import OK
from firmware_bridge.cli.commands import COMMANDS

_INTERRUPTED, _PIPE_CLOSED = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argparse raises SystemExit(2) for wrong usage.

    A command that ends with SystemExit of its own (``--help``) does so here, too.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    chosen = next((word for word in words if not word.startswith("-")), "")
    arguments = parser_for(chosen).parse_args(words)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        # The way to end what would run for ever; for the others an interruption.
        return OK if arguments.endless else _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing left to say, not even at exit. No check has passed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status


def parser_for(chosen: str) -> argparse.ArgumentParser:
    """Return the parser that knows the arguments of ``chosen``, and only the names of all other commands.

    The command's module adds its own with ``add(commands)``, which sets ``run`` (takes the parsed arguments, returns
    the exit status) and ``endless`` (whether Ctrl-C is its regular end).
    """
    return _parser({chosen})


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser that knows the arguments of all commands: for the manual and the completion of a shell."""
    return _parser(COMMANDS)


def _parser(known: Container[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="firmware-bridge",
        description="Drive and try the tap screen.",
        epilog="`firmware-bridge COMMAND --help` tells more. Exit status: 0 done, 1 a problem, 2 wrong usage.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        if name in known:
            importlib.import_module(f"firmware_bridge.cli.{name}_cmd").add(commands)
        else:
            commands.add_parser(name, help=purpose)
    return parser
