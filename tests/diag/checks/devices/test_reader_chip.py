from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.diag.checks.devices.reader_chip import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from edge_agent.readers.nfcpy_reader import _Pn532
from edge_agent.simulation.acs_reader import AcsReader
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.simulation.pty_port import PtyPort
from firmware_bridge.simulator import McuSimulator
from tests.fakes.device_site import DeviceSite, found, ids

PN532 = '[[readers]]\nname = "nfc0"\ndriver = "pn532"\ndevice = "{device}"\n'
ACS = '[[readers]]\nname = "{name}"\ndriver = "serial"\nprofile = "acs_ccid"\ndevice = "{device}"\nbaud = {baud}\n'
LINES = '[[readers]]\nname = "door0"\ndriver = "serial"\nprofile = "ascii_line"\ndevice = "{device}"\n'


@contextmanager
def silent_port() -> Iterator[Path]:
    port = PtyPort("silent0")
    port.plug_in()
    try:
        yield port.path
    finally:
        port.discard()


def lost(name: str, fault: str = "no_answer", error: str = "silent", **more: object) -> dict[str, object]:
    return {"readers": [{"name": name, "state": "lost", "fault": fault, "last_error": error, **more}]}


def test_a_terminal_without_serial_readers_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))


def test_the_running_agent_is_believed_and_its_port_left_alone(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator:
        told = {"name": "nfc0", "state": "polling", "chip": "PN532 v1.6", "device": "/dev/nfc-reader0"}
        site = DeviceSite(tmp_path, PN532.format(device=emulator.device_path), {"readers": [told]})
        assert list(CHECK.look(site)) == [Seen("PN532 v1.6 at /dev/nfc-reader0, polling", "nfc0")]
        assert not emulator.commands


def test_without_an_agent_the_chip_is_asked_itself(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator:
        (seen,) = CHECK.look(DeviceSite(tmp_path, PN532.format(device=emulator.device_path)))
    assert isinstance(seen, Seen)
    assert seen.text.startswith("PN532 v1.6 answers at")


def test_a_chip_that_was_left_at_another_speed_is_told_and_set_back_by_the_fix_alone(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator:
        crashed = _Pn532(emulator.device_path, 9600, SystemClock())
        crashed.open()
        crashed._frontend.device = None  # nobody says good-bye to the chip
        crashed.close()
        assert emulator.baud == 9600
        site = DeviceSite(tmp_path, PN532.format(device=emulator.device_path), lost("nfc0"))
        assert ids(CHECK.look, site) == ["reader-wrong-baud"]
        (finding,) = CHECK.look(site)  # it is still so: who only looks changes nothing
        assert isinstance(finding, Finding)
        assert "at 9600 baud" in finding.text
        assert emulator.baud == 9600
        assert finding.fix is not None
        finding.fix.run()
        assert emulator.baud == 115200
        assert ids(CHECK.look, site) == []


def test_another_reader_and_another_speed_are_told(tmp_path: Path) -> None:
    with AcsReader() as one, AcsReader() as two, AcsReader() as three:
        tables = PN532.format(device=one.device_path)
        tables += ACS.format(name="acs1", device=two.device_path, baud=57600)
        tables += ACS.format(name="acs2", device=three.device_path, baud=9600)
        assert [(kind, name) for kind, name, _ in found(CHECK.look, DeviceSite(tmp_path, tables))] == [
            ("reader-port-wrong", "nfc0"),
            ("reader-wrong-baud", "acs1"),
        ]


def test_what_is_at_a_port_without_a_reader_is_told(tmp_path: Path) -> None:
    """A deaf reader, one that speaks only when a card comes, and a screen; all ports are asked at once."""
    with silent_port() as one, silent_port() as other, McuSimulator() as screen:
        tables = PN532.format(device=screen.device_path).replace("nfc0", "nfc1")
        tables += PN532.format(device=one) + LINES.format(device=other)
        status = lost("nfc0", error="no PN532 answers", recovery="soft reset, failed")
        alone, wrong, deaf = CHECK.look(DeviceSite(tmp_path, tables, status))
    assert isinstance(wrong, Finding)
    assert (wrong.kind.id, wrong.subject, "a screen answers" in wrong.text) == ("reader-port-wrong", "nfc1", True)
    assert isinstance(deaf, Finding)
    assert (deaf.kind.id, deaf.text) == ("reader-deaf", "no PN532 answers; tried last: soft reset, failed")
    assert isinstance(alone, Seen)
    assert "speaks only when a card comes" in alone.text


def test_an_antenna_that_stays_off_is_told_without_a_word_to_the_chip(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator:
        status = lost("nfc0", "io", "the PN532 cannot switch its field on (it is too hot)")
        assert ids(CHECK.look, DeviceSite(tmp_path, PN532.format(device=emulator.device_path), status)) == [
            "reader-field-off"
        ]
        assert not emulator.commands


def test_what_is_no_port_is_told_and_what_the_port_check_tells_is_not_told_twice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert ids(CHECK.look, DeviceSite(tmp_path, PN532.format(device=tmp_path / "file"))) == ["reader-port-wrong"]
    assert ids(CHECK.look, DeviceSite(tmp_path, PN532.format(device="/dev/no-such-port"))) == []
    with silent_port() as port:
        for fault in ("taken", "no_permission"):
            assert ids(CHECK.look, DeviceSite(tmp_path, PN532.format(device=port), lost("nfc0", fault))) == []


def test_a_port_that_another_program_has_open_gets_no_byte(tmp_path: Path) -> None:
    """It may have taken no lock, and root is kept out by none."""
    with Pn532Emulator() as emulator:
        site = DeviceSite(tmp_path, PN532.format(device=emulator.device_path))
        fds = site.path("/proc/4242/fd")
        fds.mkdir(parents=True)
        (fds / "7").symlink_to(Path(emulator.device_path).resolve())
        site.path("/proc/4242/comm").write_text("minicom\n", encoding="utf-8")
        (seen,) = CHECK.look(site)
        assert isinstance(seen, Seen)
        assert seen.text.endswith("is open in minicom (process 4242)")
        assert not emulator.commands


def test_a_reader_that_only_speaks_is_sent_nothing(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator:
        (seen,) = CHECK.look(DeviceSite(tmp_path, LINES.format(device=emulator.device_path)))
        assert isinstance(seen, Seen)
        status = lost("door0", "not_understood", "noise")
        assert ids(CHECK.look, DeviceSite(tmp_path, LINES.format(device=emulator.device_path), status)) == [
            "reader-deaf"
        ]
        assert not emulator.commands
