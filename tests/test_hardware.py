"""From settings to readers and screens; simulated ones bring their chip and people, and end with the stack."""

import asyncio
import importlib.util
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_agent import hardware
from edge_agent.clock import SystemClock
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.errors import ConfigError, ReaderError
from edge_agent.models import Cue
from edge_agent.readers.base import RawUid, TargetKind
from edge_agent.readers.nfcpy_reader import NfcpyReader
from edge_agent.readers.serial_reader import SerialReader
from edge_agent.settings import Checked
from edge_agent.simulation import serial_readers
from edge_agent.simulation.acs_reader import AcsReader
from edge_agent.simulation.odd_phones import ObservingPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tags.base import TicketRead
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Advert, CueName, Words
from firmware_bridge.links.base import LinkState
from firmware_bridge.links.ble import BleLink
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.links.web import WebLink
from firmware_bridge.simulator import McuSimulator
from tests.conftest import skip_or_fail
from tests.fakes.waiting import eventually

TERMINAL = '[terminal]\nid = "sh-1"\nfleet = "sh"\n[uplink]\nhost = "127.0.0.1"\n'


def configured(folder: Path, text: str) -> Checked:
    path = folder / "edge-agent.toml"
    path.write_text(TERMINAL + text, encoding="utf-8")
    return checked(load(path, {}))


def test_nothing_is_built_that_was_not_asked_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, "").settings, clock=SystemClock(), until=stack)
    assert built == hardware.Hardware((), (), ())


def test_real_hardware_is_built_in_order_and_not_opened(tmp_path: Path) -> None:
    text = """
[[readers]]
driver = "pn532"
name = "left"
device = "/dev/no-such-reader-0"
[[readers]]
driver = "pn532"
name = "right"
device = "/dev/no-such-reader-1"
[[screens]]
driver = "web"
port = 0
lang = "zh-CN"
[[screens]]
driver = "serial"
device = "/dev/no-such-screen"
"""
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
    assert [reader.name for reader in built.readers] == ["left", "right"]
    assert all(isinstance(reader, NfcpyReader) for reader in built.readers)
    assert [(type(screen), screen.name) for screen in built.screens] == [(WebLink, "web0"), (SerialLink, "serial1")]
    assert built.people == ()


@pytest.mark.parametrize(("lang", "words"), [("zh-CN", "碰一碰"), ("en", "Tap here")])
async def test_a_serial_screen_speaks_the_language_of_its_settings(tmp_path: Path, lang: str, words: str) -> None:
    with McuSimulator() as display, ExitStack() as stack:
        text = f'[[screens]]\ndriver = "serial"\ndevice = "{display.device_path}"\nlang = "{lang}"\n'
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
        bridge = Bridge(built.screens, terminal_id="sh-1")
        bridge.set_advert(Advert(invite=Words("碰一碰", "Tap here")))
        serving = asyncio.create_task(bridge.run())
        await eventually(lambda: display.showing.text == words)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_a_ble_screen_is_built_with_what_finds_it_and_not_looked_for(tmp_path: Path) -> None:
    text = """
[[screens]]
driver = "ble"
address = "c0:ff:ee:00:12:34"
adapter = "hci1"
[[screens]]
driver = "ble"
name = "lift-screen-3"
"""
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
    links = [(screen.name, screen.kind, screen.target, screen.adapter) for screen in ble_screens(built)]
    assert links == [("ble0", "ble", "C0:FF:EE:00:12:34", "hci1"), ("ble1", "ble", "lift-screen-3", None)]


def ble_screens(built: hardware.Hardware) -> list[BleLink]:
    return [screen for screen in built.screens if isinstance(screen, BleLink)]


async def test_a_pn532_speaks_to_phones_in_observe_mode_as_configured(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator, ExitStack() as stack:
        text = f'[[readers]]\ndriver = "pn532"\ndevice = "{emulator.device_path}"\nannotation = "6A02C3017F"\n'
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
        (reader,) = built.readers
        emulator.place(ObservingPhone(bytes.fromhex("6a02c3017f"), clock=time.monotonic))
        await reader.open()
        session = await asyncio.wait_for(reader.next_session(), 10)
        assert session.target.kind is TargetKind.ISO_DEP
        await reader.close()


async def test_a_serial_reader_is_built_with_its_profile_and_reads(tmp_path: Path) -> None:
    with ExitStack() as stack:
        lines = stack.enter_context(serial_readers.ascii_line(prefix=b"<", suffix=b">", baud=19200))
        framed = stack.enter_context(serial_readers.aa_bb(repeat_s=None))
        phones = stack.enter_context(AcsReader())
        text = f"""
[[readers]]
driver = "serial"
name = "lines"
device = "{lines.device_path}"
baud = 19200
prefix = "<"
suffix = ">"
[[readers]]
driver = "serial"
name = "framed"
device = "{framed.device_path}"
profile = "aa_bb"
head = "AA00"
checksum = "none"
tail = "94BB"
[[readers]]
driver = "serial"
name = "phones"
device = "{phones.device_path}"
profile = "acs_ccid"
cards = "ignore"
"""
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
        assert [type(reader) for reader in built.readers] == [SerialReader] * 3
        chips = [(await reader.open()).chip for reader in built.readers]
        assert chips == [
            "ascii_line at 19200 baud, listening",
            "aa_bb at 9600 baud, listening",
            "acs_ccid, ACR1281S V103",
        ]
        lines.tap(b"\x16\x0f\xf4\x7f")
        session = await asyncio.wait_for(built.readers[0].next_session(), 15)
        assert session.target.uid == RawUid(b"\x16\x0f\xf4\x7f")
        for reader in built.readers:
            await reader.close()


@pytest.mark.parametrize(("cards", "uids"), [("ignore", False), ("pseudonym", True)])
def test_a_pcsc_reader_asks_for_uids_only_where_cards_are_wanted(tmp_path: Path, cards: str, uids: bool) -> None:
    if importlib.util.find_spec("smartcard") is None:
        skip_or_fail("no pyscard in this environment; to run this test: pip install 'edge-agent[pcsc]'")
    text = f'[[readers]]\ndriver = "pcsc"\nname = "usb"\nreader = "ACR1252"\ncards = "{cards}"\n'
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
    (reader,) = built.readers
    assert (reader.name, type(reader).__name__) == ("usb", "PcscReader")
    assert vars(reader)["_driver"]._read_uids is uids
    assert vars(reader)["_driver"]._wanted == "ACR1252"


def test_without_its_library_a_pcsc_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "edge_agent.readers.pcsc_reader", raising=False)
    checked = configured(tmp_path, '[[readers]]\ndriver = "pcsc"\n')
    with ExitStack() as stack, pytest.raises(ConfigError, match="install pcscd python3-pyscard"):
        hardware.build(checked.settings, clock=SystemClock(), until=stack)


async def test_simulated_hardware_works_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    text = '[[readers]]\ndriver = "simulated"\ntap_every_s = 0.5\n[[screens]]\ndriver = "simulated"\n'
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
        (reader,), (screen,), ((name, people),) = built.readers, built.screens, built.people
        assert (name, screen.name) == ("people-nfc0", "simulated0")
        info = await reader.open()
        assert info.chip.startswith("PN532")
        tapping = asyncio.create_task(people())
        async with asyncio.timeout(15):
            session = await reader.next_session()
        await session.close()
        tapping.cancel()
        await asyncio.gather(tapping, return_exceptions=True)
        await reader.close()
        bridge = Bridge([screen], terminal_id="sh-1")
        serving = asyncio.create_task(bridge.run())
        await eventually(lambda: bridge.snapshot()[0].state is LinkState.UP)
        bridge.show(Cue.THANKS)
        await eventually(lambda: bridge.snapshot()[0].last_cue is CueName.THANKS)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert len(list((tmp_path / "tmp").iterdir())) == 2
    assert list((tmp_path / "tmp").iterdir()) == []


TAGS = """
[tickets]
host = "t.example.net"
app = "com.example.tap"
[[screens]]
driver = "web"
port = 0
[[tags]]
driver = "ntag_i2c"
bus = "/dev/no-such-bus"
address = 0x54
[[tags]]
driver = "qr"
name = "qr0"
rotate_s = 20
"""


async def test_surfaces_are_built_in_order_and_one_that_is_not_there_says_so(tmp_path: Path) -> None:
    codes: list[tuple[object, int]] = []
    settings = configured(tmp_path, TAGS).settings
    with ExitStack() as stack:
        built = hardware.build(
            settings, clock=SystemClock(), until=stack, show_code=lambda rows, ttl_ms: codes.append((rows, ttl_ms))
        )
    assert built.names == ("tag0", "qr0")
    chip, code = built.surfaces
    assert (chip.tells_reads, code.tells_reads) == (True, False)
    with pytest.raises(ReaderError, match="no-such-bus"):
        await chip.open()
    await chip.close()
    await code.open()
    await code.show("https://t.example.net/k/x")
    rows, ttl_ms = codes[-1]
    assert rows is not None
    assert ttl_ms == 25_000


def test_a_code_without_a_page_is_refused(tmp_path: Path) -> None:
    settings = configured(tmp_path, TAGS).settings
    with ExitStack() as stack, pytest.raises(ConfigError, match="no page for the QR codes of qr0"):
        hardware.build(settings, clock=SystemClock(), until=stack)


async def test_somebody_reads_a_simulated_tag(tmp_path: Path) -> None:
    text = '[tickets]\nhost = "t.example.net"\n[[tags]]\ndriver = "simulated"\nread_every_s = 0.5\n'
    url = f"https://t.example.net/k/{'AQ' + 'b' * 113}"
    with ExitStack() as stack:
        built = hardware.build(configured(tmp_path, text).settings, clock=SystemClock(), until=stack)
        (surface,), ((name, people),) = built.surfaces, built.people
        assert name == "people-tag0"
        assert (await surface.open()).chip.startswith("NT3H")
        await surface.show(url)
        reading = asyncio.create_task(people())
        async with asyncio.timeout(15):
            while not isinstance(event := await surface.next_event(), TicketRead):
                pass
        assert event.url == url
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await surface.close()
