"""What bash and zsh complete, written by shtab from the parsers: a shell needs no Python for it."""

import argparse
from pathlib import Path

import shtab

from shell_help.arguments import arguments, leaves

SHELLS = ("bash", "zsh")
_OF_FILES = frozenset({"FILE", "PATH", "DB", "CONF", "DEV", "PORT"})


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion of a command for a shell of SHELLS; it knows commands, parts, options, choices, files."""
    for _, below in leaves(parser.prog, parser):
        for action in arguments(below):
            takes = str(action.metavar).removesuffix("|-")
            if action.type is Path or (action.type is None and takes in _OF_FILES):
                action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab reads it there
    made = shtab.complete(parser, shell)
    return "\n".join(line.rstrip() for line in made.splitlines()) + "\n"
