"""``firmware-bridge play``: show one cue, or all of them, on a real screen and say what its MCU answered."""

import argparse
import asyncio
import statistics
import sys
import time
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain, cue_name, number
from firmware_bridge.cli.target import Conversation, add_lang, add_target, complain_of, remedy_for, talking
from firmware_bridge.cues import BASE_TTL_S, HOLD_S, LASTING, MAX_LEVEL, MAX_TTL_MS, Cue, CueName, Lang, Words
from firmware_bridge.links.base import LinkError
from firmware_bridge.messages import Capability
from firmware_bridge.paper import Paper
from firmware_bridge.protocol import Refused, Shown

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands

# The protocol repeats a cue for 0.2 s and again whenever the MCU is heard, at least each second.
_CONFIRMED_WITHIN_S = 3.0
_DEFAULT_EACH_S = 2
# What the screens of the product say; the display's own words stand where there is none.
_SAMPLES = {
    CueName.THANKS: (Words("已领取优惠券", "a coupon for you"), "¥2.00"),
    CueName.FAULT: (Words("reader lost", "reader lost"), None),
    CueName.RESTING: (Words("系统维护中", "under maintenance"), None),
}


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "play", lambda arguments: asyncio.run(_play(arguments)))
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("cue", type=cue_name, nargs="?", metavar="CUE", help=f"one of {', '.join(CueName)}")
    what.add_argument("--all", action="store_true", help="every cue in turn, with texts as they come in the field")
    add_target(parser)
    add_lang(parser)
    parser.add_argument("--text", default="", help="text of the cue, 64 bytes reach an MCU")
    parser.add_argument("--amount", help='amount, ready to show, such as "CNY 2.00"')
    parser.add_argument("--ttl", type=number(1, MAX_TTL_MS), metavar="MS", help="time to live (default: as the agent)")
    parser.add_argument("--level", type=number(0, MAX_LEVEL), default=MAX_LEVEL, help="brightness, 0-100")
    parser.add_argument(
        "--each", type=number(0, 3600), default=_DEFAULT_EACH_S, metavar="S", help="with --all: seconds for each cue"
    )


async def _play(arguments: argparse.Namespace) -> int:
    try:
        async with talking(arguments, lang=Lang(arguments.lang)) as conversation:
            Paper(sys.stdout).print(f"MCU answers: {conversation.firmware}")
            if arguments.all:
                return await _play_all(conversation, arguments)
            return OK if await _show(conversation, _cue(arguments, arguments.cue)) is not None else PROBLEM
    except LinkError as error:
        complain_of(error, remedy_for(error, arguments))
        return PROBLEM


async def _play_all(conversation: Conversation, arguments: argparse.Namespace) -> int:
    took = {}
    names = [*CueName]
    for name in names:
        after_s = await _show(conversation, _cue(arguments, name))
        if after_s is not None:
            took[name] = after_s * 1000
        await asyncio.sleep(arguments.each)
    await _show(conversation, Cue(CueName.INVITE, level=arguments.level))
    if took:
        slowest = max(took, key=took.__getitem__)
        print(
            f"{len(took)} of {len(names)} cues confirmed, "
            f"median {statistics.median(took.values()):.1f} ms, slowest {slowest} {took[slowest]:.1f} ms"
        )
    return OK if len(took) == len(names) else PROBLEM


def _cue(arguments: argparse.Namespace, name: CueName) -> Cue:
    words, amount = _SAMPLES.get(name, (Words(), None)) if arguments.all else (Words(), None)
    text = arguments.text or (arguments.terminal if name is CueName.IDENTIFY else "")
    lasts = HOLD_S[name] if name in HOLD_S and name not in LASTING else BASE_TTL_S
    return Cue(
        name, text, arguments.amount or amount, arguments.ttl or int(lasts * 1000), level=arguments.level, words=words
    )


async def _show(conversation: Conversation, cue: Cue) -> float | None:
    """Show one cue; return the seconds until the MCU confirmed it, None when it refuses; raises LinkError."""
    remark = ""
    if cue.name is CueName.QUIET and conversation.hello and Capability.QUIET not in conversation.hello.capabilities:
        remark = " (told as resting: this MCU does not know it)"
    conversation.link.show(cue)
    deadline = time.monotonic() + _CONFIRMED_WITHIN_S
    # An MCU that tells this and that all the time is not waited for any longer.
    while (left_s := deadline - time.monotonic()) > 0 and (event := await conversation.event(left_s)):
        match event:
            case Shown(cue=cue.name, after_s=after_s):
                Paper(sys.stdout).print(f"confirmed: {cue.name} after {after_s * 1000:.1f} ms{remark}")
                return after_s
            case Refused(message=message, reason=reason) if message == cue.name:
                Paper(sys.stdout).print(f"refused: {message}: {reason.name.lower().replace('_', ' ')}")
                return None
    complain(f"{conversation.name}: the MCU never confirmed {cue.name}")
    return None
