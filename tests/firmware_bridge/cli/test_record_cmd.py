"""``record``: the trace of a real conversation, in a new file, ended cleanly."""

import os
import re
import signal
from pathlib import Path

import pytest

from firmware_bridge.cli.main import main
from firmware_bridge.messages import Ack, HostHello, McuHello, Ping, ShowCue
from firmware_bridge.simulator import McuSimulator
from firmware_bridge.trace import Direction, read_trace
from tests.fakes.bridge_command import complaint, line, started


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_conversation_is_written_down_frame_by_frame(tmp_path: Path, how: signal.Signals) -> None:
    trace, link = tmp_path / "trace", tmp_path / "host"
    with McuSimulator() as simulator:
        with started("record", "--port", simulator.device_path, "--link", str(link), str(trace)) as recording:
            assert recording.stderr is not None
            assert recording.stderr.readline() == f"the host's port is {link}; Ctrl-C ends the recording\n"
            assert main(["play", "thanks", "--port", str(link), "--text", "a coupon"]) == 0
            recording.send_signal(how)
            assert recording.wait(20) == 0
            assert re.fullmatch("[0-9]+ frames, 0 pieces that are none\n", complaint(recording))
        assert [text for _, _, text in simulator.cues] == ["a coupon"]
    assert not os.path.lexists(link)
    lines = trace.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "screen-link trace 1"
    told = [re.search(r'> CUE seq=\d+ cue=thanks ttl_ms=(\d+) level=100 text="a coupon"', line) for line in lines]
    # What is left of its time when it goes out: on a loaded machine some milliseconds less.
    assert [found for found in told if found and 1 <= int(found[1]) <= 3000]
    records = read_trace(lines)
    # A loaded machine repeats frames, and says PING after a second: each kind counts once.
    messages = [(record.direction, record.message) for record in records if record.message]
    assert [*dict.fromkeys((way, type(message)) for way, message in messages if not isinstance(message, Ping))] == [
        (Direction.TO_MCU, HostHello),
        (Direction.TO_HOST, Ack),
        (Direction.TO_HOST, McuHello),
        (Direction.TO_MCU, ShowCue),
    ]


def test_a_trace_on_the_terminal(tmp_path: Path) -> None:
    link = tmp_path / "host"
    with (
        McuSimulator() as simulator,
        started("record", "--port", simulator.device_path, "--link", str(link), "-") as recording,
    ):
        assert line(recording) == "screen-link trace 1\n"
        assert line(recording).startswith("# recorded ")
        assert recording.stderr is not None
        recording.stderr.readline()
        assert main(["play", "invite", "--port", str(link)]) == 0
        assert "delimiter" in line(recording)
        assert "> HELLO seq=1" in line(recording)


def test_no_trace_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace").write_text("precious")
    with McuSimulator() as simulator:
        assert main(["record", "--port", simulator.device_path, str(tmp_path / "trace")]) == 1
    assert capsys.readouterr().err == f"firmware-bridge: {tmp_path / 'trace'}: File exists\n"
    assert (tmp_path / "trace").read_text() == "precious"


def test_what_cannot_be_recorded_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--port", "/dev/no-such-screen", str(tmp_path / "trace")]) == 1
    assert "/dev/no-such-screen: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()
    with McuSimulator() as simulator:
        words = ["record", "--port", simulator.device_path, str(tmp_path / "trace"), "--link"]
        assert main([*words, str(tmp_path / "no" / "folder")]) == 1
        assert "No such file" in capsys.readouterr().err
        assert main([*words, str(tmp_path)]) == 1
        assert capsys.readouterr().err == f"firmware-bridge: {tmp_path}: File exists\n"
