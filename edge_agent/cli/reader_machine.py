"""What is known of this machine before a port is touched: which ports there are, and whose they are.

A configuration that is broken, and an agent that does not answer, are no errors here: the probe is for those days, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.cli.commands import DEFAULT_SOCKET, load_config
from edge_agent.cli.status_view import tables_in, text_of
from edge_agent.control_client import ask
from edge_agent.errors import ConfigError, ControlError
from edge_agent.readers.ports import ROOT, SerialPort, lasting_name, list_ports, resolve


@dataclass(frozen=True, slots=True)
class Spared:
    """A port that is left as it is; ``reader`` is the agent's name for what is there, if it is one of its readers."""

    device: str
    why: str
    reader: str = ""


@dataclass(slots=True)
class Machine:
    """Ports, and what the configuration and the running agent say about them."""

    ports: tuple[SerialPort, ...]
    spared: dict[Path, Spared] = field(default_factory=dict)
    """By the file behind the path."""
    configured: dict[Path, str] = field(default_factory=dict)
    """Names of the configured readers, by the file behind the path."""
    names: set[str] = field(default_factory=set)
    """Names of readers that are taken."""
    pcsc: dict[str, str] = field(default_factory=dict)
    """The agent's names of PC/SC readers that it has, by their names in pcscd."""

    def to_try(self, wanted: Sequence[str] | None) -> tuple[list[str], list[Spared]]:
        """Return the ports to try, all or the ``wanted`` ones, each once, and those to leave alone.

        Raises ReaderError for a USB device that is not there.
        """
        devices = [port.path for port in self.ports] if wanted is None else [resolve(port) for port in wanted]
        by_file: dict[Path, str] = {}
        for device in devices:
            by_file.setdefault(Path(device).resolve(), device)
        known = [(device, self.spared[file]) for file, device in by_file.items() if file in self.spared]
        return (
            [device for file, device in by_file.items() if file not in self.spared],
            [Spared(device, spared.why, spared.reader) for device, spared in known],
        )

    def port_of(self, device: str) -> SerialPort | None:
        """The port behind a path, if the kernel lists it."""
        return next((port for port in self.ports if Path(port.path).resolve() == Path(device).resolve()), None)

    def name_for_configuration(self, device: str) -> tuple[str, str]:
        """The name that lasts longest, and a warning where it may not; a link that somebody made is as good as any."""
        port = self.port_of(device)
        if port is None or (Path(device).is_symlink() and Path(device) != Path(port.path)):
            return device, ""
        return lasting_name(port, self.ports)


def look_around(config: Path, root: Path = ROOT) -> Machine:
    """Read what the kernel, the configuration and the running agent tell; touches no port."""
    machine = Machine(list_ports(root))
    for port in machine.ports:
        if port.console:
            _spare(machine, Spared(port.path, "the system's console, left alone"))
    socket = _read_configuration(machine, config)
    try:
        status = ask(socket, {"op": "status"}, timeout_s=2.0)
    except ControlError:
        return machine  # no agent, or not ours to ask; what it has open is in use all the same
    for reader in tables_in(status, "readers"):
        name, device, chip = (text_of(reader.get(key) or "") for key in ("name", "device", "chip"))
        machine.names.add(name)
        if device.startswith("/"):
            _spare(machine, Spared(device, f"{chip}, {name} of the running agent", name))
        elif device == "pcscd":
            machine.pcsc[chip] = name
    return machine


def _read_configuration(machine: Machine, path: Path) -> Path:
    """Take in whose ports are whose; returns where the agent listens."""
    try:
        settings = load_config(path).settings
    except ConfigError:
        return DEFAULT_SOCKET
    for screen in settings.screens:
        if screen.driver == "serial":
            _spare(machine, Spared(str(screen.device), "a screen of the configuration, left alone"))
    for reader in settings.readers:
        machine.names.add(reader.name)
        if reader.driver in ("pn532", "serial"):
            configured = [reader.device] if reader.device.startswith("/") else _usb(machine, reader.device)
            machine.configured.update({Path(device).resolve(): reader.name for device in configured})
    return settings.control.socket


def _usb(machine: Machine, name: str) -> list[str]:
    from edge_agent.readers.port_names import UsbName, parse_port  # noqa: PLC0415 - few configurations have one

    usb = parse_port(name)
    return [port.path for port in machine.ports if isinstance(usb, UsbName) and port.goes_by(usb)]


def _spare(machine: Machine, spared: Spared) -> None:
    machine.spared[Path(spared.device).resolve()] = spared
