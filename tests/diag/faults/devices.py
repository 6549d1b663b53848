"""What breaks between the terminal and its readers and screens."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from edge_agent.diag.checks.devices.page import COMES_BACK_S
from edge_agent.readers import service
from edge_agent.readers.service import ReopenDelays
from edge_agent.simulation.acs_reader import AcsReader
from edge_agent.simulation.pty_port import PtyPort
from firmware_bridge.messages import Capability, EventCode, McuEvent, McuHello
from firmware_bridge.simulator import McuSimulator
from tests.diag.faults.base import Fault
from tests.diag.faults.healthy_root import put
from tests.diag.faults.terminal import Terminal
from tests.fakes.mosquitto import free_port

_HOLD = (
    "import sys; from edge_agent.readers.serial_line import SerialLine;"
    "line = SerialLine(sys.argv[1], baud=9600, what='x'); line.open(); print('open', flush=True); sys.stdin.read()"
)
_PORT = 'driver = "pn532"\ndevice = "{device}"\nbaud = 115200\npoll_ms = 20\n'


@contextmanager
def reader_unplugged(terminal: Terminal) -> Iterator[None]:
    terminal.reader.unplug()
    terminal.until(lambda: _reader(terminal)["state"] == "lost", "word of a lost reader")
    yield


@contextmanager
def another_reader_at_the_port(terminal: Terminal) -> Iterator[None]:
    with AcsReader() as other:
        _other_reader(terminal, _PORT.format(device=other.device_path))
        yield


@contextmanager
def reader_at_another_speed(terminal: Terminal) -> Iterator[None]:
    with AcsReader(baud=9600) as reader:
        table = f'driver = "serial"\nprofile = "acs_ccid"\ndevice = "{reader.device_path}"\nbaud = 57600\n'
        _other_reader(terminal, table)
        yield


@contextmanager
def port_held(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    command = [sys.executable, "-c", _HOLD, terminal.reader.device_path]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    put(terminal.root, "/proc/4242/comm", "ModemManager\n")
    fds = terminal.root / "proc/4242/fd"
    fds.mkdir()
    (fds / "7").symlink_to(Path(terminal.reader.device_path).resolve())
    try:
        terminal.start_agent()
        terminal.until(lambda: _reader(terminal)["fault"] == "taken", "word of a port in use")
        terminal.until_settled()
        yield
    finally:
        holder.communicate(timeout=30)


@contextmanager
def reader_deaf(terminal: Terminal) -> Iterator[None]:
    port = PtyPort("deaf0")
    port.plug_in()
    try:
        _other_reader(terminal, _PORT.format(device=port.path))
        yield
    finally:
        terminal.stop_agent()
        port.discard()


@contextmanager
def antenna_broken(terminal: Terminal) -> Iterator[None]:
    terminal.reader.break_antenna()
    terminal.reader.unplug()
    terminal.reader.replug()
    terminal.until(lambda: "field" in _reader(terminal)["last_error"], "word of a field that stays off")
    terminal.until(lambda: _reader(terminal)["state"] == "lost", "lost reader")
    yield


@contextmanager
def latency_timer(terminal: Terminal) -> Iterator[None]:
    tty = Path(terminal.reader.device_path).resolve().name
    put(terminal.root, f"/sys/bus/usb-serial/devices/{tty}/latency_timer", "16\n")
    yield


@contextmanager
def autosuspend(terminal: Terminal) -> Iterator[None]:
    tty = Path(terminal.reader.device_path).resolve().name
    usb = "/sys/devices/pci0000:00/usb1/1-1"
    put(terminal.root, f"{usb}/idVendor", "1a86\n")
    put(terminal.root, f"{usb}/power/control", "auto\n")
    put(terminal.root, f"{usb}/1-1:1.0/{tty}/port_number", "0\n")
    entry = terminal.root / "sys/class/tty" / tty
    entry.mkdir(parents=True)
    (entry / "device").symlink_to(terminal.root / f"{usb}/1-1:1.0/{tty}".lstrip("/"))
    yield


@contextmanager
def pcscd_missing(terminal: Terminal) -> Iterator[None]:
    _other_reader(terminal, 'driver = "pcsc"\n')
    yield


@contextmanager
def i2c_off(terminal: Terminal) -> Iterator[None]:
    tag = '[tickets]\nhost = "t.example.net"\n\n[[tags]]\nname = "tag0"\ndriver = "ntag_i2c"\nbus = "/dev/i2c-77"\n\n'
    terminal.edit("[control]", f"{tag}[control]")
    terminal.restart_agent()
    terminal.until(lambda: _of(terminal, "tags", "tag0")["state"] == "lost", "word of a lost tag")
    terminal.until_settled()
    yield


@contextmanager
def screen_unplugged(terminal: Terminal) -> Iterator[None]:
    terminal.screen.unplug()
    _down(terminal, "serial0")
    yield


@contextmanager
def mcu_dead(terminal: Terminal) -> Iterator[None]:
    terminal.screen.faults.deaf = True
    _down(terminal, "serial0")
    yield


@contextmanager
def mcu_of_another_version(terminal: Terminal) -> Iterator[None]:
    hello = McuHello((9, 0, 0), Capability.TEXT, "LX-9", version=2)
    with McuSimulator(hello=hello) as screen:
        terminal.edit(terminal.screen.device_path, screen.device_path)
        terminal.restart_agent()
        _down(terminal, "serial0")
        terminal.until_settled("serial0")
        yield


@contextmanager
def screen_reports_faults(terminal: Terminal) -> Iterator[None]:
    terminal.screen.fault_bits = 0x0003
    terminal.screen.unplug()
    terminal.screen.replug()
    terminal.until(lambda: bool(_of(terminal, "screens", "serial0")["faults"]), "fault bits")
    yield


@contextmanager
def screen_opened(terminal: Terminal) -> Iterator[None]:
    terminal.screen.raise_event(McuEvent(EventCode.TAMPER, b""))
    terminal.until(lambda: bool(_of(terminal, "screens", "serial0")["tampers"]), "word of the tamper switch")
    yield


@contextmanager
def page_port_taken(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    other = http.server.ThreadingHTTPServer(("127.0.0.1", terminal.page_port), _Other)
    thread = threading.Thread(target=other.serve_forever)
    thread.start()
    try:
        terminal.start_agent()
        _down(terminal, "web1")
        terminal.until_settled("web1")
        yield
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


@contextmanager
def nobody_opens_the_page(terminal: Terminal) -> Iterator[None]:
    terminal.edit(f"port = {terminal.page_port}", f"port = {free_port()}")
    terminal.restart_agent()
    terminal.until(lambda: _of(terminal, "screens", "web1")["since_s"] > COMES_BACK_S, "page")
    terminal.until_settled("web1")
    yield


@contextmanager
def no_bluetooth(terminal: Terminal) -> Iterator[None]:
    _with_ble_screen(terminal)
    yield


@contextmanager
def bluetooth_blocked(terminal: Terminal) -> Iterator[None]:
    put(terminal.root, "/sys/class/bluetooth/hci0/uevent", "")
    for name, value in (("type", "bluetooth"), ("name", "hci0"), ("hard", "0"), ("soft", "1")):
        put(terminal.root, f"/sys/class/rfkill/rfkill0/{name}", f"{value}\n")
    _with_ble_screen(terminal)
    yield


class _Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Another page."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>It works!</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name for it
        """Keep the output of the tests clean."""


def _reader(terminal: Terminal) -> dict[str, Any]:
    return _of(terminal, "readers", "nfc0")


def _of(terminal: Terminal, kind: str, name: str) -> dict[str, Any]:
    return next(table for table in terminal.status()[kind] if table["name"] == name)


def _down(terminal: Terminal, screen: str) -> None:
    terminal.until(lambda: _of(terminal, "screens", screen)["state"] == "down", f"word that {screen} is down")


def _other_reader(terminal: Terminal, table: str) -> None:
    """The agent begins anew with another reader, which it does not find."""
    terminal.edit(_PORT.format(device=terminal.reader.device_path), table)
    # A new one is at the port nearly whenever doctor asks it, and doctor can say no more then than the agent does.
    with mock.patch.object(service, "ReopenDelays", return_value=ReopenDelays(first=30.0)):
        terminal.restart_agent()
    terminal.until(lambda: _reader(terminal)["state"] == "lost", "word of a lost reader")
    terminal.until_settled()


def _with_ble_screen(terminal: Terminal) -> None:
    terminal.edit("[control]", '[[screens]]\ndriver = "ble"\nname = "LX-7"\n\n[control]')
    terminal.restart_agent()
    _down(terminal, "ble2")
    terminal.until_settled("ble2")


FAULTS = (
    Fault("reader unplugged", reader_unplugged, "reader-port-missing", "nfc0"),
    Fault("another reader at its port", another_reader_at_the_port, "reader-port-wrong", "nfc0"),
    Fault("wrong baud of a serial reader", reader_at_another_speed, "reader-wrong-baud", "nfc0"),
    Fault("reader's port held by ModemManager", port_held, "reader-port-busy", "nfc0"),
    Fault("reader dead", reader_deaf, "reader-deaf", "nfc0"),
    Fault("antenna broken", antenna_broken, "reader-field-off", "nfc0"),
    Fault("latency timer of 16 ms", latency_timer, "reader-latency-timer", "nfc0"),
    Fault("USB autosuspend on", autosuspend, "usb-autosuspend", "nfc0"),
    Fault("PC/SC reader without pcscd", pcscd_missing, "pcscd-down", "nfc0"),
    Fault("I2C bus of the tag switched off", i2c_off, "tag-bus-missing", "tag0"),
    Fault("screen unplugged", screen_unplugged, "screen-port-missing", "serial0"),
    Fault("screen's microcontroller dead", mcu_dead, "screen-dead", "serial0"),
    Fault("screen with firmware of another version", mcu_of_another_version, "screen-firmware-old", "serial0"),
    Fault("screen reports faults of its own", screen_reports_faults, "screen-faulty", "serial0"),
    Fault("screen's cabinet opened", screen_opened, "screen-tampered", "serial0"),
    Fault("page's port taken by another program", page_port_taken, "page-port-taken", "web1"),
    Fault("nobody has the page open", nobody_opens_the_page, "page-not-shown", "web1"),
    Fault("Bluetooth adapter missing", no_bluetooth, "ble-adapter-missing", "ble2"),
    Fault("Bluetooth switched off", bluetooth_blocked, "ble-blocked", "ble2"),
)
