"""``simulate``: a screen on a pty, drawn here, that ends without leaving anything behind."""

import os
import signal
import subprocess
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
    assert "is there already" in capsys.readouterr().err
