"""``firmware-bridge conformance``: what a maker runs against a firmware. The place for it; the run is not built yet."""

import argparse
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import add_command, complain

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    add_command(commands, "conformance", _conformance)


def _conformance(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes its arguments
    complain("conformance is not built yet")
    return 1
