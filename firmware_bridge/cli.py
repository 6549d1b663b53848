"""The command ``firmware-bridge``: drive a screen, be a screen, show the page. For makers; needs no agent."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from firmware_bridge.cues import HOLD_S, LASTING, CueName

if TYPE_CHECKING:
    from firmware_bridge.links.base import LinkEvent
    from firmware_bridge.links.web import WebLink

OK, PROBLEM, USAGE = 0, 1, 2
INTERRUPTED = 130
_ANSWER_WITHIN_S = 5.0
_DEFAULT_BAUD = 115200
_PAGE_STEP_S = 4.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 no answer or failed, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except KeyboardInterrupt:
        # The way to end what would run for ever; for the others an interruption.
        return OK if arguments.endless else INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="firmware-bridge", description="Drive and try the tap screen.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    cues = ", ".join(CueName)

    play = commands.add_parser("play", help="show one cue on the screen at a serial port and say what it answered")
    play.add_argument("cue", type=_cue, metavar="CUE", help=f"one of {cues}")
    play.add_argument("--port", required=True, metavar="DEV", help="serial port of the screen's MCU, or a pty")
    play.add_argument(
        "--baud", type=_number(1, 10_000_000), default=_DEFAULT_BAUD, help="line speed (default %(default)s)"
    )
    play.add_argument("--text", default="", help="text of the cue, 64 bytes reach an MCU")
    play.add_argument("--amount", help='amount, ready to show: "¥2.00"')
    play.add_argument("--terminal", default="bring-up", metavar="ID", help="terminal id told in HELLO")
    play.set_defaults(run=lambda arguments: asyncio.run(_play(arguments)), endless=False)

    simulate = commands.add_parser("simulate", help="be a screen: an MCU on a pty that draws its cues here")
    simulate.add_argument("--link", metavar="PATH", help="put a link to the pty here (replaced if it is a link)")
    simulate.set_defaults(run=_simulate, endless=True)

    page = commands.add_parser("page", help="serve the web page and go through its cues, for designers")
    page.add_argument("--port", type=_number(0, 65535), default=0, help="port on 127.0.0.1 (default: a free one)")
    page.add_argument("--cue", type=_cue, metavar="CUE", help=f"stay with one of {cues}")
    page.set_defaults(run=lambda arguments: asyncio.run(_page(arguments)), endless=True)
    return parser


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(word: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", word) or not lowest <= int(word) <= highest:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {lowest} to {highest}")
        return int(word)

    return parse


def _cue(word: str) -> CueName:
    try:
        return CueName(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no cue; the cues are {', '.join(CueName)}") from None


async def _play(arguments: argparse.Namespace) -> int:
    from firmware_bridge.cues import Cue  # noqa: PLC0415 - loaded by the command that needs it
    from firmware_bridge.links.base import LinkError  # noqa: PLC0415 - as above
    from firmware_bridge.links.serial import SerialLink  # noqa: PLC0415 - as above: pyserial

    listener = _Listener()
    link = SerialLink("play", arguments.port, terminal_id=arguments.terminal, baud=arguments.baud)
    hold = HOLD_S.get(arguments.cue, 10.0) if arguments.cue not in LASTING else 10.0
    link.show(Cue(arguments.cue, arguments.text, arguments.amount, ttl_ms=int(hold * 1000)))
    serving = asyncio.create_task(link.serve(listener))
    answered = asyncio.create_task(listener.done.wait())
    try:
        await asyncio.wait({serving, answered}, timeout=_ANSWER_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    except LinkError as error:
        print(f"firmware-bridge: {error.text}", file=sys.stderr)
        return PROBLEM
    finally:
        for task in (serving, answered):
            task.cancel()
        await asyncio.gather(serving, answered, return_exceptions=True)
    if not listener.done.is_set():
        print(f"firmware-bridge: {arguments.port}: the MCU never confirmed the cue", file=sys.stderr)
    return OK if listener.confirmed else PROBLEM


class _Listener:
    """Says in plain words what a link reports (LinkObserver)."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.confirmed = False

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 - one link, its name says nothing
        print(f"MCU answers: {firmware}")

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:  # noqa: ARG002 - as above
        print(f"sent: {cue}")

    def link_event(self, link: str, event: "LinkEvent") -> None:  # noqa: ARG002 - as above
        from firmware_bridge.protocol import Refused, Shown  # noqa: PLC0415 - loaded by the command that needs it

        match event:
            case Shown(cue=cue, after_s=after_s):
                print(f"confirmed: {cue} after {after_s * 1000:.1f} ms")
                self.confirmed = True
                self.done.set()
            case Refused(message=message, reason=reason):
                print(f"refused: {message}: {reason.name.lower().replace('_', ' ')}")
                self.done.set()
            case _:
                print(f"told: {event.message}")


def _simulate(arguments: argparse.Namespace) -> int:
    import signal  # noqa: PLC0415 - loaded by the command that needs it
    import threading  # noqa: PLC0415 - as above
    from pathlib import Path  # noqa: PLC0415 - as above

    from firmware_bridge.simulator import McuSimulator  # noqa: PLC0415 - as above
    from firmware_bridge.terminal_view import Drawer  # noqa: PLC0415 - as above

    if arguments.link and Path(arguments.link).exists() and not Path(arguments.link).is_symlink():
        print(f"firmware-bridge: {arguments.link} is there already and is no link", file=sys.stderr)
        return PROBLEM
    drawer = Drawer(sys.stdout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # take the link away then, too
    try:
        with McuSimulator(path=arguments.link, on_display=drawer.draw) as simulator:
            print(f"simulated screen on {simulator.device_path}; Ctrl-C ends it", flush=True)
            threading.Event().wait()
    except OSError as error:
        # os.symlink names the pty first and the link, which is what cannot be made, second.
        name = error.filename2 or error.filename or arguments.link
        print(f"firmware-bridge: {name}: {error.strerror}", file=sys.stderr)
        return PROBLEM
    return OK


async def _page(arguments: argparse.Namespace) -> int:
    import itertools  # noqa: PLC0415 - loaded by the command that needs it

    from firmware_bridge.bridge import Bridge  # noqa: PLC0415 - as above
    from firmware_bridge.links.base import LinkError  # noqa: PLC0415 - as above
    from firmware_bridge.links.web import WebLink  # noqa: PLC0415 - as above: h11

    async def cycle() -> None:
        for cue in itertools.cycle([arguments.cue] if arguments.cue else list(CueName)):
            for lasting in LASTING:
                bridge.set_lasting(lasting, cue is lasting, text="reader lost" if cue is CueName.FAULT else "")
            if cue not in LASTING:
                bridge.show(cue, amount="¥2.00" if cue is CueName.THANKS else None)
            await asyncio.sleep(HOLD_S.get(cue, _PAGE_STEP_S))

    link = WebLink("page", arguments.port, terminal_id="designer")
    bridge = Bridge([link], terminal_id="designer")
    cycling = asyncio.create_task(cycle())
    try:
        await link.serve(_PageAddress(link))
    except LinkError as error:
        print(f"firmware-bridge: {error.text}", file=sys.stderr)
        return PROBLEM
    finally:
        cycling.cancel()
        await asyncio.gather(cycling, return_exceptions=True)
    return OK


class _PageAddress:
    """Says where the page is once it is there (LinkObserver)."""

    def __init__(self, link: "WebLink") -> None:
        self._link = link

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 - one link, a page has no firmware
        url = self._link.url
        print(
            f"over an advert: {url}?lang=zh-CN\nfull screen:    {url}?lang=en&bg=%230a1022\nCtrl-C ends it", flush=True
        )

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """Say nothing: the page shows it."""

    def link_event(self, link: str, event: "LinkEvent") -> None:
        """Say nothing: a page never speaks."""
