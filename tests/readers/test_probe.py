"""The probe above emulated readers: a PN532, readers that say numbers, ACS's dialogue, and what is none of it."""

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers import acs_driver, apdu, nfcpy_reader
from edge_agent.readers.nfcpy_reader import NfcpyReader
from edge_agent.readers.pcsc_status import choose_reader, is_contact_slot
from edge_agent.readers.probe import Hint, PortReport, PortState, Probe, pcsc_part, pcsc_readers
from edge_agent.readers.probe_plan import LISTEN_BAUDS
from edge_agent.readers.serial_line import SerialLine
from edge_agent.simulation import serial_readers
from edge_agent.simulation.acs_reader import AcsReader
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.simulation.pty_port import PtyPort
from tests.fakes.pcscd import virtual_reader
from tests.fakes.pn532_host import have_patience

NUMBER = bytes.fromhex("04A1B2C3D4")
LONG_S = 30.0
NOBODY = 65534


def probing(*devices: str) -> Probe:
    return Probe(devices, clock=SystemClock())


def ask(device: str) -> PortReport:
    (report,) = probing(device).ask()
    return report


def no_hint(_device: str, _hint: Hint) -> None:
    """Nobody is there to be told."""


@pytest.fixture
def empty() -> Iterator[PtyPort]:
    """A port with nothing behind it."""
    port = PtyPort("nothing0")
    port.plug_in()
    yield port
    port.discard()


@contextlib.contextmanager
def again_and_again(act: Callable[[], None]) -> Iterator[None]:
    """Somebody who does it every 0.3 s: longer than the silence that ends what a reader said."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.3):
            act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# -- asking -----------------------------------------------------------------------------------------------------------


def test_a_pn532_answers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    have_patience(monkeypatch)
    monkeypatch.setattr(nfcpy_reader, "_AT_ONCE_S", 20.0)  # at the first speed: nobody waits in vain
    with Pn532Emulator() as emulator:
        report = ask(emulator.device_path)
    assert report.state is PortState.FOUND
    assert report.reader is not None
    assert (report.reader.driver, report.reader.about, report.reader.baud) == ("pn532", "PN532 v1.6", 115200)
    assert report.reader.sees_phones


@pytest.mark.parametrize("baud", [9600, 38400, 115200])
def test_an_acs_reader_answers_at_its_speed(baud: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acs_driver, "_FIRMWARE_WITHIN_S", 30.0)
    with AcsReader(baud=baud) as emulator:
        report = ask(emulator.device_path)
    assert report.state is PortState.FOUND
    assert report.reader is not None
    assert report.reader.baud == baud
    assert report.reader.about.startswith("acs_ccid, ACR")
    assert report.reader.settings is not None
    assert report.reader.settings.profile == "acs_ccid"
    assert report.reader.sees_phones


def test_nothing_answers_at_an_empty_port(empty: PtyPort) -> None:
    assert ask(str(empty.path)) == PortReport(str(empty.path), PortState.SILENT)


def test_a_port_that_echoes_is_no_reader(empty: PtyPort) -> None:
    with again_and_again(lambda: empty.write(empty.read())):
        assert ask(str(empty.path)).state is PortState.SILENT


def test_ports_are_asked_at_once_and_told_in_their_order(empty: PtyPort) -> None:
    with Pn532Emulator() as one, AcsReader() as other:
        devices = [str(empty.path), other.device_path, one.device_path]
        reports = probing(*devices).ask()
    assert [report.device for report in reports] == devices
    assert [report.reader.driver if report.reader else None for report in reports] == [None, "serial", "pn532"]


def test_a_port_that_is_not_there_says_so() -> None:
    report = ask("/dev/no-such-port")
    assert report.state is PortState.FAILED
    assert "no reader at /dev/no-such-port" in report.text


def test_what_is_no_serial_port_says_so() -> None:
    report = ask("/dev/null")
    assert (report.state, report.reader) == (PortState.FAILED, None)
    assert report.remedy


def test_without_permission_nothing_is_found_and_it_says_so(empty: PtyPort) -> None:
    tty = Path(os.ttyname(empty._slave))
    mode = stat.S_IMODE(tty.stat().st_mode)
    tty.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        empty.path.parent.chmod(0o755)
        os.seteuid(NOBODY)  # root may open anything
    try:
        report = ask(str(empty.path))
    finally:
        if is_root:
            os.seteuid(0)
        tty.chmod(mode)
    assert report.state is PortState.FORBIDDEN
    assert "dialout" in report.remedy


async def test_a_reader_in_use_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    have_patience(monkeypatch)
    with Pn532Emulator() as emulator:
        reader = NfcpyReader("nfc0", emulator.device_path, clock=SystemClock(), baud=921600, poll_interval_s=0.01)
        await reader.open()
        heard = len(emulator.commands)
        report = ask(emulator.device_path)
        assert report.state is PortState.TAKEN
        assert "in use by another process" in report.text
        assert emulator.baud == emulator._port.host_rate() == 921600
        assert len(emulator.commands) == heard
        emulator.place(SimulatedPhone())
        session = await reader.next_session()
        assert (await session.transceive(apdu.select(TAP_AID), 30.0)).endswith(b"\x90\x00")
        await reader.close()


# -- listening --------------------------------------------------------------------------------------------------------

READERS = {
    "stx_etx_hex, once": (serial_readers.id12la, 9600),
    "aa_bb, slow": (serial_readers.aa_bb, 9600),
    "aa_bb, fast": (lambda: serial_readers.aa_bb(baud=115200), 115200),
    "ascii_line, 19200": (lambda: serial_readers.ascii_line(baud=19200, end=b"\r\n"), 19200),
    "ascii_line, 38400": (lambda: serial_readers.ascii_line(baud=38400), 38400),
    "ascii_line, 57600": (lambda: serial_readers.ascii_line(baud=57600, end=b"\n"), 57600),
    "ascii_line, on the wire": (lambda: serial_readers.ascii_line(timed=True), 9600),
}


def listen(device: str, hint: Callable[[str, Hint], None] = no_hint, wait_s: float = LONG_S) -> PortReport:
    (report,) = probing(device).listen([PortReport(device, PortState.SILENT)], wait_s, hint)
    return report


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the probe reads; what comes before, while it still opens the line, is thrown away."""
    begun = threading.Event()
    read = SerialLine.read

    def noted(line: SerialLine, wait_s: float) -> bytes:
        begun.set()
        return read(line, wait_s)

    monkeypatch.setattr(SerialLine, "read", noted)
    return begun


@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_known_by_what_it_says_of_a_card(name: str) -> None:
    make, baud = READERS[name]
    with make() as reader, again_and_again(lambda: reader.tap(NUMBER)):
        report = listen(reader.device_path)
    assert report.state is PortState.FOUND
    assert report.reader is not None
    assert report.reader.settings is not None
    assert (report.reader.settings.profile, report.reader.baud) == (name.partition(",")[0], baud)
    assert not report.reader.sees_phones
    assert NUMBER.hex() not in repr(report).casefold()


def test_a_reader_that_repeats_itself_needs_its_card_once(listening: threading.Event) -> None:
    with serial_readers.rdm6300() as reader:
        hints: list[Hint] = []
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(listen, reader.device_path, lambda _device, hint: hints.append(hint))
            assert listening.wait(LONG_S)
            reader.place(NUMBER)
            report = found.result(LONG_S)
    assert report.reader is not None
    assert (report.reader.about, report.reader.baud) == ("stx_etx_hex", 9600)


def test_a_reader_that_tells_a_card_once_asks_for_it_again(listening: threading.Event) -> None:
    with serial_readers.id12la() as reader:
        hints: list[str] = []

        def hold_again(device: str, _hint: Hint) -> None:
            hints.append(device)
            reader.tap(NUMBER)

        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(listen, reader.device_path, hold_again)
            assert listening.wait(LONG_S)
            reader.tap(NUMBER)
            report = found.result(LONG_S)
        assert hints == [reader.device_path]
        assert reader.said == 2
    assert report.reader is not None
    assert report.reader.baud == 9600


def test_the_first_that_is_understood_ends_it_for_all(empty: PtyPort) -> None:
    with serial_readers.aa_bb(baud=115200) as reader, again_and_again(lambda: reader.tap(NUMBER)):
        devices = [str(empty.path), reader.device_path]
        reports = [PortReport(device, PortState.SILENT) for device in devices]
        began = time.monotonic()
        reports = probing(*devices).listen(reports, 2 * LONG_S, no_hint)
    assert [report.state for report in reports] == [PortState.SILENT, PortState.FOUND]
    assert time.monotonic() - began < 1.9 * LONG_S


def test_only_silent_ports_are_listened_on(empty: PtyPort) -> None:
    reports = [PortReport("/dev/x", PortState.TAKEN), PortReport(str(empty.path), PortState.SILENT)]
    assert probing("/dev/x", str(empty.path)).listen(reports, 0.1, no_hint) == reports


def test_what_is_none_of_the_profiles_is_told_with_its_speeds(empty: PtyPort, listening: threading.Event) -> None:
    probe, said = probing(str(empty.path)), []

    def say() -> None:
        empty.write(b"\x80\x91\xa2\xff\x00")
        said.extend([1] * listening.is_set())
        if len(said) > 6:
            probe.stop()

    with again_and_again(say):
        (report,) = probe.listen([PortReport(str(empty.path), PortState.SILENT)], LONG_S, no_hint)
    assert report.state is PortState.NOT_UNDERSTOOD
    assert report.reader is None
    assert {baud for baud, _ in report.heard} <= set(LISTEN_BAUDS)
    assert all(count > 0 for _, count in report.heard)


def test_a_reader_that_is_pulled_out_meanwhile_says_so(listening: threading.Event) -> None:
    with serial_readers.rdm6300() as reader, ThreadPoolExecutor(1) as pool:
        found = pool.submit(listen, reader.device_path)
        assert listening.wait(LONG_S)
        reader.unplug()
        report = found.result(LONG_S)
    assert report.state is PortState.FAILED
    assert "unplugged" in report.text


def test_it_can_be_ended_at_any_time(empty: PtyPort) -> None:
    probe = probing(str(empty.path))
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        found = pool.submit(probe.listen, probe.ask(), 2 * LONG_S, no_hint)
        probe.stop()
        (report,) = found.result(LONG_S)
    assert report.state is PortState.SILENT
    assert time.monotonic() - began < 1.9 * LONG_S


# -- PC/SC ------------------------------------------------------------------------------------------------------------

NAMES = (
    "ACS ACR122U PICC Interface 00 00",
    "ACS ACR1252 Dual Reader [ACR1252 Dual Reader SAM] 00 00",
    "ACS ACR1252 Dual Reader [ACR1252 Dual Reader PICC] 01 00",
    "Identiv uTrust 3700 F CL Reader [uTrust 3700 F CL Reader] (55041) 00 00",
)


def test_a_readers_part_of_its_name_has_no_number_of_pcscds() -> None:
    names = [name for name in NAMES if not is_contact_slot(name)]
    assert [pcsc_part(name, names) for name in names] == [name[:-6] for name in names]


def test_two_of_a_kind_are_told_apart_by_the_number() -> None:
    twins = ("HID OMNIKEY 5022 CL 00 00", "HID OMNIKEY 5022 CL 01 00")
    assert [pcsc_part(name, twins) for name in twins] == list(twins)


def test_a_name_that_no_configuration_takes_is_left_out() -> None:
    assert pcsc_part("Lecteur sécurisé CL", ("Lecteur sécurisé CL",)) is None


@given(st.lists(st.text(max_size=140), min_size=1, max_size=4, unique=True))
def test_the_part_of_a_name_leads_to_its_reader_alone(names: list[str]) -> None:
    for name in names:
        part = pcsc_part(name, names)
        if part is not None:
            assert choose_reader(names, part) == name
            assert part.isascii()
            assert part.isprintable()
            assert 0 < len(part) <= 128


@pytest.mark.system
def test_the_readers_of_a_real_pcscd_are_listed_and_one_that_hangs_is_told(tmp_path: Path) -> None:
    with virtual_reader(tmp_path) as pcscd:
        assert pcscd.reader in pcsc_readers(within_s=LONG_S)
        pcscd.pause()
        with pytest.raises(ReaderError) as refused:
            pcsc_readers(within_s=0.3)
        assert refused.value.fault is ReaderFault.HANGS
        pcscd.resume()
