"""A board's serial number as a terminal id: real ones map, what makers leave in its place does not."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.enrolment.board import Serial, find_serial, is_serial, terminal_id_of
from edge_agent.errors import ConfigError

DEVICE_TREE = "sys/firmware/devicetree/base/serial-number"
DMI = "sys/class/dmi/id/product_serial"


def put(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "junk",
    [
        "To be filled by O.E.M.", "Default string", "System Serial Number", "Not Specified", "None", "N/A", "", " ",
        "0", "0000000000000000", "xxxxxxxx", "FFFFFFFF", "........", "0123456789", "123456789", "0x00000000", "ab1",
    ],
)  # fmt: skip
def test_what_makers_leave_in_its_place_is_no_serial(tmp_path: Path, junk: str) -> None:
    assert not is_serial(junk)
    put(tmp_path, DMI, junk.encode() + b"\n")
    put(tmp_path, DEVICE_TREE, junk.encode() + b"\0")
    put(tmp_path, "proc/cpuinfo", f"processor\t: 0\nSerial\t\t: {junk}\n".encode())
    assert find_serial(tmp_path) is None
    with pytest.raises(ConfigError, match="tells no board from another"):
        terminal_id_of(junk)


def test_the_device_tree_comes_first_then_the_cpu_then_dmi(tmp_path: Path) -> None:
    assert find_serial(tmp_path) is None
    board = put(tmp_path, "sys/class/dmi/id/board_serial", b"BSN-77\n")
    assert find_serial(tmp_path) == Serial("BSN-77", board)
    put(tmp_path, DMI, b"Default string\n")
    assert find_serial(tmp_path) == Serial("BSN-77", board)
    cpu = put(tmp_path, "proc/cpuinfo", b"processor\t: 0\nSerial\t\t: 00000000a1b2c3d4\nModel\t\t: Pi\n")
    assert find_serial(tmp_path) == Serial("00000000a1b2c3d4", cpu)
    tree = put(tmp_path, DEVICE_TREE, b"10000000abcdef01\0")
    assert find_serial(tmp_path) == Serial("10000000abcdef01", tree)


def test_a_place_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / DEVICE_TREE).mkdir(parents=True)
    dmi = put(tmp_path, DMI, b"PF-3X9Q\n")
    assert find_serial(tmp_path) == Serial("PF-3X9Q", dmi)


def test_serials_map_to_ids_and_long_ones_stay_apart() -> None:
    assert terminal_id_of("10000000ABCDEF01") == "10000000abcdef01"
    assert terminal_id_of("/6YTRG13/CN1296 02/") == "6ytrg13-cn1296-02"
    long = [terminal_id_of(f"VMware-42 2f 4c 9e 5d 77 3a 11-0a 1b 2c 3d {number}") for number in range(50)]
    assert len(set(long)) == 50
    assert all(len(name) == 24 or name[-9] == "-" for name in long)


@given(st.text(max_size=80))
def test_every_serial_maps_to_an_id_of_the_contract(text: str) -> None:
    if is_serial(text):
        assert re.fullmatch("[a-z0-9-]{1,24}", terminal_id_of(text))
