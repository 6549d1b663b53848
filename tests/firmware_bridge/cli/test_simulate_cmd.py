"""``simulate``: a screen on a pty, drawn here, that ends without leaving anything behind."""

import json
import os
import re
import signal
import subprocess
import termios
import time
import urllib.request
from pathlib import Path

import pytest

from firmware_bridge.cli.main import main
from tests.fakes.bridge_command import COMMAND, complaint, line, started


def test_simulate_names_the_link_that_it_cannot_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "missing" / "screen"
    assert main(["simulate", "--link", str(link)]) == 1
    assert capsys.readouterr().err == f"firmware-bridge: {link}: No such file or directory\n"


def test_simulate_draws_what_play_shows_and_ends_cleanly(tmp_path: Path) -> None:
    link = tmp_path / "edge-screen"
    with started("simulate", "--link", str(link)) as simulator:
        assert line(simulator) == f"simulated screen on {link}; Ctrl-C ends it\n"
        assert "tap here (by itself)" in line(simulator)
        played = subprocess.run(
            [*COMMAND, "play", "retry", "--port", str(link)], capture_output=True, text=True, timeout=30, check=False
        )
        assert (played.returncode, played.stderr) == (0, "")
        drawn = line(simulator)
        assert "retry" in drawn
        assert "tap once more" in drawn
        assert "\x1b" not in drawn
        assert len(drawn) <= 80
        simulator.send_signal(signal.SIGINT)
        assert simulator.wait(20) == 0
        assert complaint(simulator) == ""
    assert not os.path.lexists(link)


def test_simulate_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    link = tmp_path / "edge-screen"
    with started("simulate", "--link", str(link)) as simulator:
        line(simulator)
        simulator.terminate()
        assert simulator.wait(20) == 0
    assert not os.path.lexists(link)


def test_simulate_replaces_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "file"
    precious.write_text("precious")
    assert main(["simulate", "--link", str(precious)]) == 1
    assert precious.read_text() == "precious"
    assert capsys.readouterr().err == f"firmware-bridge: {precious}: File exists\n"


def first_cue(url: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{url}events", timeout=20) as stream:  # noqa: S310 - our own loopback page
        for raw in stream:
            if raw.startswith(b'data: {"cue"'):
                return dict(json.loads(raw.removeprefix(b"data: ")))
    raise AssertionError("the stream ended without a cue")


def read_when_there(path: Path, wanted: str) -> None:
    """What a program in the background writes may come after all else."""
    end = time.monotonic() + 30
    while not path.exists() or path.read_text() != wanted:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_page_beside_it_shows_the_same_cues(tmp_path: Path) -> None:
    link, opened = tmp_path / "edge-screen", tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    with started("simulate", "--link", str(link), "--open", BROWSER=str(browser)) as simulator:
        url = line(simulator).split()[-1]
        assert line(simulator).startswith("simulated screen on")
        assert first_cue(url)["cue"] == "invite"
        words = ["--amount", "¥2.00", "--text", "a coupon", "--ttl", "30000", "--level", "60"]
        assert main(["play", "thanks", "--port", str(link), *words]) == 0
        assert "thanks" in line(simulator) + line(simulator)
        told = first_cue(url)
        assert (told["cue"], told["amount"], told["text"], told["level"]) == ("thanks", "¥2.00", "a coupon", 60)
        assert 1 <= told["ttl_ms"] <= 30_000
        read_when_there(opened, f"{url}\n")
        simulator.send_signal(signal.SIGINT)
        assert simulator.wait(20) == 0
        assert complaint(simulator) == ""


def test_a_taken_page_port_is_a_problem() -> None:
    with started("simulate", "--page") as first:
        port = line(first).rsplit(":", 1)[-1].split("/")[0]
        with started("simulate", "--page", "--page-port", port) as second:
            assert second.wait(20) == 1
            assert "cannot listen on 127.0.0.1" in complaint(second)


def test_on_a_terminal_the_frame_is_drawn_in_place_and_the_cursor_comes_back(tmp_path: Path) -> None:
    link = tmp_path / "edge-screen"
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    environment = os.environ | {"TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "", "LINES": ""}
    process = subprocess.Popen(
        [*COMMAND, "simulate", "--link", str(link)], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    try:
        drawn = read_until(master, "╯")
        assert main(["play", "thanks", "--port", str(link), "--amount", "¥2.00"]) == 0
        drawn += read_until(master, "谢谢")
        process.send_signal(signal.SIGTERM)
        drawn += read_until(master, "\x1b[?25h")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "\x1b[?25l" in drawn
    assert re.search("\x1b\\[8F", drawn)


def read_until(master: int, wanted: str) -> str:
    seen = b""
    while wanted.encode() not in seen:
        seen += os.read(master, 4096)
    return seen.decode("utf-8", errors="replace")
