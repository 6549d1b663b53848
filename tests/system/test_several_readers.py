"""Readers of three kinds in one agent, each by its real driver: whatever becomes of one, the others serve."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.readers.service import ReaderSnapshot, ReaderState
from edge_agent.settings import Checked
from edge_agent.simulation import serial_readers
from edge_agent.simulation.phones import SimulatedPhone, TapApp
from edge_agent.simulation.vpcd_card import VirtualCard, VirtualSlot
from edge_agent.tokens.tap_token import parse
from tests.fakes.pcscd import Pcscd, virtual_reader
from tests.fakes.whole_agent import WholeAgent

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

PN532, PCSC, SERIAL = "nfc0", "usb0", "serial0"
NAMES = (PN532, PCSC, SERIAL)
_MORE = """
[[readers]]
name = "usb0"
driver = "pcsc"
reader = "{pcsc}"

[[readers]]
name = "serial0"
driver = "serial"
device = "{serial}"
profile = "stx_etx_hex"
"""


class ThreeReaders(WholeAgent):
    """A PN532, a reader behind pcscd and an RDM6300 at one terminal."""

    def __init__(self, folder: Path, daemon: Pcscd, slot: VirtualSlot, **options: Any) -> None:
        super().__init__(folder, **options)
        self.daemon = daemon
        self.slot = slot
        self.rdm6300 = serial_readers.rdm6300()
        self._random = random.Random(3)

    def configured(self) -> Checked:
        super().configured()
        path = self.folder / "edge-agent.toml"
        text = path.read_text(encoding="utf-8")
        more = _MORE.format(pcsc=self.daemon.reader, serial=self.rdm6300.device_path)
        path.write_text(text.replace("\n[limits]", f"{more}\n[limits]"), encoding="utf-8")
        return checked(load(path, self._env))

    @property
    def reader(self) -> ReaderSnapshot:
        """The PN532."""
        return self.at(PN532)

    def at(self, name: str) -> ReaderSnapshot:
        """One reader of the agent of the moment."""
        return next(snap for reader in self.agent._readers if (snap := reader.snapshot()).name == name)

    async def at_work(self, *names: str) -> None:
        """Wait until these poll."""
        await self.until(lambda: {self.at(name).state for name in names} == {ReaderState.POLLING}, deadline_s=40)

    async def tap_at(self, name: str) -> None:
        """One tap that must be served, from an empty field to an empty field."""
        taps = self.at(name).taps
        served: Callable[[], object] = lambda: self.at(name).taps > taps  # noqa: E731 - it is only passed on
        if name == PN532:
            phone = SimulatedPhone()
            self.emulator.place(phone)
            await self.until(lambda: phone.tokens)
            await self.until(served)
            self.emulator.remove(phone)
        elif name == PCSC:
            app = TapApp(self._random)
            self.slot.insert(VirtualCard(app))
            await self.until(lambda: app.tokens)
            await self.until(served)
            self.slot.remove()
        else:
            self.rdm6300.place(self._random.randbytes(5))
            await self.until(served)
            self.rdm6300.remove()
        await self.at_work(name)

    async def all_but(self, name: str, *, taps: int = 2) -> None:
        """The others serve, one after the other and at once."""
        others = [other for other in NAMES if other != name]
        for _ in range(taps):
            for other in others:
                await self.tap_at(other)
            await asyncio.gather(*map(self.tap_at, others))

    async def told(self, name: str) -> dict[str, Any]:
        """What the status says of one reader."""
        return next(reader for reader in (await self.status())["readers"] if reader["name"] == name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ThreeReaders]:
    folder = tmp_path_factory.mktemp("three")
    with ExitStack() as stack:
        daemon = stack.enter_context(virtual_reader(folder))
        running = ThreeReaders(folder, daemon, stack.enter_context(VirtualSlot(daemon.port)))
        for hardware in (running.emulator, running.display, running.rdm6300):
            stack.enter_context(hardware)
        await running.start()
        try:
            await running.at_work(*NAMES)
            yield running
        finally:
            daemon.resume()
            await running.stop()


@asynccontextmanager
async def lost(terminal: ThreeReaders, name: str) -> AsyncIterator[None]:
    """Something happens to this reader: status and telemetry tell it of no other; at the end it is back."""
    await terminal.until(lambda: terminal.at(name).state is ReaderState.LOST)
    told = await terminal.told(name)
    assert (told["state"], bool(told["last_error"])) == ("lost", True)
    assert {(await terminal.told(other))["state"] for other in NAMES if other != name} == {"polling"}
    await terminal.has_component(name, "failed")
    parts = (await terminal.agent._reporter.telemetry()).components
    assert {other: parts[other] for other in NAMES} == dict.fromkeys(NAMES, "ok") | {name: "failed"}
    assert (await terminal.status())["health"]["state"] == "degraded", "people can tap at the others"
    yield
    await terminal.at_work(*NAMES)
    await terminal.has_component(name, "ok")
    await terminal.tap_at(name)


async def test_each_serves_and_the_status_tells_of_each(terminal: ThreeReaders) -> None:
    before = {name: terminal.at(name).taps for name in NAMES}
    for name in NAMES:
        await terminal.tap_at(name)
    await asyncio.gather(*map(terminal.tap_at, NAMES))
    told = {reader["name"]: reader for reader in (await terminal.status())["readers"]}
    assert {name: reader["taps"] - before[name] for name, reader in told.items()} == dict.fromkeys(NAMES, 2)
    assert [told[name]["chip"].split()[0] for name in NAMES] == ["PN532", "Virtual", "stx_etx_hex"]
    seqs = [parse(stored.token).claims.seq for stored in await terminal.issued()]
    assert sorted(seqs) == list(range(1, max(seqs) + 1)), "one chain, whoever read it"


async def test_while_pcscd_hangs_the_others_serve(terminal: ThreeReaders) -> None:
    terminal.daemon.pause()
    await terminal.tap_at(PN532)
    polled = terminal.at(PCSC).last_poll
    await terminal.all_but(PCSC)
    assert terminal.at(PCSC).last_poll == polled, "it answered after all: nothing was proved"
    terminal.daemon.resume()
    await terminal.at_work(*NAMES)
    await terminal.tap_at(PCSC)


async def test_while_pcscd_is_gone_the_others_serve(terminal: ThreeReaders) -> None:
    terminal.daemon.kill()
    async with lost(terminal, PCSC):
        await terminal.all_but(PCSC)
        terminal.daemon.start()


async def test_while_a_pn532_is_deaf_the_others_serve(terminal: ThreeReaders) -> None:
    hearing = terminal.emulator._take_in
    terminal.emulator._take_in = lambda _data: None  # type: ignore[method-assign]  # the fault
    async with lost(terminal, PN532):
        await terminal.all_but(PN532)
        vars(terminal.emulator)["_take_in"] = hearing


async def test_while_a_pn532_is_unplugged_the_others_serve(terminal: ThreeReaders) -> None:
    terminal.emulator.unplug()
    async with lost(terminal, PN532):
        await terminal.all_but(PN532)
        terminal.emulator.replug()


async def test_while_a_serial_reader_is_unplugged_the_others_serve(terminal: ThreeReaders) -> None:
    terminal.rdm6300.unplug()
    async with lost(terminal, SERIAL):
        await terminal.all_but(SERIAL)
        terminal.rdm6300.replug()


async def test_while_a_serial_reader_says_nothing_but_noise_the_others_serve(terminal: ThreeReaders) -> None:
    stopped = asyncio.Event()

    async def noise() -> None:
        rng = random.Random(1)
        while not stopped.is_set():
            terminal.rdm6300.noise(rng.randbytes(200))
            await asyncio.sleep(0.02)

    making = asyncio.create_task(noise())
    await terminal.all_but(SERIAL)
    stopped.set()
    await making
    await terminal.at_work(*NAMES)
    await terminal.tap_at(SERIAL)
