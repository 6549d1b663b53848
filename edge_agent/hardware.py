"""Builds readers, surfaces and screen links from the settings; simulated ones bring chip, phones and display along.

Whatever is started here ends with the ExitStack that is passed in.
"""

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import ConfigError
from edge_agent.readers.base import Reader
from edge_agent.readers.nfcpy_reader import NfcpyReader
from edge_agent.sanitize import printable
from firmware_bridge.cues import Lang
from firmware_bridge.links.base import ScreenLink
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.links.web import WebLink

if TYPE_CHECKING:
    from edge_agent.config import Settings
    from edge_agent.config.model import Reader as WantedReader
    from edge_agent.config.model import Screen
    from edge_agent.config.model import Tag as WantedTag
    from edge_agent.config.readers import PcscReader
    from edge_agent.config.readers import SerialReader as SerialReaderWanted
    from edge_agent.readers.pcsc_reader import InUse
    from edge_agent.simulation.field import TapOutcome
    from edge_agent.simulation.nt3h_bus import Nt3hBus, ReadOutcome
    from edge_agent.simulation.pn532_line import Pn532Emulator
    from edge_agent.tags.base import TicketSurface
    from edge_agent.tags.qr import ShowCode

log = structlog.get_logger(__name__)

SIMULATED_BAUD = 115_200
CODE_GRACE_S = 5.0
"""A code that is not replaced in time leaves the page so much later, whatever became of us."""


People = Callable[[], Coroutine[None, None, None]]
"""Simulated people at one reader or tag, for as long as it runs."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The parts, and the simulated people to run beside them (name and coroutine function)."""

    readers: tuple[Reader, ...]
    screens: tuple[ScreenLink, ...]
    people: tuple[tuple[str, People], ...]
    surfaces: tuple["TicketSurface", ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Whom people can hold a phone to."""
        return (*(reader.name for reader in self.readers), *(surface.name for surface in self.surfaces))


def people_at(name: str) -> str:
    """Return how the simulated people at a reader or tag are called among the parts."""
    return f"people-{name}"


def build(settings: "Settings", *, clock: Clock, until: ExitStack, show_code: "ShowCode | None" = None) -> Hardware:
    """Build everything named in the settings; opens nothing but the simulated hardware.

    ``show_code`` puts QR codes on the page; a surface that needs it is refused without it. Raises ConfigError.
    """
    people: list[tuple[str, People]] = []
    pcsc: InUse = {}
    readers = tuple(_reader(wanted, clock, until, people, pcsc) for wanted in settings.readers)
    terminal = settings.terminal.id
    screens = tuple(
        _screen(wanted, f"{wanted.driver}{index}", terminal, until) for index, wanted in enumerate(settings.screens)
    )
    app = settings.tickets.app
    surfaces = tuple(_surface(wanted, app, clock, people, show_code) for wanted in settings.tags)
    return Hardware(readers, screens, tuple(people), surfaces)


def real_reader(wanted: "WantedReader", clock: Clock, pcsc: "InUse | None" = None) -> Reader | None:
    """Return the reader of one table, not open yet; None for a simulated one. Raises ConfigError."""
    if wanted.driver == "pn532":
        annotation = bytes.fromhex(wanted.annotation or "")
        return NfcpyReader(
            wanted.name,
            wanted.device,
            clock=clock,
            baud=wanted.baud,
            annotation=annotation,
            poll_interval_s=wanted.poll_ms / 1000,
        )
    if wanted.driver == "pcsc":
        return _pcsc(wanted, clock, {} if pcsc is None else pcsc)
    if wanted.driver == "serial":
        return _serial(wanted, clock)
    return None


def _reader(
    wanted: "WantedReader", clock: Clock, until: ExitStack, people: list[tuple[str, People]], pcsc: "InUse"
) -> Reader:
    if wanted.driver != "simulated":
        real = real_reader(wanted, clock, pcsc)
        if real is None:
            raise ConfigError([f"readers: there is no driver {wanted.driver!r}"])
        return real
    from edge_agent.simulation.pn532_line import Pn532Emulator  # noqa: PLC0415 - a terminal has no need of it

    emulator = until.enter_context(Pn532Emulator(baud_model=SIMULATED_BAUD))
    people.append((people_at(wanted.name), _people(emulator, wanted.tap_every_s)))
    return NfcpyReader(
        wanted.name,
        emulator.device_path,
        clock=clock,
        baud=SIMULATED_BAUD,
        poll_interval_s=wanted.poll_ms / 1000,
    )


def _pcsc(wanted: "PcscReader", clock: Clock, in_use: "InUse") -> Reader:
    try:
        from edge_agent.readers.pcsc_reader import PcscReader  # noqa: PLC0415 - its library is an extra
    except ImportError as error:
        what = f'driver = "pcsc" needs a library that is missing here ({printable(str(error), 96)})'
        raise ConfigError([f"readers: {what}: apt-get install pcscd python3-pyscard, or edge-agent[pcsc]"]) from error
    uids = wanted.cards == "pseudonym"
    return PcscReader(wanted.name, reader=wanted.reader, clock=clock, read_uids=uids, in_use=in_use)


def _serial(wanted: "SerialReaderWanted", clock: Clock) -> Reader:
    from edge_agent.readers.profiles.base import ProfileSettings  # noqa: PLC0415 - most terminals have no such reader
    from edge_agent.readers.serial_reader import SerialReader  # noqa: PLC0415 - as above

    profile = ProfileSettings(
        wanted.profile,
        prefix=wanted.prefix,
        suffix=wanted.suffix,
        min_length=wanted.min_length,
        head=bytes.fromhex(wanted.head),
        tail=bytes.fromhex(wanted.tail),
        length=wanted.length,
        checksum=wanted.checksum,
        phone_uids=wanted.cards == "pseudonym",
    )
    return SerialReader(
        wanted.name,
        wanted.device,
        clock=clock,
        baud=wanted.baud,
        profile=profile,
        poll_interval_s=wanted.poll_ms / 1000,
    )


def _surface(
    wanted: "WantedTag",
    app: str | None,
    clock: Clock,
    people: list[tuple[str, People]],
    show_code: "ShowCode | None",
) -> "TicketSurface":
    """What a surface needs is imported here and nowhere else: a terminal without tags has no need of it."""
    if wanted.driver == "qr":
        from edge_agent.tags.qr import QrSurface  # noqa: PLC0415 - see above

        if show_code is None:
            raise ConfigError([f"tags: there is no page for the QR codes of {wanted.name}"])
        return QrSurface(wanted.name, show_code, life_s=wanted.rotate_s + CODE_GRACE_S, clock=clock)
    from edge_agent.tags.ntag_i2c import NtagI2c  # noqa: PLC0415 - see above

    if wanted.driver == "ntag_i2c":
        return NtagI2c(
            wanted.name,
            str(wanted.bus),
            clock=clock,
            address=wanted.address,
            poll_s=wanted.poll_ms / 1000,
            field_line=wanted.field_line,
            places=wanted.places,
            app=app,
        )
    from edge_agent.simulation.nt3h_bus import Nt3hBus  # noqa: PLC0415 - see above
    from edge_agent.simulation.nt3h_chip import Nt3hChip  # noqa: PLC0415 - see above

    bus = Nt3hBus(Nt3hChip(clock.monotonic))
    people.append((people_at(wanted.name), _tag_people(bus, wanted.read_every_s)))
    return NtagI2c(wanted.name, "simulated", clock=clock, app=app, open_bus=bus.open)


def _screen(wanted: "Screen", name: str, terminal: str, until: ExitStack) -> ScreenLink:
    if wanted.driver == "web":
        return WebLink(name, wanted.port, terminal_id=terminal, lang=wanted.lang)
    lang = Lang(wanted.lang)
    if wanted.driver == "serial":
        return SerialLink(name, str(wanted.device), terminal_id=terminal, baud=wanted.baud, lang=lang)
    if wanted.driver == "ble":
        from firmware_bridge.links.ble import BleLink  # noqa: PLC0415 - most terminals have no such screen

        target = wanted.address or wanted.name or ""  # the settings have one of them
        return BleLink(name, target, terminal_id=terminal, adapter=wanted.adapter, lang=lang)
    from firmware_bridge.simulator import McuSimulator  # noqa: PLC0415 - as above

    simulator = until.enter_context(McuSimulator())
    return SerialLink(name, simulator.device_path, terminal_id=terminal, lang=lang)


def _people(emulator: "Pn532Emulator", every_s: float) -> People:
    def tapped(outcome: "TapOutcome") -> None:
        log.info("simulated_tap", end=outcome.end.value)

    async def tap() -> None:
        from edge_agent.simulation.field import SimulatedField  # noqa: PLC0415 - as above

        await SimulatedField(emulator).run(every_s, tapped)

    return tap


def _tag_people(bus: "Nt3hBus", every_s: float) -> People:
    def read(outcome: "ReadOutcome") -> None:
        log.info("simulated_read", read=outcome.seen is not None)

    async def come() -> None:
        from edge_agent.simulation.nt3h_bus import TagReader  # noqa: PLC0415 - as above

        await TagReader(bus).run(every_s, read)

    return come
