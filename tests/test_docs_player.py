"""docs/player.md is a program: its examples tell an agent, and its table of errors is what the agent answers."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edge_agent.control import ControlServer
from edge_agent.models import ComponentState
from edge_agent.showing.base import Showing, Source, Told
from edge_agent.showing.http_door import DEFAULT_PORT, HttpDoor
from edge_agent.showing.now_playing import NowPlaying
from edge_agent.showing.ops import now_playing_ops
from edge_agent.showing.request import EXAMPLE
from edge_agent.showing.watched_file import WatchedFile
from tests.conftest import require_system
from tests.fakes.player_terminal import PlayerTerminal
from tests.fakes.waiting import eventually

PAGE = (Path(__file__).parent.parent / "docs" / "player.md").read_text(encoding="utf-8")
PLACES = ("http://127.0.0.1:8788", "/run/edge-agent/control.sock", "/run/edge-player")


def examples(heading: str, language: str) -> str:
    section = re.search(rf"(?ms)^## {heading}\n(.*?)(?=^## |\Z)", PAGE)
    assert section
    found = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", section[1])
    assert len(found) == 1, f"{heading} has one example in {language}"
    return str(found[0])


class Site:
    """A terminal with all doors, and what came in by each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "control.sock"
        self.told: list[Told] = []
        self.ready: set[str] = set()
        self._playing = NowPlaying([], "c-0")
        self.http = HttpDoor(0, tell=self._tell, showing=self._showing, report=self._ready("http"))
        self.file = WatchedFile(folder / "now-playing.json", tell=self._tell, report=self._ready("file"))
        self.control = ControlServer(self.socket, now_playing_ops(self._tell, self._showing))

    def _ready(self, name: str):  # type: ignore[no-untyped-def] # a closure of the test
        return lambda state, _text: self.ready.add(name) if state is ComponentState.OK else None

    def _tell(self, told: Told) -> None:
        self.told.append(told)
        self._playing.handle(told, time.monotonic())

    def _showing(self) -> Showing:
        return self._playing.current.showing(time.monotonic())

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Site"]:
        doors = [asyncio.create_task(part()) for part in (self.http.serve, self.file.serve, self.control.serve)]
        try:
            await eventually(lambda: self.ready == {"http", "file"} and self.socket.exists())
            yield self
        finally:
            for door in doors:
                door.cancel()
                with suppress(asyncio.CancelledError):
                    await door

    async def run(self, *command: str, text: str) -> str:
        """Run an example against this site; returns what it prints."""
        text = text.replace("127.0.0.1:8788", f"127.0.0.1:{self.http.port}").replace(
            '"127.0.0.1", 8788', f'"127.0.0.1", {self.http.port}'
        )
        text = text.replace("/run/edge-agent/control.sock", str(self.socket)).replace(
            "/run/edge-player", str(self.folder)
        )
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        agent = bin_folder / "edge-agent"
        agent.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_agent "$@" --socket {self.socket}\n')
        agent.chmod(0o755)
        env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "http_proxy": "http://127.0.0.1:9"}
        done = await asyncio.to_thread(
            subprocess.run, [*command, text], capture_output=True, text=True, env=env, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), text
        return str(done.stdout)


@pytest.mark.parametrize(
    ("heading", "language", "source"),
    [
        ("HTTP", "sh", Source.HTTP),
        ("HTTP", "python", Source.HTTP),
        ("Control socket", "python", Source.SOCKET),
        ("Command", "sh", Source.SOCKET),
        ("File", "sh", Source.FILE),
    ],
)
async def test_the_examples_tell_the_agent(tmp_path: Path, heading: str, language: str, source: Source) -> None:
    if "curl" in examples(heading, language):
        require_system("curl")
    command = ("sh", "-euc") if language == "sh" else (sys.executable, "-c")
    async with Site(tmp_path).open() as site:
        printed = await site.run(*command, text=examples(heading, language))
        await eventually(lambda: site.told)
        assert (site.told[0].campaign, site.told[0].source) == ("c-1", source)
        assert 0 < site.told[0].life_s <= 30
        if heading == "Command":
            assert [told.campaign for told in site.told] == ["c-1", None]
            first, second, third = printed.splitlines()
            for line in (first, second):
                assert re.fullmatch(r"c-1: told over the control socket, for [12]?\d s more", line), line
            assert third == "c-0: by campaign of [terminal]"
        elif "curl" in examples(heading, language):
            assert json.loads(printed).keys() == {"campaign", "until", "source"}
        elif heading == "Control socket":
            assert json.loads(printed)["result"]["campaign"] == "c-1"
        else:
            assert printed == ""


async def test_the_example_in_python_says_what_is_wrong_and_goes_on_without_an_agent(tmp_path: Path) -> None:
    text = examples("HTTP", "python")
    async with Site(tmp_path).open() as site:
        printed = await site.run(sys.executable, "-c", text=text.replace('"c-1", 30', '"c-1", -30'))
        assert printed.startswith("not taken: until is in the past; send until as")
    printed = await site.run(sys.executable, "-c", text=text)
    assert printed.startswith("no agent: ")


WORD = {"campaign": "c-1", "until": 1_790_000_030}
ASKED: list[tuple[int, str, str, object, dict[str, str]]] = [
    (400, "not JSON", "PUT", "{", {}),
    (400, "there are fields", "PUT", {"campain": "c-1"}, {}),
    (400, "campaign is not", "PUT", {**WORD, "campaign": "夏季五折券券"}, {}),
    (400, "until is missing", "PUT", {"campaign": "c-1"}, {}),
    (400, "until is in the past", "PUT", {**WORD, "until": 30}, {}),
    (400, "until is far ahead", "PUT", {**WORD, "until": 1_790_000_030_000}, {}),
    (400, "until is more than", "PUT", {**WORD, "until": 1_790_100_000}, {}),
    (403, "no writes", "PUT", WORD, {"Origin": "http://127.0.0.1:8787"}),
    (405, "not with this", "POST", WORD, {}),
    (413, "the body is too large", "PUT", " " * 2000, {}),
    (415, "the body is of another", "PUT", WORD, {"Content_Type": "text/json"}),
    (421, "this server", "PUT", WORD, {"Host": "agent.example"}),
]
ELSEWHERE = {204, 404, 408, 411, 503}
"""Of the server alone: tests/firmware_bridge/test_loopback.py; their words are compared below."""


def rows() -> list[tuple[int, str]]:
    found = re.findall(r"(?m)^\| (\d{3}) \| (?:`([^`]+)`)? ?\|", PAGE)
    return [(int(status), text) for status, text in found]


async def test_the_table_of_errors_is_what_the_agent_answers() -> None:
    table = rows()
    async with PlayerTerminal().serving() as terminal:
        for status, begin, method, body, headers in ASKED:
            found, text = await terminal.ask(method, body, **headers)
            row = next(row for row in table if row[0] == status and row[1].startswith(begin))
            table.remove(row)
            assert (found, text.replace(f":{terminal.door.port}", ":8788")) == (status, f"{row[1]}\n")
        assert terminal.told == []
    assert {status for status, _ in table} == ELSEWHERE
    source = (Path(__file__).parent.parent / "firmware_bridge" / "loopback.py").read_text(encoding="utf-8")
    for status, text in table:
        assert text.removesuffix("/now-playing") in source, status


def test_the_page_names_the_places_of_the_product() -> None:
    assert f"http://127.0.0.1:{DEFAULT_PORT}" in PAGE
    assert EXAMPLE in PAGE
    for place in PLACES:
        assert place in PAGE
