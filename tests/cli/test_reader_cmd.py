import json
import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.cli.reader_machine import Machine, look_around
from edge_agent.simulation.acs_reader import AcsReader
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.simulation.pty_port import PtyPort
from edge_agent.simulation.serial_readers import aa_bb
from tests.fakes.control_stub import answering
from tests.fakes.port_tree import PortTree

NUMBER = bytes.fromhex("04A1B2C3D4")
CONFIG = """\
[terminal]
id = "sh-000123-a"
fleet = "sh"

[uplink]
host = "broker.example"

[control]
socket = "{folder}/control.sock"

"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge-agent.toml"
    path.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    return path


@pytest.fixture
def empty() -> Iterator[str]:
    port = PtyPort("nothing0")
    port.plug_in()
    yield str(port.path)
    port.discard()


def agent(folder: Path, *readers: dict[str, object]) -> AbstractContextManager[None]:
    """An agent with these readers."""
    return answering(folder / "control.sock", {"readers": list(readers)})


def probe(config: Path, *arguments: str) -> int:
    return main(["reader", "probe", "--config", str(config), *arguments])


def tables(out: str) -> list[dict[str, object]]:
    """The [[readers]] of the printed lines."""
    begin, end = out.index("[[readers]]"), out.index("\nNext: ")
    found: list[dict[str, object]] = tomllib.loads(out[begin:end])["readers"]
    return found


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_reader_that_is_found_comes_with_lines_that_the_configuration_takes(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pn532Emulator() as emulator:
        assert probe(config, "--port", emulator.device_path) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1 reader found\n")
    assert f"  {emulator_line(out)}" in out
    assert "PN532 v1.6 at 115200 baud" in out
    begin, end = out.index("[[readers]]"), out.index("\nNext: ")
    config.write_text(config.read_text(encoding="utf-8") + out[begin:end], encoding="utf-8")
    assert main(["config", "check", "--config", str(config)]) == 0
    assert err == ""  # no terminal, no talk
    assert tables(out)[0]["name"] == "nfc0"


def emulator_line(out: str) -> str:
    return next(line.split()[0] for line in out.splitlines() if "PN532" in line)


def test_a_reader_that_only_tells_numbers_is_told_to_see_no_phone_and_no_number_is_shown(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with aa_bb(baud=115200) as reader:
        reader.place(NUMBER)
        assert probe(config, "--port", reader.device_path, "--wait", "30") == 0
    out, _ = capsys.readouterr()
    assert "cannot see a phone" in " ".join(out.split())
    assert tables(out) == [
        {"name": "serial0", "driver": "serial", "device": tables(out)[0]["device"], "baud": 115200, "profile": "aa_bb"}
    ]
    assert NUMBER.hex() not in out.casefold().replace(" ", "")


def test_a_program_gets_one_object(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.readers.probe._ANSWER_WITHIN_S", 10.0)  # its speed is asked first
    with AcsReader() as reader:
        assert probe(config, "--port", reader.device_path, "--port", "/dev/no-such-port", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["found"], found["listened"]) == (1, False)
        acs, missing = found["ports"]
        assert (acs["state"], acs["profile"], acs["baud"], acs["sees_phones"]) == ("found", "acs_ccid", 9600, True)
        assert (missing["state"], "no reader at" in missing["error"]) == ("failed", True)
        (table,) = found["tables"]
        assert table["for"] == reader.device_path
        assert tomllib.loads(table["toml"])["readers"][0]["profile"] == "acs_ccid"


def test_the_output_fits_80_columns_and_only_the_lines_to_copy_are_not_wrapped(
    config: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with aa_bb(baud=115200) as reader:
        reader.place(NUMBER)
        probe(config, "--port", reader.device_path, "--port", empty, "--wait", "30")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if " = " not in line) <= 80


# -- what is not ------------------------------------------------------------------------------------------------------


def test_nothing_found_is_status_1_and_says_what_to_do_next(
    config: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(config, "--port", empty, "--wait", "0.2") == 1
    out = capsys.readouterr().out
    assert out.startswith("no reader found\n")
    assert "nothing answers, and no card was read" in " ".join(out.split())
    assert "check cable and power" in out
    assert probe(config, "--port", empty, "--wait", "0") == 1
    assert "reader probe --wait 60" in capsys.readouterr().out


def test_a_port_of_another_process_is_status_3(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pn532Emulator() as emulator:
        hold = (
            "import sys; from edge_agent.readers.serial_line import SerialLine;"
            "line = SerialLine(sys.argv[1], baud=9600, what='x'); line.open(); print('open', flush=True);"
            "sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", hold, emulator.device_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        try:
            assert probe(config, "--port", emulator.device_path) == 3
        finally:
            holder.communicate(timeout=30)
    assert "in use by another process" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["--port", "ttyUSB0"], ["--port", "usb:1"], ["--wait", "x"], ["--wait", "-1"]])
def test_wrong_usage_is_status_2(config: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        probe(config, *arguments)
    assert ended.value.code == 2


def test_a_usb_device_that_is_not_there_is_status_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(config, "--port", "usb:ffff:fffe") == 1
    assert "no USB device usb:ffff:fffe" in capsys.readouterr().err


# -- whose ports are whose --------------------------------------------------------------------------------------------


def test_a_reader_of_the_running_agent_is_left_alone_and_all_is_well(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pn532Emulator() as emulator:
        mine = {"name": "nfc0", "device": emulator.device_path, "chip": "PN532 v1.6"}
        with agent(tmp_path, mine):
            assert probe(config, "--port", os.path.realpath(emulator.device_path)) == 0
        assert not emulator.commands
    out = capsys.readouterr().out
    assert "PN532 v1.6, nfc0 of the running agent" in out
    assert "[[readers]]" not in out
    assert "nothing to do" in out


def test_another_reader_beside_it_gets_the_next_name(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pn532Emulator() as one, Pn532Emulator() as other:
        with agent(tmp_path, {"name": "nfc0", "device": one.device_path, "chip": "PN532 v1.6"}):
            assert probe(config, "--port", one.device_path, "--port", other.device_path) == 0
        out = capsys.readouterr().out
        assert out.startswith("2 readers found")
        assert tables(out) == [{"name": "nfc1", "driver": "pn532", "device": other.device_path}]


def test_a_reader_of_the_configuration_keeps_its_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pn532Emulator() as emulator:
        text = f'[[readers]]\nname = "lift-left"\ndriver = "pn532"\ndevice = "{emulator.device_path}"\n'
        config.write_text(config.read_text(encoding="utf-8") + text, encoding="utf-8")
        assert probe(config, "--port", emulator.device_path) == 0
    assert tables(capsys.readouterr().out)[0]["name"] == "lift-left"


def test_a_screen_of_the_configuration_gets_no_byte(
    config: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'[[screens]]\ndriver = "serial"\ndevice = "{empty}"\n'
    config.write_text(config.read_text(encoding="utf-8") + text, encoding="utf-8")
    assert probe(config, "--port", empty) == 1
    assert "a screen of the configuration, left alone" in " ".join(capsys.readouterr().out.split())


def test_a_broken_configuration_does_not_keep_it_from_looking(
    config: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[[[", encoding="utf-8")
    assert probe(config, "--port", empty, "--wait", "0") == 1
    assert "nothing answers" in capsys.readouterr().out


# -- the machine ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> PortTree:
    return PortTree(tmp_path / "root")


def test_all_ports_of_the_machine_are_tried_but_the_console(tree: PortTree, config: Path) -> None:
    console, uart = tree.solder("ttyS0"), tree.solder("ttyS1")
    usb = tree.plug("ttyUSB0")
    tree.console("ttyS0")
    to_try, spared = look_around(config, tree.root).to_try(None)
    assert to_try == [uart, usb]
    assert [(port.device, port.reader) for port in spared] == [(console, "")]


def test_a_port_that_is_named_twice_is_tried_once(tree: PortTree, config: Path) -> None:
    usb = tree.plug("ttyUSB0", by_id="usb-1")
    machine = look_around(config, tree.root)
    by_id = machine.ports[0].by_id
    assert by_id is not None
    assert machine.to_try([by_id, usb]) == ([by_id], [])
    assert machine.name_for_configuration(by_id) == (by_id, "")
    assert machine.name_for_configuration(usb) == (by_id, "")


def test_a_port_behind_a_link_of_udevs_rules_keeps_that_name(tree: PortTree) -> None:
    usb = tree.plug("ttyUSB0")
    link = tree.root / "dev" / "nfc-reader0"
    link.symlink_to("ttyUSB0")
    machine = Machine(look_around(tree.root / "none.toml", tree.root).ports)
    assert machine.name_for_configuration(str(link)) == (str(link), "")
    assert machine.name_for_configuration(usb) == ("usb:1a86:7523", "")


def test_a_configured_usb_name_is_known_by_its_port(tree: PortTree, config: Path) -> None:
    text = '[[readers]]\nname = "left"\ndriver = "serial"\ndevice = "usb:1a86:7523"\n'
    config.write_text(config.read_text(encoding="utf-8") + text, encoding="utf-8")
    usb = tree.plug("ttyUSB0")
    assert look_around(config, tree.root).configured == {Path(usb): "left"}


# -- people -----------------------------------------------------------------------------------------------------------


def test_at_a_terminal_it_asks_for_a_card_and_ctrl_c_ends_it_without_a_word(config: Path, empty: str) -> None:
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "edge_agent", "reader", "probe", "--config", str(config), "--port", empty]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        until = time.monotonic() + 60
        while b"hold a card" not in said and time.monotonic() < until:
            said += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"asking 1 port" in said
    assert process.returncode == 130
    assert out == b""


def test_no_other_command_pays_for_the_drivers() -> None:
    code = (
        "import sys, edge_agent.cli.main as m;"
        "m.parser_for('reader'); m.parser_for('status'); import edge_agent.cli.reader_cmd;"
        "print(sorted({'nfc', 'serial', 'smartcard', 'edge_agent.readers.probe', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
