"""``firmware-bridge record``: stand between host and MCU and write down each frame of both, in readable form."""

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain
from firmware_bridge.cli.target import add_port, complain_of, port_remedy
from firmware_bridge.links.base import LinkError
from firmware_bridge.trace import HEADER, Record, comment, line_of

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands

_STDOUT = "-"


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "record", _record, endless=True)
    add_port(parser)
    parser.add_argument(
        "--link", metavar="PATH", help="put a link to the host's pty here, in the place of an older one"
    )
    parser.add_argument("file", metavar="FILE", help="where to write the trace, a new file; - for this terminal")


def _record(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does: with the last bytes written
    try:
        return _stand_between(arguments)
    except LinkError as error:
        complain_of(error, port_remedy(error, arguments.port))
    except BrokenPipeError:
        raise  # whoever read the trace has gone
    except OSError as error:
        # os.symlink names the pty first and the link, which is what cannot be made, second.
        complain(f"{error.filename2 or error.filename or arguments.file}: {error.strerror}")
    return PROBLEM


def _stand_between(arguments: argparse.Namespace) -> int:
    from firmware_bridge.links.port import open_port  # noqa: PLC0415 - pyserial: not for --help
    from firmware_bridge.recorder import HostSide, Recorder  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        port = stack.enter_context(open_port(arguments.port, arguments.baud))
        host = stack.enter_context(HostSide(arguments.link))
        written = _Trace(_opened(arguments.file, stack))
        written.line(HEADER)
        now = time.strftime("%Y-%m-%d %H:%M:%S%z")
        written.line(comment(f"recorded {now} between {host.path} and {arguments.port}, {arguments.baud} baud"))
        print(f"the host's port is {host.path}; Ctrl-C ends the recording", file=sys.stderr, flush=True)
        recorder = Recorder(host, port, written.record)
        try:
            while True:
                recorder.run_once()
        except KeyboardInterrupt:
            return OK
        finally:
            recorder.flush()
            if recorder.lost:
                written.line(comment(f"{recorder.lost} bytes of the MCU were taken by no host"))
            print(f"{written.frames} frames, {written.other} pieces that are none", file=sys.stderr)


def _opened(name: str, stack: ExitStack) -> TextIO:
    """Return the open file, which must be new: a trace is never written over."""
    if name == _STDOUT:
        return sys.stdout
    return stack.enter_context(Path(name).open("x", encoding="utf-8", newline="\n"))


class _Trace:
    """Lines as they come, each one at once: a recording may end with the power."""

    def __init__(self, out: TextIO) -> None:
        self.frames = self.other = 0
        self._out = out

    def line(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)

    def record(self, record: Record) -> None:
        if record.frame:
            self.frames += 1
        elif record.data != b"\x00":
            self.other += 1
        self.line(line_of(record))
