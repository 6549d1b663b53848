"""``firmware-bridge play``: show a cue on a real screen and say what its MCU answered, and how quickly."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import DEFAULT_BAUD, add_command, complain, cue_name, number
from firmware_bridge.cues import HOLD_S, LASTING, Cue, CueName
from firmware_bridge.links.base import LinkError, LinkEvent
from firmware_bridge.protocol import Refused, Shown

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands

_ANSWER_WITHIN_S = 5.0


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "play", lambda arguments: asyncio.run(_play(arguments)))
    parser.add_argument("cue", type=cue_name, metavar="CUE", help=f"one of {', '.join(CueName)}")
    parser.add_argument("--port", required=True, metavar="DEV", help="serial port of the screen's MCU, or a pty")
    parser.add_argument(
        "--baud", type=number(1, 10_000_000), default=DEFAULT_BAUD, help="line speed (default %(default)s)"
    )
    parser.add_argument("--text", default="", help="text of the cue, 64 bytes reach an MCU")
    parser.add_argument("--amount", help='amount, ready to show: "¥2.00"')
    parser.add_argument("--terminal", default="bring-up", metavar="ID", help="terminal id told in HELLO")


async def _play(arguments: argparse.Namespace) -> int:
    from firmware_bridge.links.serial import SerialLink  # noqa: PLC0415 - pyserial: not for --help

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
        complain(error.text)
        return 1
    finally:
        for task in (serving, answered):
            task.cancel()
        await asyncio.gather(serving, answered, return_exceptions=True)
    if not listener.done.is_set():
        complain(f"{arguments.port}: the MCU never confirmed the cue")
    return 0 if listener.confirmed else 1


class _Listener:
    """Says in plain words what a link reports (LinkObserver)."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.confirmed = False

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 - one link, its name says nothing
        print(f"MCU answers: {firmware}")

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:  # noqa: ARG002 - as above
        print(f"sent: {cue}")

    def link_event(self, link: str, event: LinkEvent) -> None:  # noqa: ARG002 - as above
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
