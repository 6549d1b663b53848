import codecs
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.main import main
from tests.cli.test_watch_view import STATUS, STEPS
from tests.fakes.control_stub import serving
from tests.fakes.vt100 import Vt100

DEADLINE_S = 60.0


class Agent:
    """What the running agent answers; one process for each ``run``."""

    def __init__(self, run: str = "a", steps: list[dict[str, Any]] | None = None) -> None:
        self.run = run
        self.steps = [{"n": number, **step} for number, step in enumerate(STEPS if steps is None else steps, 1)]

    async def told(self, request: dict[str, object]) -> dict[str, object]:
        steps = [*self.steps]  # the test adds to them in another thread
        known = request.get("after", len(steps))
        after = known if request.get("run") in (None, self.run) and isinstance(known, int) else 0
        return {"run": self.run, "next": len(steps), "missed": 0, "steps": steps[after:]}

    async def status(self, _request: dict[str, object]) -> dict[str, object]:
        return STATUS

    @contextmanager
    def at(self, path: Path) -> Iterator["Agent"]:
        with serving(path, {"steps": self.told, "status": self.status}):
            yield self


class Watching:
    """`edge-agent watch` as a process of its own, on a terminal or in a pipe."""

    def __init__(self, path: Path, *words: str, terminal: bool, env: dict[str, str] | None = None) -> None:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        # A shell that runs the tests in the background has them ignore SIGINT, and whatever they start.
        sound = ["env", "--default-signal=INT", sys.executable]
        command = [*sound, "-m", "edge_agent", "watch", "--socket", str(path), *words]
        env = {**os.environ, "TERM": "vt100", "PYTHONUTF8": "1", **(env or {})}
        self.process = subprocess.Popen(
            command, stdin=theirs if terminal else None, stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        self.ours = ours
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a terminal may hand over half of a character

    def until(self, condition: Callable[[str], object]) -> str:
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self.ours], [], [], 0.1)[0]:
                self.text += self._decoder.decode(os.read(self.ours, 65536))
        return self.text

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        with_the_rest = True
        while with_the_rest:
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # the other end of a terminal is closed
                break
            with_the_rest = bool(data)
            self.text += self._decoder.decode(data)
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@contextmanager
def watching(path: Path, *words: str, terminal: bool = True, env: dict[str, str] | None = None) -> Iterator[Watching]:
    found = Watching(path, *words, terminal=terminal, env=env)
    try:
        yield found
    finally:
        found.close()


def shown(text: str) -> Vt100:
    terminal = Vt100()
    terminal.feed(text)
    return terminal


def test_once_prints_five_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Agent().at(tmp_path / "s"):
        assert main(["watch", "--once", "--socket", str(tmp_path / "s")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["sh-000123-a:", "readers", "screens", "delivery", "taps"]
        assert "cue 0.4 → kept 37 → sent 38 → stored 41 ms" in lines[4]
        assert max(map(len, lines)) <= 80
        assert main(["watch", "--once", "--json", "--socket", str(tmp_path / "s")]) == 0
        assert json.loads(capsys.readouterr().out)["event"] == "status"


def test_once_needs_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--once", "--socket", str(tmp_path / "none")]) == 3
    assert "is it running?" in capsys.readouterr().err


def test_on_a_terminal_it_stays_in_place_waits_for_the_agent_and_gives_the_cursor_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with watching(path) as watch:
        watch.until(lambda text: "waiting for the agent" in text)
        with Agent().at(path):
            watch.until(lambda text: "takes taps" in text and "stored 41 ms" in text)
            assert not shown(watch.text.rpartition("\x1b[1B\r")[0] or watch.text).cursor_shown
        watch.until(lambda text: text.count("waiting for the agent") == 2)
        with Agent("b", []).at(path):
            watch.until(lambda text: text.count("takes taps") == 2)
            assert watch.end() == 130
    terminal = shown(watch.text)
    assert terminal.cursor_shown
    assert terminal.row == 5
    assert terminal.line(0).startswith("sh-000123-a: OK, takes taps")


def test_a_kill_gives_the_cursor_back_too(tmp_path: Path) -> None:
    with Agent().at(tmp_path / "s"), watching(tmp_path / "s") as watch:
        watch.until(lambda text: "takes taps" in text)
        assert watch.end(signal.SIGTERM) == 130
    assert shown(watch.text).cursor_shown


def test_ctrl_c_as_it_is_typed_leaves_neither_its_echo_nor_colour_and_ctrl_z_does_nothing(tmp_path: Path) -> None:
    with Agent().at(tmp_path / "s"), watching(tmp_path / "s") as watch:
        watch.until(lambda text: "takes taps" in text)
        watch.process.send_signal(signal.SIGTSTP)
        drawn = len(watch.text)
        watch.until(lambda text: len(text) > drawn)
        os.write(watch.ours, b"\x03")  # a terminal echoes it as ^C
        watch.until(lambda text: "^C" in text)
        assert watch.end() == 130
    assert watch.text.endswith("\x1b[0m\r\x1b[K\x1b[?25h")


def test_a_console_without_more_than_ascii_and_colours_gets_just_that(tmp_path: Path) -> None:
    env = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    with Agent().at(tmp_path / "s"), watching(tmp_path / "s", env=env) as watch:
        watch.until(lambda text: "stored 41 ms" in text)
        assert "cue 0.4 -> kept 37" in watch.text
        assert watch.text.isascii()
        assert "\x1b[32m" not in watch.text


@pytest.mark.parametrize(("words", "env"), [((), {}), (("--lines",), {}), ((), {"TERM": "dumb"}), ((), {"TERM": ""})])
def test_elsewhere_it_appends_a_line_for_each_tap(tmp_path: Path, words: tuple[str, ...], env: dict[str, str]) -> None:
    agent = Agent(steps=[])
    with agent.at(tmp_path / "s"), watching(tmp_path / "s", *words, terminal=bool(words or env), env=env) as watch:
        watch.until(lambda text: "watching" in text)
        agent.steps += [{"n": number, **step} for number, step in enumerate(STEPS, 1)]
        watch.until(lambda text: "stored 41 ms" in text)
        assert watch.end() == 130
    assert "\x1b[1A" not in watch.text
    assert len(watch.text.splitlines()) == 2


def test_for_a_program_each_step_is_an_object(tmp_path: Path) -> None:
    agent = Agent(steps=[])
    with agent.at(tmp_path / "s"), watching(tmp_path / "s", "--json", terminal=False) as watch:
        watch.until(lambda text: '"agent"' in text)
        agent.steps += [{"n": number, **step} for number, step in enumerate(STEPS, 1)]
        watch.until(lambda text: '"stored"' in text)
        assert watch.end() == 130
    objects = [json.loads(line) for line in watch.text.splitlines()]
    assert objects[0] == {"event": "agent", "up": True, "why": ""}
    assert [found["step"] for found in objects[1:]] == [step["step"] for step in STEPS]
