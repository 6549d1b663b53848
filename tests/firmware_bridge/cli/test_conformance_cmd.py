"""``firmware-bridge conformance`` as an OEM runs it."""

import json
import os
import subprocess
import sys

import pytest

from firmware_bridge.cli.main import main
from firmware_bridge.conformance.runner import CHECKS
from firmware_bridge.messages import Capability, McuHello
from firmware_bridge.simulator import McuSimulator

pytestmark = pytest.mark.usefixtures("patient_checks")

# What keeps within a few seconds; the whole run takes half a minute and is a proof.
QUICK = ["hello", "framing", "noise", "cues", "limits", "status", "brightness", "events.stray_ack"]
ONLY = [word for name in QUICK for word in ("--only", name)]
# A loaded machine, not the simulator, is late: what 50 ms mean is tested in virtual time.
LATE = ["--ack-ms", "10000"]


def test_the_simulated_screen_passes(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        status = main(["conformance", "--port", simulator.device_path, *LATE, *ONLY])
    said, complained = capsys.readouterr()
    assert (status, complained) == (0, "")
    expected = sum(check.id in QUICK or check.group in QUICK for check in CHECKS)
    assert f"{expected} passed, 0 failed, 0 skipped in" in said
    assert said.rstrip().endswith("simulated 1.0.0")
    assert max(len(line) for line in said.splitlines()) <= 80


@pytest.mark.proof
def test_the_simulated_screen_passes_the_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        assert main(["conformance", "--port", simulator.device_path, *LATE]) == 0
    assert " 0 failed, 5 skipped in" in capsys.readouterr().out


def test_a_failure_is_status_1_and_json_tells_which(capsys: pytest.CaptureFixture[str]) -> None:
    liar = McuHello((1, 0, 0), Capability(0xC0), "liar")
    with McuSimulator(hello=liar) as simulator:
        arguments = ["conformance", "--port", simulator.device_path, "--only", "hello.fields", "--only", "cues.quiet"]
        assert main([*arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {check["id"]: check["verdict"] for check in document["checks"]} == {
        "hello.fields": "fail",
        "cues.quiet": "skip",
    }


def test_a_port_that_cannot_be_opened_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--port", "/dev/no-such-screen"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "firmware-bridge: /dev/no-such-screen: No such file or directory"
    assert "Is it plugged in?" in second


def test_an_address_at_which_nobody_listens_is_no_cable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--port", "tcp:127.0.0.1:1"]) == 1
    assert "whether something listens at that address" in capsys.readouterr().err


def test_list_needs_no_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list", "--only", "reset"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if not line.startswith(" ")] == [
        "reset.restarts",
        "reset.picture",
        "reset.hello_first",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "conformance needs --port DEV"),
        (["--port", "/dev/x", "--only", "dance"], "'dance' is no check and no group of checks"),
        (["--port", "/dev/x", "--interactive"], "--interactive needs a terminal to ask on"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("said", "status"), [("\n", 0), ("n\n", 1)])
def test_interactive_asks_whoever_stands_at_the_screen(said: str, status: int) -> None:
    keyboard, terminal = os.openpty()
    with McuSimulator() as simulator:
        command = ["conformance", "--port", simulator.device_path, "--only", "look.level", "--interactive"]
        process = subprocess.Popen(
            [sys.executable, "-m", "firmware_bridge", *command],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            os.write(keyboard, said.encode())
            out, asked = process.communicate(timeout=60)
        finally:
            process.kill()
            os.close(keyboard)
            os.close(terminal)
    assert ">> Is the screen darker now? [Y/n]" in asked
    assert process.returncode == status, out
    assert ("FAIL" if status else "PASS") + "  look.level" in out
