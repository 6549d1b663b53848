"""``firmware-bridge replay``: play one side of a recorded trace and say where the other side differs from it.

Exit status: 0 as recorded, 1 a difference, or the line or the trace cannot be used, 2 wrong usage.
"""

import argparse
import select
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain
from firmware_bridge.cli.target import add_port, complain_of, port_remedy
from firmware_bridge.links.base import LinkError
from firmware_bridge.paper import Paper
from firmware_bridge.protocol import Received, Tick
from firmware_bridge.replay import Difference, HostReplay, Note, Opened, Play, ReplayEffect, ReplayEvent, steps_of
from firmware_bridge.replay_mcu import McuReplay
from firmware_bridge.trace import MAX_LINE, TraceError, read_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_bridge.cli.arguments import Commands

_USAGE = 2
_FASTEST = 1000.0


class _Line(Protocol):
    def fileno(self) -> int: ...

    def read(self) -> bytes: ...

    def write(self, data: bytes) -> int: ...


class _Run(Protocol):
    done: bool
    answers: int

    @property
    def due(self) -> float | None: ...

    def handle(self, event: ReplayEvent, now: float) -> list[ReplayEffect]: ...


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "replay", _replay)
    parser.add_argument("file", metavar="FILE", help="a trace of `firmware-bridge record`")
    parser.add_argument("--as", dest="side", choices=("host", "mcu"), default="host", help="whose frames to play")
    add_port(parser, required=False)
    parser.add_argument("--link", metavar="PATH", help="as mcu: be a pty with a link here instead of using --port")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="2 is twice as fast; 0: as fast as answers come"
    )


def _speed(word: str) -> float:
    try:
        speed = float(word)
    except ValueError:
        speed = -1.0
    if not (speed == 0 or 0.01 <= speed <= _FASTEST):
        raise argparse.ArgumentTypeError(f"{word!r} is no speed: 0, or 0.01 to {_FASTEST:.0f}")
    return speed


def _replay(arguments: argparse.Namespace) -> int:
    if (arguments.port is None) == (arguments.link is None) or (arguments.link and arguments.side == "host"):
        complain("replay needs --port DEV, or --as mcu with --port DEV or --link PATH")
        return _USAGE
    try:
        with Path(arguments.file).open(encoding="utf-8", newline="\n") as file:
            records = read_trace(_lines(file))
    except (TraceError, UnicodeDecodeError) as error:
        complain(f"{arguments.file}: {error}")
        return PROBLEM
    except OSError as error:
        complain(f"{arguments.file}: {error.strerror}")
        return PROBLEM
    if not any(step.record.frame for step in steps_of(records)):
        complain(f"{arguments.file}: the host says nothing in this trace, there is nothing to compare")
        return PROBLEM
    run = HostReplay(records, arguments.speed) if arguments.side == "host" else McuReplay(records, arguments.speed)
    try:
        with ExitStack() as stack:
            return _play(run, _opened(arguments, stack))
    except LinkError as error:
        complain_of(error, port_remedy(error, arguments.port or arguments.link))
    except OSError as error:
        complain(f"{error.filename2 or error.filename or arguments.link}: {error.strerror}")
    return PROBLEM


def _lines(file: TextIO) -> "Iterator[str]":
    """Give the lines one by one, none longer than a trace may have: a file without line ends must not fill memory."""
    while text := file.readline(MAX_LINE + 2):
        yield text


def _opened(arguments: argparse.Namespace, stack: ExitStack) -> _Line:
    if arguments.link:
        from firmware_bridge.recorder import HostSide  # noqa: PLC0415 - pyserial: not for --help

        host = stack.enter_context(HostSide(arguments.link))
        print(f"the host's port is {host.path}; waiting for its HELLO", file=sys.stderr, flush=True)
        return host
    from firmware_bridge.links.port import open_port  # noqa: PLC0415 - as above

    return stack.enter_context(open_port(arguments.port, arguments.baud))


def _play(run: _Run, line: _Line) -> int:
    paper = Paper(sys.stdout)
    differences = 0
    unsent = b""
    event: ReplayEvent = Opened()
    while True:
        for effect in run.handle(event, time.monotonic()):
            match effect:
                case Play(data=data):
                    unsent += data
                case Difference(at_us=at_us, trace=trace, now=now):
                    differences += 1
                    paper.print(f"{at_us / 1_000_000:12.6f}  trace: {trace}\n{'':12}  now:   {now}")
                case Note(text=text):
                    paper.print(f"{'':12}  {text}")
        if unsent:
            unsent = unsent[line.write(unsent) :]
        if run.done:
            break
        wait = None if run.due is None else max(0.0, run.due - time.monotonic())
        readable, _, _ = select.select([line], [line] if unsent else [], [], wait)
        data = line.read() if readable else b""
        event = Received(data) if data else Tick()
    paper.print(f"{run.answers} as recorded, {differences} {'difference' if differences == 1 else 'differences'}")
    return PROBLEM if differences else OK
