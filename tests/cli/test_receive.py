import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.cloud.keyset import KeyEntry, KeySet
from edge_agent.uplink.export_file import CHECKPOINT, GAP, TAP, ExportHeader, ExportItem, write_export
from edge_agent.uplink.wire import Topics
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_terminal import MqttTerminal
from tests.fakes.tapping_terminal import TappingTerminal
from tests.fakes.waiting import eventually


def entry(terminal: TappingTerminal) -> KeyEntry:
    public = terminal.key.public
    return KeyEntry(
        kid=public.kid.hex(),
        alg="EdDSA",
        public_cose_hex=public.cose_key().hex(),
        fleet=terminal.fleet,
        terminal=terminal.terminal,
    )


@pytest.fixture
def broker(tmp_path: Path, require_system: Callable[[str], str]) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path) as running:
        yield running


@pytest.fixture
def no_log_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging is set up once in a process: here it would stay behind for all other tests."""
    monkeypatch.setattr("edge_agent.logs.configure", lambda *_args: None)


class Receiving:
    """The command in a process of its own; what it prints goes to files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        command = [sys.executable, "-m", "edge_agent", "receive", *options]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    @property
    def lines(self) -> list[str]:
        return self._out.read_text(encoding="utf-8").splitlines()

    @property
    def log(self) -> str:
        return self._err.read_text(encoding="utf-8")

    async def logged(self, event: str, times: int = 1) -> None:
        await eventually(lambda: self.log.count(event) >= times)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@contextmanager
def receiving(folder: Path, broker: Mosquitto, *options: str) -> Iterator[Receiving]:
    paths = ("--ledger", str(folder / "ledger.db"), "--keys", str(folder / "keys.json"))
    running = Receiving(folder, "--host", broker.host, "--port", str(broker.port), *paths, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


async def test_it_prints_each_tap_and_a_summary_and_learns_keys_by_sighup(tmp_path: Path, broker: Mosquitto) -> None:
    known, new = TappingTerminal("sh-1-a"), TappingTerminal("sh-2-a")
    registry = tmp_path / "keys.json"
    KeySet([entry(known)]).save(registry)
    now = int(time.time())
    with receiving(tmp_path, broker, "--json", "--group", "test") as command:
        await command.logged("uplink_up")
        async with (
            MqttTerminal(broker.host, broker.port, Topics("sh", "sh-1-a")) as first,
            MqttTerminal(broker.host, broker.port, Topics("sh", "sh-2-a")) as second,
        ):
            await first.tap(known.tap(iat=now, exp=now + 90))
            token = new.tap(iat=now, exp=now + 90)
            await second.tap(token)
            await first.acked(1)
            KeySet([entry(known), entry(new)]).save(registry)
            command.process.send_signal(signal.SIGHUP)
            await command.logged("key_registry_read")
            await second.tap(token)
            await second.acked(1)
            registry.write_text("{")
            command.process.send_signal(signal.SIGHUP)
            await command.logged("key_registry_refused")
            await second.tap(token)
            await eventually(lambda: len(command.lines) == 4)
        assert command.end() == 0
    *taps, summary = [json.loads(line) for line in command.lines]
    assert [tap["verdict"] for tap in taps] == ["fresh", "unknown_key", "fresh", "duplicate"]
    assert [tap["seq"] for tap in taps] == [1, None, 1, 1]
    assert summary["event"] == "summary"
    assert sum(summary["counts"].values()) == 4


async def test_people_get_one_line_for_each_tap(tmp_path: Path, broker: Mosquitto) -> None:
    terminal = TappingTerminal("sh-1-a")
    KeySet([entry(terminal)]).save(tmp_path / "keys.json")
    with receiving(tmp_path, broker, "--results") as command:
        await command.logged("uplink_up")
        async with MqttTerminal(broker.host, broker.port, Topics("sh", "sh-1-a")) as wire:
            await wire.tap(b"junk")
            await eventually(lambda: command.lines)
        assert command.end() == 0
    assert command.lines[0].startswith("malformed")
    assert "sh/sh-1-a" in command.lines[0]


@pytest.mark.usefixtures("no_log_setup")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "--host: is missing"),
        (["--host", "mqtt://x"], '--host: got "mqtt://x", expected a host name or IP address, without scheme and port'),
        (["--host", "x", "--port", "99999"], "--port: got 99999, expected a whole number from 1 to 65535"),
        (["--host", "x", "--cert", "c.pem"], "`cert` and `key` belong together"),
        (["--host", "x", "--no-tls", "--ca", "c.pem"], "for TLS, which is off"),
        (["--host", "x", "--group", "A B"], '--group: got "A B", expected 1 to 24 characters of a-z, 0-9, _ and -'),
        (["--host", "x", "--fleet", "A/B"], "--fleet: "),
        (["--host", "x", "--results", "none.toml"], "none.toml"),
        (["--host", "localhost", "--keys", "none.json"], "none.json"),
        (["--config", "none.toml"], "none.toml"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["receive", *options]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert problem in lines[0]


@pytest.mark.usefixtures("no_log_setup")
def test_a_ledger_that_is_none_ends_the_command_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database at all" * 100)
    KeySet().save(tmp_path / "keys.json")
    options = ["--ledger", str(tmp_path / "ledger.db"), "--keys", str(tmp_path / "keys.json")]
    assert main(["receive", "--host", "localhost", *options]) == 1
    assert "ledger.db" in capsys.readouterr().err


@pytest.mark.usefixtures("no_log_setup")
def test_options_win_over_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "edge-agent.toml"
    config.write_text(
        '[terminal]\nid = "cloud"\nfleet = "sh"\n[uplink]\nhost = "broker.example"\n'
        '[receiver]\nkeys = "/nowhere/a.json"\n'
    )
    assert main(["receive", "--config", str(config)]) == 78
    assert "/nowhere/a.json" in capsys.readouterr().err
    assert main(["receive", "--config", str(config), "--keys", "/nowhere/b.json"]) == 78
    assert "/nowhere/b.json" in capsys.readouterr().err


def exported(path: Path, terminal: TappingTerminal, items: list[tuple[str, bytes]]) -> Path:
    with path.open("wb") as file:
        header = ExportHeader(terminal.fleet, terminal.terminal, int(time.time()))
        write_export(file, header, [ExportItem(*item) for item in items])
    return path


@pytest.fixture
def stick(tmp_path: Path) -> tuple[Path, list[str]]:
    """A file that was carried home, and the options of a receiver that knows its key."""
    terminal = TappingTerminal("sh-1-a")
    KeySet([entry(terminal)]).save(tmp_path / "keys.json")
    tokens = terminal.taps(9)
    items = [(TAP, token) for token in (*tokens[:3], *tokens[6:])]
    items += [(GAP, terminal.gap(4, 5)), (CHECKPOINT, terminal.checkpoint())]
    options = ["--ledger", str(tmp_path / "ledger.db"), "--keys", str(tmp_path / "keys.json")]
    return exported(tmp_path / "sh-1-a.tap", terminal, items), options


def test_a_file_carried_home_is_taken_in_once_and_told_in_plain_words(
    stick: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    file, options = stick
    for stored, there in ((6, 0), (0, 6)):
        assert main(["receive", *options, "--import", str(file)]) == 0
        out = capsys.readouterr().out
        assert "sh-1-a.tap: OK, all of it is in the ledger" in " ".join(out.split())
        assert "6 tokens and 2 records of sh/sh-1-a" in out
        assert all(len(line) <= 80 for line in out.splitlines())
        assert "Next: what is missing may still be in the terminal" in out
        assert re.search(rf"stored {stored}( \(6 [a-z_]+\))?, there already {there}, refused none", out)
        assert "through 9, missing 6" in out


def test_an_import_of_several_files_says_each_and_fails_for_the_bad_ones(
    stick: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, options = stick
    torn = tmp_path / "torn.tap"
    torn.write_bytes(file.read_bytes()[:-30])
    foreign = exported(tmp_path / "foreign.tap", TappingTerminal("sh-2-a"), [(TAP, TappingTerminal("sh-2-a").tap())])
    missing = tmp_path / "missing.tap"
    paths = [str(path) for path in (torn, missing, foreign, file)]
    assert main(["receive", *options, "--json", "--import", *paths]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == paths
    assert "cut short" in lines[0]["fault"]
    assert lines[0]["stored"] == 6, "what it held before the tear"
    assert "cannot be read" in lines[1]["fault"]
    assert lines[2]["refused"] == {"unknown_key": 1}
    assert (lines[3]["duplicates"], lines[3]["fault"]) == (6, "")
    assert lines[3]["chains"][0]["missing"] == [[6, 6]]
    assert main(["receive", *options, "--import", str(foreign)]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM, 1 item refused" in " ".join(out.split())
    assert "1 unknown_key" in out
    assert "Next: put the terminal's key into the registry" in out


def test_an_import_with_no_registry_says_so_and_touches_nothing(
    stick: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, options = stick
    (tmp_path / "keys.json").unlink()
    assert main(["receive", *options, "--import", str(file)]) == 78
    assert "keys.json" in capsys.readouterr().err
    assert not (tmp_path / "ledger.db").exists()


async def test_people_and_programs_hear_of_gap_records(tmp_path: Path, broker: Mosquitto) -> None:
    terminal = TappingTerminal("sh-1-a")
    KeySet([entry(terminal)]).save(tmp_path / "keys.json")
    terminal.taps(3)
    for options, expected in (((), "gap_record    sh/sh-1-a"), (("--json",), '"event": "gap_record"')):
        with receiving(tmp_path, broker, *options) as command:
            await command.logged("uplink_up")
            async with MqttTerminal(broker.host, broker.port, Topics("sh", "sh-1-a")) as wire:
                await wire.gap(terminal.gap(1, 3))
                await wire.acked(3)
                await eventually(lambda: command.lines)
            assert command.end() == 0
        assert expected in command.lines[0]


def test_help_costs_no_heavy_import() -> None:
    script = (
        "import sys; from edge_agent.cli.main import main\ntry: main(['receive', '--help'])\nexcept SystemExit: pass\n"
    )
    script += "print([m for m in ('paho', 'sqlite3', 'pydantic', 'cryptography', 'asyncio') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=dict(os.environ))
    assert ended.stdout.decode().splitlines()[-1] == "[]"
