"""What argparse knows of a command, as values: its parts, its options, how each is written. Pure."""

import argparse
from collections.abc import Iterator
from typing import Any

# argparse has no public names for what it was told; these have been the same since Python 3.2.
Subparsers = argparse._SubParsersAction  # noqa: SLF001 -- as above


def parts_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands or parts below a parser, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in _actions(parser):
        if isinstance(action, Subparsers):
            found.update(action.choices)
    return found


def leaves(words: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every parser below with the words that lead to it, and whatever has parts before its parts."""
    for name, below in parts_of(parser).items():
        yield f"{words} {name}", below
        yield from leaves(f"{words} {name}", below)


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what a parser takes, options and others, without --help and without its parts."""
    return [
        action
        for action in _actions(parser)
        if not isinstance(action, Subparsers) and "--help" not in action.option_strings
    ]


def helped(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the help of an argument with its default put in."""
    known: dict[str, Any] = {**vars(action), "prog": parser.prog}
    return (action.help or "") % known


def placeholder(action: argparse.Action) -> str:
    """Return what stands for the value of an argument; empty for a switch."""
    if action.nargs == 0:
        return ""
    name = action.metavar
    if isinstance(name, tuple):
        name = " ".join(name)
    if name is None:
        name = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    if action.nargs in {"*", "+"}:
        name = f"{name} ..."
    return f"[{name}]" if action.nargs in {"?", "*"} else name


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 -- as above
