"""``firmware-bridge page``: serve the web page and go through its cues, for designers. Needs no screen."""

import argparse
import asyncio
import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain, cue_name, number
from firmware_bridge.cues import HOLD_S, LASTING, Advert, CueName, Words
from firmware_bridge.links.base import LinkError, LinkEvent

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands
    from firmware_bridge.links.web import WebLink

_STEP_S = 4.0


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "page", lambda arguments: asyncio.run(_page(arguments)), endless=True)
    parser.add_argument("--port", type=number(0, 65535), default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--cue", type=cue_name, metavar="CUE", help=f"stay with one of {', '.join(CueName)}")
    parser.add_argument(
        "--campaign-text", default="", metavar="TEXT", help="the advert's own words, with its invitation"
    )
    parser.add_argument("--colours", type=_colours, metavar="FROM,TO", help="the advert's colours: '#0a7bd1,#12b886'")


async def _page(arguments: argparse.Namespace) -> int:
    from firmware_bridge.bridge import Bridge  # noqa: PLC0415 - structlog: not for --help
    from firmware_bridge.links.web import WebLink  # noqa: PLC0415 - h11: as above

    advert = Advert(
        Words(arguments.campaign_text, arguments.campaign_text),
        Words(arguments.campaign_text, arguments.campaign_text),
        arguments.colours,
    )

    async def cycle() -> None:
        for cue in itertools.cycle([arguments.cue] if arguments.cue else list(CueName)):
            # There is no invitation where the advert has no reward: that is what `quiet` is.
            bridge.set_advert(replace(advert, reward=cue is not CueName.QUIET))
            for lasting in LASTING:
                bridge.set_lasting(lasting, cue is lasting, text="reader lost" if cue is CueName.FAULT else "")
            if cue not in LASTING:
                bridge.show(cue, amount="¥2.00" if cue is CueName.THANKS else None)
            await asyncio.sleep(HOLD_S.get(cue, _STEP_S))

    link = WebLink("page", arguments.port, terminal_id="designer")
    bridge = Bridge([link], terminal_id="designer")
    cycling = asyncio.create_task(cycle())
    try:
        await link.serve(_PageAddress(link))
    except LinkError as error:
        complain(error.text)
        return PROBLEM
    finally:
        cycling.cancel()
        await asyncio.gather(cycling, return_exceptions=True)
    return OK


def _colours(word: str) -> tuple[str, str]:
    first, comma, second = word.partition(",")
    if not comma or not all(re.fullmatch("#[0-9a-fA-F]{6}", colour) for colour in (first, second)):
        raise argparse.ArgumentTypeError(f"{word!r} is no pair of colours like '#0a7bd1,#12b886'")
    return first, second


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

    def link_event(self, link: str, event: LinkEvent) -> None:
        """Say nothing: a page never speaks."""
