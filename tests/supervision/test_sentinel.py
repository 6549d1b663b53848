"""A loop that really blocks ends its process in time and says where; a process that was only stopped goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ExitCode
from edge_agent.supervision.sentinel import BEAT_EVERY_S, BLOCKED_S, Stillness

CHILD = """
import asyncio, sys, time
from pathlib import Path
from edge_agent import logs
from edge_agent.clock import SystemClock
from edge_agent.supervision.restart import RestartFile
from edge_agent.supervision.sentinel import Sentinel

def hangs_in_the_driver(secret):
    time.sleep(60)

async def main(blocks):
    file = RestartFile(Path(sys.argv[1]), SystemClock())
    watching = asyncio.create_task(Sentinel(file.save, blocked_s=float(sys.argv[2])).watch())
    await asyncio.sleep(0.1)
    print("running", flush=True)
    if blocks:
        hangs_in_the_driver("0123-secret")
    await asyncio.sleep(2.5)
    watching.cancel()

logs.configure("info", "json")
asyncio.run(main(sys.argv[3] == "block"))
print("done", flush=True)
"""


def child(path: Path, blocked_s: float, what: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD, str(path), str(blocked_s), what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_blocked_loop_ends_its_process_with_the_reason_and_no_secret(tmp_path: Path) -> None:
    with child(tmp_path / "restart.json", 1, "block") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == ExitCode.RESTART
    kept = (tmp_path / "restart.json").read_text()
    for text in (kept, said):
        assert "hangs_in_the_driver" in text
        assert "secret" not in text


def test_a_disk_that_hangs_does_not_keep_a_blocked_process(tmp_path: Path) -> None:
    hung = CHILD.replace("Sentinel(file.save", "Sentinel(lambda *_: time.sleep(60)")
    command = [sys.executable, "-c", hung, str(tmp_path / "restart.json"), "1", "block"]
    started = time.monotonic()
    assert subprocess.run(command, capture_output=True, timeout=40, check=False).returncode == ExitCode.RESTART
    assert time.monotonic() - started < 30


def test_a_process_that_was_stopped_and_continued_goes_on(tmp_path: Path) -> None:
    with child(tmp_path / "restart.json", 2.5, "sleep") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(process.pid, signal.SIGCONT)
        out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "done\n"), said
    assert not (tmp_path / "restart.json").exists()


def test_detection_takes_less_than_ten_seconds() -> None:
    seen, now = Stillness(), 1000.0
    seen.look(7, now)
    began = now
    while seen.look(7, now) < BLOCKED_S:
        now += BEAT_EVERY_S
    assert now - began < 10


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1e6)), max_size=60))
def test_only_looks_in_a_row_without_a_beat_make_a_loop_blocked(steps: list[tuple[int, float]]) -> None:
    seen, beat, now, still_looks = Stillness(), 0, 0.0, 0
    for beats, passed in steps:
        beat, now = beat + beats, now + passed
        still_looks = 0 if beats else still_looks + 1
        assert 0 <= seen.look(beat, now) <= 2 * BEAT_EVERY_S * still_looks


@pytest.mark.parametrize("asleep_s", [60.0, 86_400.0])
def test_a_machine_that_slept_is_not_blocked(asleep_s: float) -> None:
    seen = Stillness()
    seen.look(1, 0.0)
    assert seen.look(1, asleep_s) < BLOCKED_S
    assert seen.look(2, asleep_s + 1) == 0.0
