import json
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.control_stub import answering

CONFIG = """\
[terminal]
id = "sh-000123-a"
fleet = "sh"

[uplink]
host = "broker.example"

[control]
socket = "{folder}/control.sock"

"""
READER = '[[readers]]\nname = "{name}"\ndriver = "pn532"\ndevice = "{device}"\n\n'


def listed(folder: Path, tables: str, *words: str) -> int:
    path = folder / "edge-agent.toml"
    path.write_text(CONFIG.format(folder=folder) + tables, encoding="utf-8")
    return main(["reader", "list", "--config", str(path), *words])


def test_a_reader_at_its_port_is_listed_and_gets_no_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pn532Emulator() as emulator:
        assert listed(tmp_path, READER.format(name="nfc0", device=emulator.device_path)) == 0
        assert not emulator.commands
    out = capsys.readouterr().out
    assert out.startswith("1 reader, all there\n")
    assert "nfc0  pn532 at /" in out
    assert "nothing to do" in out


def test_what_the_agent_says_of_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"name": "nfc0", "state": "lost", "chip": "PN532 v1.6", "last_error": "no PN532 answers\x1b[2J"}
    with Pn532Emulator() as emulator, answering(tmp_path / "control.sock", {"readers": [told]}):
        assert listed(tmp_path, READER.format(name="nfc0", device=emulator.device_path)) == 1
    out = capsys.readouterr().out
    assert out.startswith("1 of 1 reader not there, or not at work\n")
    assert "lost, PN532 v1.6, no PN532 answers" in " ".join(out.split())
    assert "\x1b[2J" not in out
    assert "edge-agent doctor --only devices" in out


def test_a_reader_that_is_not_there_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = READER.format(name="a", device="/dev/no-such-port") + READER.format(name="b", device="usb:ffff:fffe")
    assert listed(tmp_path, tables) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "2 of 2 readers not there" in out
    assert "no USB device usb:ffff:fffe" in out


def test_a_program_gets_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pn532Emulator() as emulator:
        assert listed(tmp_path, READER.format(name="nfc0", device=emulator.device_path), "--json") == 0
    (reader,) = json.loads(capsys.readouterr().out)["readers"]
    assert (reader["name"], reader["driver"], reader["there"], reader["well"]) == ("nfc0", "pn532", True, True)


def test_without_a_reader_it_says_how_to_find_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(tmp_path, "") == 1
    out = capsys.readouterr().out
    assert out.startswith("no reader is configured\n")
    assert "edge-agent reader probe" in out


def test_a_wrong_configuration_is_status_78(tmp_path: Path) -> None:
    assert listed(tmp_path, "[[[") == 78
