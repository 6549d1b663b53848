"""The command as a whole: its names, exit statuses, and that it starts fast."""

import os
import subprocess
import sys

import pytest

from firmware_bridge.cli.commands import COMMANDS
from firmware_bridge.cli.main import main
from tests.fakes.bridge_command import COMMAND


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["play", "dance", "--port", "/dev/x"],
        ["play", "thanks"],
        ["play", "--port", "/dev/x"],
        ["play", "thanks", "--all", "--port", "/dev/x"],
        ["play", "thanks", "--port", "/dev/x", "--ble", "x"],
        ["play", "thanks", "--port", "/dev/x", "--lang", "de"],
        ["status"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: firmware-bridge" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["play", "thanks", "--port", "/dev/null", "--baud", "-5"],
        ["play", "thanks", "--port", "/dev/null", "--baud", "0"],
        ["play", "thanks", "--port", "/dev/null", "--baud", "fast"],
        ["play", "thanks", "--port", "/dev/null", "--ttl", "0"],
        ["play", "thanks", "--port", "/dev/null", "--level", "101"],
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


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_asking_for_help_loads_no_heavy_library(words: list[str]) -> None:
    code = (
        "import sys; from firmware_bridge.__main__ import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: print('ended', end.code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},  # a serial console
    )
    _, _, loaded = done.stdout.partition("ended 0 ")
    assert "argparse" in loaded
    unwanted = {"serial", "h11", "structlog", "bleak", "edge_agent"} | ({"asyncio"} if words == ["--help"] else set())
    assert not unwanted & set(loaded.split())


def test_a_reader_that_has_gone_is_neither_a_success_nor_a_traceback() -> None:
    nobody_reads, out = os.pipe()
    os.close(nobody_reads)
    try:
        words = ["status", "--json", "--port", "/dev/no-such-screen"]
        done = subprocess.run([*COMMAND, *words], stdout=out, stderr=subprocess.PIPE, timeout=30, check=False)
    finally:
        os.close(out)
    assert (done.returncode, done.stderr) == (141, b"")
