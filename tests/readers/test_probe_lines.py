"""The lines that a technician pastes: the agent's own settings must take them, and mean the same."""

import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import load
from edge_agent.readers import probe_lines
from edge_agent.readers.probe_plan import CANDIDATES, CCID_BAUDS, LISTEN_BAUDS, Candidate
from edge_agent.readers.profiles.base import ProfileSettings

TERMINAL = """\
[terminal]
id = "sh-000123-a"
fleet = "sh"

[uplink]
host = "broker.example"

"""
PORT = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"


def read_back(folder: Path, lines: list[str]) -> Any:
    path = folder / "edge-agent.toml"
    path.write_text(TERMINAL + "\n".join(lines) + "\n", encoding="utf-8")
    (reader,) = load(path, {}).settings.readers
    return reader


def test_a_pn532_is_two_lines_more_than_nothing(tmp_path: Path) -> None:
    lines = probe_lines.pn532("nfc0", PORT)
    assert lines == ["[[readers]]", 'name = "nfc0"', 'driver = "pn532"', f'device = "{PORT}"']
    assert read_back(tmp_path, lines).baud == 115200


@pytest.mark.parametrize("candidate", CANDIDATES, ids=str)
@pytest.mark.parametrize("baud", LISTEN_BAUDS)
def test_a_serial_reader_reads_back_as_what_was_found(tmp_path: Path, candidate: Candidate, baud: int) -> None:
    reader = read_back(tmp_path, probe_lines.serial("serial0", "usb:0403:6001", baud, candidate.settings))
    found = candidate.settings
    assert (reader.driver, reader.device, reader.baud, reader.profile) == (
        "serial", "usb:0403:6001", baud, found.profile,
    )  # fmt: skip
    assert (bytes.fromhex(reader.head), bytes.fromhex(reader.tail)) == (found.head, found.tail)
    assert (reader.length, reader.checksum) == (found.length, found.checksum)


def test_what_is_the_default_is_left_out() -> None:
    lines = probe_lines.serial("serial0", PORT, 9600, ProfileSettings("aa_bb", length="frame"))
    assert lines[3:] == [f'device = "{PORT}"', "baud = 9600", 'profile = "aa_bb"', 'length = "frame"']


@pytest.mark.parametrize("baud", CCID_BAUDS)
def test_a_reader_that_speaks_ccid_may_ignore_cards(tmp_path: Path, baud: int) -> None:
    lines = probe_lines.serial("serial0", PORT, baud, ProfileSettings("acs_ccid"))
    assert read_back(tmp_path, [*lines, 'cards = "ignore"']).profile == "acs_ccid"


def test_a_pcsc_reader_reads_back(tmp_path: Path) -> None:
    name = r'ACS "ACR1252" \ Dual [PICC]'
    assert read_back(tmp_path, probe_lines.pcsc("usb0", name)).reader == name


@given(st.text(string.printable), st.integers())
def test_any_text_survives_toml_as_long_as_a_configuration_may_hold_it(text: str, number: int) -> None:
    text = "".join(filter(" ".__le__, text)).replace("\x7f", "")
    lines = probe_lines.table("x", "y", text=text, number=number)
    assert tomllib.loads("\n".join(lines)) == {
        "readers": [{"name": "x", "driver": "y", "text": text, "number": number}]
    }


@given(st.lists(st.integers(0, 9), unique=True))
def test_a_new_reader_gets_the_first_name_that_is_free(numbers: list[int]) -> None:
    taken = {f"nfc{number}" for number in numbers}
    name = probe_lines.free_name("nfc", taken)
    assert name not in taken
    assert {f"nfc{number}" for number in range(int(name[3:]))} <= taken
