"""The `edge-agent` command: picks the command, imports it alone, turns errors into one line and an exit status.

Exit status: 0 healthy or done, 1 problem found, 2 usage, 3 could not look, 78 configuration or key file.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Container, Sequence

from edge_agent.cli.commands import COMMANDS
from edge_agent.errors import ConfigError, EdgeAgentError, ExitCode
from edge_agent.version import VERSION

_INTERRUPTED = 130
_PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argparse raises SystemExit(2) for wrong usage."""
    words = sys.argv[1:] if argv is None else list(argv)
    chosen = next((word for word in words if not word.startswith("-")), "")
    try:
        args = parser_for(chosen).parse_args(words)
        if args.version:
            print(f"edge-agent {VERSION}")
            return ExitCode.OK
        if not args.command:
            parser_for("").print_help()
            return ExitCode.USAGE
        status = int(importlib.import_module(COMMANDS[chosen].module).run(args))
        sys.stdout.flush()
    except EdgeAgentError as error:
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # `edge-agent ... | head`: nobody reads on. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status


def parser_for(chosen: str) -> argparse.ArgumentParser:
    """Return the parser that knows the arguments of ``chosen``, and only the names of all other commands."""
    return _parser({chosen})


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser that knows the arguments of all commands: for the manual and the completion of a shell."""
    return _parser(COMMANDS)


def _parser(known: Container[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description="NFC tap agent of an elevator screen.",
        epilog="`edge-agent COMMAND --help` tells more. Exit status: 0 healthy or done, 1 problem, 2 usage, "
        "3 could not look, 78 configuration.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        if name in known:
            importlib.import_module(command.module).add_parser(commands)
        else:
            commands.add_parser(name, help=command.help)
    return parser


def _print_error(error: EdgeAgentError) -> None:
    """Wrapped for a person at a terminal; a line each for a journal, where commands are searched for and copied."""
    lines = error.problems if isinstance(error, ConfigError) else [f"edge-agent: {error.text}"]
    if not sys.stderr.isatty():
        print("\n".join([*lines, *([f"  {error.remedy}"] if error.remedy else [])]), file=sys.stderr)
        return
    from edge_agent.cli.render import Paper  # noqa: PLC0415 -- here alone, and most commands end without an error

    paper = Paper(sys.stderr)
    for line in lines:
        paper.wrapped(line)
    if error.remedy:
        paper.wrapped(error.remedy, indent="  ")
