"""``firmware-bridge simulate``: be a screen. An MCU on a pty that draws its cues in this terminal."""

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import add_command, complain
from firmware_bridge.simulator import McuSimulator
from firmware_bridge.terminal_view import Drawer

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "simulate", _simulate, endless=True)
    parser.add_argument("--link", metavar="PATH", help="put a link to the pty here (replaced if it is a link)")


def _simulate(arguments: argparse.Namespace) -> int:
    if arguments.link and Path(arguments.link).exists() and not Path(arguments.link).is_symlink():
        complain(f"{arguments.link} is there already and is no link")
        return 1
    drawer = Drawer(sys.stdout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # take the link away then, too
    try:
        with McuSimulator(path=arguments.link, on_display=drawer.draw) as simulator:
            print(f"simulated screen on {simulator.device_path}; Ctrl-C ends it", flush=True)
            threading.Event().wait()
    except OSError as error:
        # os.symlink names the pty first and the link, which is what cannot be made, second.
        complain(f"{error.filename2 or error.filename or arguments.link}: {error.strerror}")
        return 1
    return 0
