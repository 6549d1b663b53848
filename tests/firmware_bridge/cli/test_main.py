"""The command as a maker runs it: plain words, exit statuses, a clean end."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_bridge.cli.commands import COMMANDS
from firmware_bridge.cli.main import main
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame
from firmware_bridge.messages import Capability, McuHello, MessageError, NakReason
from firmware_bridge.simulator import McuSimulator

COMMAND = [sys.executable, "-m", "firmware_bridge"]


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_play_shows_a_cue_and_says_what_the_mcu_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator(hello=McuHello((1, 4, 2), Capability.TEXT, "LX-7")) as simulator:
        status = main(["play", "thanks", "--port", simulator.device_path, "--text", "a coupon", "--amount", "¥2.00"])
        assert [(cue, text) for _, cue, text in simulator.cues] == [(CueName.THANKS, "¥2.00\na coupon")]
    said, complained = capsys.readouterr()
    assert (status, complained) == (0, "")
    assert "MCU answers: LX-7 1.4.2" in said
    assert "confirmed: thanks after " in said


def test_play_at_a_port_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "thanks", "--port", "/dev/no-such-screen"]) == 1
    assert capsys.readouterr().err == "firmware-bridge: /dev/no-such-screen: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["play", "thanks", "--port", "/dev/null", "--baud", "-5"],
        ["play", "thanks", "--port", "/dev/null", "--baud", "0"],
        ["play", "thanks", "--port", "/dev/null", "--baud", "fast"],
        ["page", "--port", "99999"],
        ["page", "--port", "-1"],
        ["page", "--port", "http"],
    ],
)
def test_a_number_that_cannot_be_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"'{arguments[-1]}' is no number from " in capsys.readouterr().err


def test_simulate_names_the_link_that_it_cannot_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "missing" / "screen"
    assert main(["simulate", "--link", str(link)]) == 1
    assert capsys.readouterr().err == f"firmware-bridge: {link}: No such file or directory\n"


def test_play_without_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        simulator.faults.deaf = True
        assert main(["play", "thanks", "--port", simulator.device_path]) == 1
    assert "no answer for 3 s" in capsys.readouterr().err


def test_play_says_when_the_mcu_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from_host = sys.modules["firmware_bridge.messages"].from_host

    def older(frame: Frame) -> object:
        if frame.type == 0x02:
            raise MessageError(NakReason.UNKNOWN_CUE, "an older firmware")
        return from_host(frame)

    monkeypatch.setattr("firmware_bridge.device.from_host", older)
    with McuSimulator() as simulator:
        assert main(["play", "identify", "--port", simulator.device_path]) == 1
    assert "refused: identify: unknown cue" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["play", "dance", "--port", "/dev/x"], ["play", "thanks"], ["sing"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: firmware-bridge" in capsys.readouterr().err


def test_simulate_draws_what_play_shows_and_ends_cleanly(tmp_path: Path) -> None:
    link = tmp_path / "edge-screen"
    with started("simulate", "--link", str(link)) as simulator:
        assert line(simulator) == f"simulated screen on {link}; Ctrl-C ends it\n"
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
        assert simulator.stderr is not None
        assert simulator.stderr.read() == ""
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
    assert "is there already" in capsys.readouterr().err


def test_simulate_says_when_the_link_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--link", str(tmp_path / "no" / "folder")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_page_serves_until_interrupted() -> None:
    with started("page", "--cue", "thanks") as page:
        url = line(page).split()[-1]
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own loopback page
            assert b'id="stage"' in answer.read()
        page.send_signal(signal.SIGINT)
        assert page.wait(20) == 0


def test_page_on_a_taken_port() -> None:
    with started("page") as first:
        port = line(first).split(":")[-1].split("/")[0]
        with started("page", "--port", port) as second:
            assert second.wait(20) == 1
            assert second.stderr is not None
            assert "cannot listen on 127.0.0.1" in second.stderr.read()


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {"serial", "h11", "structlog", "edge_agent", "bleak", "asyncio", "logging"}),
        *(([name, "--help"], {"serial", "h11", "structlog", "edge_agent", "bleak"}) for name in COMMANDS),
    ],
)
def test_asking_for_help_loads_no_heavy_library(words: list[str], unwanted: set[str]) -> None:
    code = (
        "import sys; from firmware_bridge.__main__ import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: print('loaded:', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert not unwanted & set(done.stdout.partition("loaded:")[2].split())
