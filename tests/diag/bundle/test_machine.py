import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_agent.diag.bundle import machine
from edge_agent.diag.bundle.machine import CannotCollect


def test_versions_name_the_agent_and_its_libraries() -> None:
    found = machine.versions()
    assert found["edge-agent"]
    libraries = found["libraries"]
    assert isinstance(libraries, dict)
    assert set(libraries) >= {"cryptography", "nfcpy", "paho-mqtt", "structlog"}
    assert "pytest" not in libraries
    json.dumps(found)


def test_systemd_is_asked_for_nothing_that_may_hold_a_secret() -> None:
    asked: list[str] = []

    def call(words: Sequence[str]) -> str:
        asked.extend(words)
        return "ActiveState=active\n"

    assert machine.unit(call) == "ActiveState=active\n"
    assert not {"Environment", "SetCredential", "ExecStart"} & set(",".join(asked).replace("=", ",").split(","))


def test_of_the_kernel_only_what_concerns_the_terminal_is_kept() -> None:
    said = "usb 1-1: new device\nsomebody logged in\nEXT4-fs error\nUnder-voltage detected!\n"
    assert machine.kernel(lambda _: said).splitlines() == [
        "usb 1-1: new device",
        "EXT4-fs error",
        "Under-voltage detected!",
    ]
    assert len(machine.kernel(lambda _: "usb\n" * 5000).splitlines()) == machine.KERNEL_LINES


def test_the_network_is_told_without_an_address(tmp_path: Path) -> None:
    for name, state in (("eth0", "up"), ("wlan0", "down")):
        folder = tmp_path / "sys/class/net" / name
        (folder / "statistics").mkdir(parents=True)
        (folder / "operstate").write_text(f"{state}\n")
        (folder / "address").write_text("00:1a:2b:3c:4d:5e\n")
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text("Iface Destination Gateway\neth0 00000000 0102A8C0\nwlan0 0002A8C0 0\n")
    found = machine.network(tmp_path)
    assert [(entry["name"], entry["state"], entry["default_route"]) for entry in found] == [
        ("eth0", "up", True),
        ("wlan0", "down", False),
    ]
    assert "00:1a" not in json.dumps(found)


def test_the_clock_is_told_without_timedatectl_too() -> None:
    def call(_: Sequence[str]) -> str:
        raise CannotCollect("timedatectl is not installed")

    told = machine.clock(call)
    assert told.startswith("unix=")
    assert told.endswith("timedatectl is not installed\n")


def test_real_commands_are_bounded_and_what_they_complain_of_is_told(tmp_path: Path) -> None:
    assert machine.run(["sh", "-c", "echo out; exit 3"]) == "out\n"
    with pytest.raises(CannotCollect, match="no-such-command is not installed"):
        machine.run(["no-such-command"])
    with pytest.raises(CannotCollect, match="sh ended with status 4: why and how"):
        machine.run(["sh", "-c", "echo why >&2; echo and how >&2; exit 4"])


def test_the_parts_of_this_machine_can_be_had() -> None:
    assert "Filesystem" in machine.disk()
    assert "MemTotal" in machine.load()
    assert isinstance(machine.serial_ports(), list)
