"""A whole terminal with an ad player: what it tells, by whichever way, is in the next token and on the display."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.adverts import PLAYER_FILE, PLAYER_HTTP
from edge_agent.control_client import ask
from edge_agent.models import ComponentState
from edge_agent.showing.base import Source
from edge_agent.tokens.tap_token import parse
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import Command, Response, Topics
from firmware_bridge.cues import CueName
from tests.fakes.mosquitto import free_port
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, whole_agent, whole_path

ADVERTS = """
[[campaigns]]
name = "coffee"
text_en = "Tap for a coffee"
thanks_en = "Enjoy your coffee"
windows = ["mon"]  # and where it is not monday, only the player's word brings it
[[campaigns]]
name = "news"
reward = false
windows = ["tue"]
[player]
port = {port}
file = "{folder}/now.json"
"""

Way = Callable[[WholeAgent, dict[str, Any]], None]


def by_http(port: int) -> Way:
    def tell(_terminal: WholeAgent, word: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("PUT", "/now-playing", json.dumps(word), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 204
        connection.close()

    return tell


def by_socket(terminal: WholeAgent, word: dict[str, Any]) -> None:
    ask(terminal.folder / "control.sock", {"op": "now-playing", **word})


def by_file(terminal: WholeAgent, word: dict[str, Any]) -> None:
    new = terminal.folder / "now.json.new"
    new.write_text(json.dumps(word), encoding="utf-8")
    new.rename(terminal.folder / "now.json")


def doors_are_open(terminal: WholeAgent) -> bool:
    health = terminal.agent._board.snapshot(terminal.agent.clock.monotonic())
    return {part.state for part in health.components if part.name in {PLAYER_HTTP, PLAYER_FILE}} == {ComponentState.OK}


def showing(terminal: WholeAgent) -> tuple[CueName, str]:
    shown = terminal.display.showing
    return shown.cue, shown.text


async def test_a_tap_is_of_the_advert_that_the_player_told_by_any_way(tmp_path: Path) -> None:
    port = free_port()
    settings = ADVERTS.format(port=port, folder=tmp_path)
    async with whole_agent(tmp_path, screens=[settings]) as terminal:
        await eventually(lambda: doors_are_open(terminal))
        for way in (by_http(port), by_socket, by_file):
            for name, cue, text in (
                ("coffee", CueName.INVITE, "Tap for a coffee"),
                ("news", CueName.QUIET, ""),
                ("unknown", CueName.INVITE, ""),
            ):
                await asyncio.to_thread(way, terminal, {"campaign": name, "until": time.time() + 60})
                await eventually(lambda name=name: terminal.agent._adverts.showing().campaign == name)
                await eventually(lambda wanted=(cue, text): showing(terminal) == wanted)
                assert parse(await terminal.good_tap()).claims.campaign == name
                await eventually(lambda: showing(terminal)[0] is CueName.THANKS)
                terminal.agent.bridge.show(CueName.INVITE)  # its time is not waited for
            await asyncio.to_thread(way, terminal, {"campaign": None})
            await eventually(lambda: terminal.agent._adverts.showing().source in {Source.SCHEDULE, Source.TERMINAL})
        status = await terminal.status()
        assert status["now_playing"]["source"] in {"schedule", "terminal"}


async def test_the_thanks_of_a_tap_has_the_words_of_its_advert(tmp_path: Path) -> None:
    settings = ADVERTS.format(port=free_port(), folder=tmp_path)
    async with whole_agent(tmp_path, screens=[settings]) as terminal:
        await asyncio.to_thread(by_socket, terminal, {"campaign": "coffee", "until": time.time() + 60})
        await terminal.good_tap()
        assert "Enjoy your coffee" in [text for _, cue, text in terminal.display.cues if cue is CueName.THANKS]


async def test_the_cloud_sets_the_brightness_and_lets_the_screens_rest(tmp_path: Path) -> None:
    topics = Topics(FLEET, TERMINAL)
    async with whole_path(tmp_path) as path:
        probe = Probe(link_settings(path.port, client_id="operator"))
        await probe.up(topics.res("show"))

        async def answered(number: str, args: dict[str, Any]) -> Response:
            command = Command("show", number, int(time.time()) + 60, args)
            probe.link.publish(Message(topics.cmd("show"), command.encode()))
            await eventually(lambda: any(answer.id == number for answer in answers()))
            return next(answer for answer in answers() if answer.id == number)

        def answers() -> list[Response]:
            return [Response.decode(payload) for payload in probe.payloads(topics.res("show"))]

        display = path.terminal.display
        assert (await answered("1", {"level": 40, "for_s": 60})).status == "done"
        await eventually(lambda: display.showing.level == 40)
        assert (await answered("2", {"cue": "resting", "for_s": 60})).status == "done"
        await eventually(lambda: display.showing.cue is CueName.RESTING)
        assert (await answered("3", {"cue": "thanks"})).code == "bad_args"
        assert (await answered("4", {"cue": "resting", "for_s": 1})).status == "done"
        await eventually(lambda: display.showing.cue is CueName.INVITE)
        await probe.link.close()
