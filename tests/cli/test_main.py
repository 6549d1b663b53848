import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.cli import status_cmd
from edge_agent.cli.commands import COMMANDS
from edge_agent.cli.main import main
from edge_agent.errors import ConfigError, EdgeAgentError, ExitCode, KeyFileError

EDGE_AGENT = [sys.executable, "-m", "edge_agent"]


def test_help_names_every_command_and_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in text
        assert command.help in text
    assert "78 configuration" in text


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: edge-agent" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nope"], ["--nope"], ["config"], ["config", "nope"], ["status", "--nope"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: " in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-3", "many", "1.5", "9" * 5000])
def test_a_number_of_taps_that_cannot_be(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--taps", number])
    assert caught.value.code == 2
    assert "expected a whole number from 1" in capsys.readouterr().err.splitlines()[-1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("edge-agent 0.")


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError(["a.toml:1: [x] wrong", "a.toml:2: [y] wrong"]), 78, "a.toml:1: [x] wrong\na.toml:2: [y] wrong\n"),
        (KeyFileError("no key", remedy="make one"), 78, "edge-agent: no key\n  make one\n"),
        (EdgeAgentError("odd"), 1, "edge-agent: odd\n"),
    ],
)
def test_an_error_is_one_line_its_remedy_and_a_status(
    error: EdgeAgentError,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_args: object) -> int:
        raise error

    monkeypatch.setattr(status_cmd, "run", run)
    assert main(["status"]) == status
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", text)


def test_a_long_remedy_is_wrapped_for_a_person_and_never_cuts_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise KeyFileError(
            "no key → none at all, nowhere, and nobody who could make another one in its place today",
            remedy="to get one, so that this terminal can sign, run `edge-agent keys init` " * 3,
        )

    monkeypatch.setattr(status_cmd, "run", fail)
    main(["status"])
    assert len(capsys.readouterr().err.splitlines()) == 2, "a journal gets one line, to be searched and copied"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    main(["status"])
    said = capsys.readouterr().err.splitlines()
    assert len(said) > 4
    assert all(len(line) <= 80 for line in said)
    assert "edge-agent" in " ".join(said)
    assert not any(line.endswith("edge-") for line in said)


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_cmd, "run", run)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sample = Path(__file__).parents[2] / "config" / "edge-agent.toml"
    try:
        done = subprocess.run(
            [*EDGE_AGENT, "config", "show", "--config", sample],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode in {141, -signal.SIGPIPE}


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from edge_agent.cli.main import parser_for; parser_for('').format_help();"
        "heavy = {'pydantic', 'structlog', 'asyncio', 'cryptography', 'nfc', 'paho', 'sqlite3', 'socket'};"
        "print(sorted(heavy & set(sys.modules)), [m for m in sys.modules if m.startswith('edge_agent.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['edge_agent.cli.commands', 'edge_agent.cli.main']"


def test_status_does_not_wait_for_the_configuration_models() -> None:
    code = (
        "import sys; from edge_agent.cli.main import main; main(['status', '--socket', '/nonexistent/s']);"
        "print(sorted({'pydantic', 'structlog', 'asyncio', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What a command on a ladder must not wait for; nothing but what it is for may load one of them.
HEAVY = {
    "pydantic", "structlog", "asyncio", "cryptography", "nfc", "paho", "sqlite3", "serial", "cbor2", "bleak", "h11",
    "email", "http.client", "importlib.metadata", "tarfile",
}  # fmt: skip


def loaded(*words: str) -> set[str]:
    """Which of HEAVY a command has loaded when it ends."""
    code = (
        "import contextlib, io, sys; from edge_agent.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(sys.argv[1:])\n"
        f"print(*({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_keeps_its_help_waiting(name: str) -> None:
    assert loaded(name, "--help") == set()


def test_what_a_technician_asks_at_first_waits_for_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[terminal]\nid = "t"\n[control]\nsocket = "/nonexistent/s"\n')
    (tmp_path / "log").write_text('{"event":"x","level":"info"}\n')
    asked = ["--config", str(tmp_path / "x.toml")]
    for words in (["--version"], ["status", *asked], ["identify", *asked], ["logs", "--file", str(tmp_path / "log")]):
        assert loaded(*words) == set(), words
    assert loaded("doctor", "--list-checks") & {"pydantic", "nfc", "paho"} == set()


def test_the_search_for_what_is_heavy_finds_it() -> None:
    sample = Path(__file__).parents[2] / "config" / "edge-agent.toml"
    assert "pydantic" in loaded("config", "check", "--config", str(sample))


def test_exit_codes_are_those_of_the_design() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "PROBLEM": 1, "USAGE": 2, "COULD_NOT_LOOK": 3, "RESTART": 75, "CONFIG": 78,
    }  # fmt: skip
