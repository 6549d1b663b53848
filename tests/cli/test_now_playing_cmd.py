import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.control import ControlServer
from edge_agent.showing.base import Showing, Source, Told
from edge_agent.showing.ops import now_playing_ops


class Agent:
    """The control socket of an agent that shows what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[Told] = []
        self.shown = Showing(None, None, None)

    def _tell(self, told: Told) -> None:
        self.told.append(told)
        self.shown = Showing(told.campaign, told.source if told.campaign else None, told.life_s)

    @contextmanager
    def running(self) -> Iterator["Agent"]:
        loop = asyncio.new_event_loop()
        server = ControlServer(self.path, now_playing_ops(self._tell, lambda: self.shown), read_timeout_s=45)
        loop.run_until_complete(server.start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(45)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(45)
            loop.close()

    def run(self, *words: str) -> int:
        return main(["now-playing", "--socket", str(self.path), *words])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent(tmp_path / "s").running() as running:
        yield running


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (Showing(None, None, None), "no campaign: nobody told one, and the configuration names none for now"),
        (Showing("c-1", Source.TERMINAL, None), "c-1: by campaign of [terminal]"),
        (Showing("c-1", Source.SCHEDULE, None), "c-1: by the schedule of [[campaigns]]"),
        (Showing("夏", Source.HTTP, 7530.5), "夏: told by the player over HTTP, for 2 h 5 min more"),
        (Showing("c-1", Source.FILE, 330.9), "c-1: told by the player's file, for 5 min more"),
    ],
)
def test_it_says_what_is_showing_who_said_so_and_for_how_long(
    agent: Agent, capsys: pytest.CaptureFixture[str], shown: Showing, line: str
) -> None:
    agent.shown = shown
    assert agent.run() == 0
    assert capsys.readouterr().out == f"{line}\n"
    assert agent.told == []


def test_it_tells_a_campaign_and_takes_it_back(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.run("c-1", "--for", "3630") == 0
    assert "c-1: told over the control socket, for 1 h 0 min more" in capsys.readouterr().out
    assert agent.run("c-2", "--until", str(int(time.time()) + 600)) == 0
    assert agent.run("--clear") == 0
    assert [(told.campaign, told.source) for told in agent.told] == [
        ("c-1", Source.SOCKET),
        ("c-2", Source.SOCKET),
        (None, Source.SOCKET),
    ]
    assert 3600 < agent.told[0].life_s <= 3630
    assert 540 < agent.told[1].life_s <= 600


def test_for_a_program_it_is_one_object(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.run("c-1", "--for", "30", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"campaign", "until", "source"}
    assert answer["campaign"] == "c-1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["c-1"], "--for SECONDS or --until UNIX"),
        (["--for", "30"], "say which CAMPAIGN"),
        (["c-1", "--clear"], "--clear takes no CAMPAIGN"),
        (["c-1", "--for", "30", "--until", "1"], "not allowed with"),
        (["c-1", "--for", "0"], "--for takes more than 0 and at most 86400 seconds"),
        (["c-1", "--for", "nan"], "--for takes"),
        (["c-1", "--for", "86500"], "--for takes"),
        (["c-1", "--until", str(int(time.time()) + 9 * 86_400)], "more than a day"),
        (["c-1", "--until", "30"], "in the past"),
        (["12345678901234567", "--for", "30"], "1 to 16 bytes"),
        (["a\x1b", "--for", "30"], "printable"),
        (["c-1", "--for", "soon"], "invalid float"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    agent: Agent, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        agent.run(*words)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
    assert agent.told == []


def test_no_agent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Agent(tmp_path / "none").run() == 3
    assert "is it running?" in capsys.readouterr().err
