"""``replay``: the same display gives no difference, another one is told apart, and a bad trace says where."""

import signal
from itertools import groupby
from pathlib import Path

import pytest

from firmware_bridge.cli.main import main
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.messages import Capability, McuHello
from firmware_bridge.protocol import Want
from firmware_bridge.simulator import McuSimulator
from firmware_bridge.trace import HEADER, line_of
from tests.fakes.bridge_command import started
from tests.fakes.recorded_line import RecordedEnds

pytestmark = pytest.mark.usefixtures("patient_checks")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    ends = RecordedEnds()
    ends.open()
    for cue in (CueName.READING, CueName.THANKS):
        ends.run(0.1)
        ends.to_host(Want(Cue(cue, "a coupon")))
    ends.run(0.1)
    path = tmp_path / "trace"
    path.write_text("\n".join([HEADER, *map(line_of, ends.records), ""]), encoding="utf-8")
    return path


def test_the_same_mcu_has_no_difference(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        for speed in ("0", "1"):
            assert main(["replay", str(trace), "--port", simulator.device_path, "--speed", speed]) == 0
            assert capsys.readouterr().out == "4 as recorded, 0 differences\n"
        assert [cue for cue, _ in groupby(cue for _, cue, _ in simulator.cues)] == [CueName.READING, CueName.THANKS] * 2


def test_another_mcu_is_told_apart(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator(hello=McuHello((1, 4, 2), Capability.TEXT, "LX-7")) as simulator:
        assert main(["replay", str(trace), "--port", simulator.device_path, "--speed", "0"]) == 1
    said = capsys.readouterr().out
    assert 'trace: HELLO seq=1 version=1 firmware=1.0.0 can=text,brightness,quiet serial="simulated"' in said
    assert 'now:   HELLO seq=1 version=1 firmware=1.4.2 can=text serial="LX-7"' in said
    assert "3 as recorded, 1 difference\n" in said


def played_to_a_host(trace: Path, link: Path, *plays: list[str]) -> tuple[int, str]:
    with started("replay", str(trace), "--as", "mcu", "--link", str(link), "--speed", "0") as replaying:
        assert replaying.stderr is not None
        assert replaying.stdout is not None
        assert "waiting for its HELLO" in replaying.stderr.readline()
        for words in plays:
            assert main(["play", *words, "--port", str(link)]) == 0
        return replaying.wait(20), replaying.stdout.read()


def test_what_was_recorded_is_played_to_the_same_host_without_a_difference(tmp_path: Path) -> None:
    trace, link = tmp_path / "trace", tmp_path / "host"
    words = ["thanks", "--text", "a coupon", "--amount", "¥2.00"]
    with (
        McuSimulator() as simulator,
        started("record", "--port", simulator.device_path, "--link", str(link), str(trace)) as recording,
    ):
        assert recording.stderr is not None
        recording.stderr.readline()
        assert main(["play", *words, "--port", str(link)]) == 0
        recording.send_signal(signal.SIGINT)
        assert recording.wait(20) == 0
    assert played_to_a_host(trace, link, words) == (0, "2 as recorded, 0 differences\n")


def test_another_host_is_told_apart(trace: Path, tmp_path: Path) -> None:
    words = ["thanks", "--text", "a coupon", "--terminal", "sh-1"]
    status, said = played_to_a_host(trace, tmp_path / "host", words)
    assert status == 1
    assert "    0.100000  trace: CUE seq=2 cue=reading" in said
    assert "now:   nothing\n2 as recorded, 1 difference\n" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: a trace begins with"),
        (f"{HEADER}\nnonsense\n", "line 2: expected"),
        (f"{HEADER}\n" + "x" * 100_000, "line 2: expected"),
        (f"{HEADER}\n    0.000001 < delimiter  | 00\n", "the host says nothing in this trace"),
        ("\udcff", "utf-8"),
    ],
)
def test_what_is_no_trace_is_said(text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["replay", str(path), "--port", "/dev/null"]) == 1
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--link", "/tmp/x"], ["--as", "mcu"], ["--as", "mcu", "--port", "/dev/x", "--link", "/tmp/x"]]
)
def test_one_line_must_be_named(words: list[str], trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(trace), *words]) == 2
    assert "replay needs --port DEV" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["-1", "fast", "0.001", "nan", "inf"])
def test_a_speed_that_cannot_be(speed: str, trace: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(trace), "--port", "/dev/x", "--speed", speed])
    assert ended.value.code == 2


def test_a_trace_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "none"), "--port", "/dev/x"]) == 1
    assert capsys.readouterr().err == f"firmware-bridge: {tmp_path / 'none'}: No such file or directory\n"
