import gc
import os
import random
import termios
import threading
import time
from pathlib import Path

import nfc.clf
import nfc.tag
import pytest
from nfc.clf import pn532

from edge_agent.simulation.cards import PPSE, PaymentCard, PlainCard, type2_tag
from edge_agent.simulation.iso_dep import Ats
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from edge_agent.simulation.pn532_chip import ChipTiming
from edge_agent.simulation.pn532_frames import CHIP_TO_HOST, HOST_TO_CHIP, Info, Signal, encode
from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.pn532_host import open_driver, sense

SELECT = bytes.fromhex("00a4040009") + TAP_AID + b"\x00"
TOKEN = bytes(range(200))
GIVE = bytes.fromhex("80540000c8") + TOKEN + b"\x00"
UNPLUGGED = (OSError, termios.error)


def _tag(frontend):
    return nfc.tag.activate(frontend, sense(frontend))


def _command(text: str) -> bytes:
    return bytes(10) + encode(Info(HOST_TO_CHIP, bytes.fromhex(text)))


# -- the real driver --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_the_real_driver_opens_and_raises_the_baud_rate(emulator):
    frontend = open_driver(emulator.device_path)
    assert frontend.device.chipset_name == "PN532v1.6"
    assert emulator.baud == 921600
    assert sense(frontend) is None
    frontend.close()
    assert emulator.baud == 115200
    assert emulator.commands[-1][0] == 0x16


def test_it_opens_again_after_close_and_after_a_crash(emulator, frontend):
    frontend.close()
    second = open_driver(emulator.device_path)
    # A crash: the line is dropped without PowerDown.
    second.device.chipset.transport.close()
    second.device = None
    third = open_driver(emulator.device_path)
    assert sense(third) is None
    third.close()


def test_without_a_card_nothing_is_found(emulator, frontend):
    before = emulator.polls
    assert sense(frontend) is None
    assert emulator.polls == before + 1


def test_a_whole_tap(emulator, frontend):
    phone = SimulatedPhone(sub=b"pseudonym")
    seen = []
    emulator.on_field(seen.append)
    placement = emulator.place(phone)
    target = sense(frontend)
    assert (target.sel_res, target.sens_res, target.sdd_res[0]) == (b"\x20", b"\x04\x00", 0x08)
    tag = nfc.tag.activate(frontend, target)
    fci = tag.transceive(SELECT, 1.0)
    assert phone.nonce in fci
    assert fci[-2:] == b"\x90\x00"
    assert tag.transceive(GIVE, 1.0) == b"\x86\x10" + TOKEN[-16:] + b"\x90\x00"
    assert phone.tokens == [TOKEN]
    assert seen == [placement]
    assert placement.placed_at <= placement.seen_at <= time.monotonic()


def test_presence_and_removal(emulator, frontend):
    phone = SimulatedPhone()
    placement = emulator.place(phone)
    tag = _tag(frontend)
    assert tag.is_present
    assert tag.is_present
    emulator.remove(phone)
    assert placement.removed_at is not None
    assert not tag.is_present
    assert sense(frontend) is None


def test_each_activation_has_another_uid_and_the_same_nonce(emulator, frontend):
    phone = SimulatedPhone()
    emulator.place(phone)
    uids, nonces = set(), set()
    for _ in range(4):
        tag = _tag(frontend)
        uids.add(bytes(tag.identifier))
        nonces.add(phone.nonce)
        assert phone.nonce in tag.transceive(SELECT, 1.0)
    assert len(uids) > 1
    assert len(nonces) == 1


def test_plain_cards(emulator, frontend):
    emulator.place(PlainCard(bytes.fromhex("0a0b0c0d")))
    target = sense(frontend)
    assert (target.sel_res, target.sdd_res) == (b"\x08", bytes.fromhex("0a0b0c0d"))
    emulator.remove()
    tag = type2_tag(random.Random(5))
    emulator.place(tag)
    found = _tag(frontend)
    assert found.TYPE == "Type2Tag"
    assert found.identifier == tag.uid
    assert found.is_present
    assert found.ndef.length == 0


def test_payment_card(emulator, frontend):
    card = PaymentCard(bytes.fromhex("01020304"))
    emulator.place(card)
    tag = _tag(frontend)
    assert tag.transceive(SELECT, 1.0) == b"\x6a\x82"
    assert tag.transceive(b"\x00\xa4\x04\x00\x0e" + PPSE + b"\x00", 1.0)[-2:] == b"\x90\x00"
    assert card.app.commands[0] == SELECT


def test_two_phones_are_none_until_one_is_taken_away(emulator, frontend):
    first, second = SimulatedPhone(), SimulatedPhone()
    emulator.place(first)
    emulator.place(second)
    assert sense(frontend) is None
    emulator.remove(first)
    assert _tag(frontend).transceive(SELECT, 1.0)[-2:] == b"\x90\x00"
    assert (first.app.selects, second.app.selects) == (0, 1)


def test_one_card_is_placed_once(emulator):
    phone = SimulatedPhone()
    emulator.place(phone)
    with pytest.raises(ValueError, match="already"):
        emulator.place(phone)


# -- unplug -----------------------------------------------------------------------------------------------------------


def test_unplug_is_seen_as_a_failing_line(emulator, frontend):
    emulator.unplug()
    assert not emulator.plugged
    with pytest.raises(UNPLUGGED):
        sense(frontend)
    with pytest.raises(UNPLUGGED):
        frontend.device.chipset.transport.close()
    frontend.device.chipset.transport.tty.close()
    frontend.device = None
    with pytest.raises(OSError, match="No such file"):
        open_driver(emulator.device_path)


@pytest.mark.usefixtures("patient")
def test_replug_returns_under_the_same_path_with_a_fresh_chip(emulator):
    path = emulator.device_path
    emulator.place(SimulatedPhone())
    first = open_driver(path)
    emulator.unplug()
    emulator.unplug()
    first.device.chipset.transport.tty.close()
    first.device = None
    emulator.replug()
    emulator.replug()
    assert emulator.device_path == path
    assert emulator.baud == 115200
    second = open_driver(path)
    assert sense(second) is not None
    second.close()


def test_unplug_wakes_a_blocked_read(emulator):
    fd = os.open(emulator.device_path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    ended = []

    def read() -> None:
        try:
            ended.append(os.read(fd, 1))
        except OSError as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    emulator.unplug()
    reader.join(10)
    assert not reader.is_alive()
    assert ended[0] == b"" or isinstance(ended[0], OSError)
    os.close(fd)


# -- the line itself --------------------------------------------------------------------------------------------------


def test_ack_comes_first_then_the_response(host):
    host.write(_command("02"))
    assert host.frames(2) == [Signal.ACK, Info(CHIP_TO_HOST, bytes.fromhex("0332010607"))]


def test_unknown_commands_get_the_error_frame(host):
    host.write(_command("99"))
    assert host.frames(2) == [Signal.ACK, Signal.ERROR]


def test_a_sleeping_chip_does_not_hear_a_short_preamble(host):
    host.write(b"\x00\x00\xff\x02\xfe\xd4\x02\x2a")
    assert host.silent_for(0.05)


def test_nack_asks_for_the_last_response_again(host):
    host.write(_command("02"))
    response = host.frames(2)[1]
    host.write(Signal.NACK.value)
    assert host.frames(1) == [response]


def test_ack_aborts_a_command_that_waits_for_ever(emulator, host):
    host.write(_command("4a0100"))  # after power-up a poll retries without end
    assert host.frames(1) == [Signal.ACK]
    host.write(Signal.ACK.value)
    host.write(_command("02"))
    assert host.frames(2)[1].data[0] == 0x03
    emulator.place(SimulatedPhone())
    assert host.silent_for(0.05)


def test_a_card_ends_a_poll_without_end(emulator, host):
    host.write(_command("4a0100"))
    assert host.frames(1) == [Signal.ACK]
    emulator.place(PlainCard(bytes.fromhex("0a0b0c0d")))
    assert host.frames(1) == [Info(CHIP_TO_HOST, bytes.fromhex("4b010100040804" + "0a0b0c0d"))]


def test_a_new_command_takes_the_place_of_one_that_runs(host):
    host.write(_command("4a0100"))
    host.write(_command("02"))
    assert host.frames(3) == [Signal.ACK, Signal.ACK, Info(CHIP_TO_HOST, bytes.fromhex("0332010607"))]


def test_an_answer_under_way_is_lost_with_its_phone(emulator, host):
    phone = SimulatedPhone(latency_s=0.4, timing=Ats(fwi=14))
    emulator.place(phone)
    for command in ("1200", "4a0100", "42e080", "3202000b0d"):
        host.write(_command(command))
        assert host.frames(2)[1].data[0] == int(command[:2], 16) + 1
    host.write(_command("4202" + SELECT.hex()))
    assert host.frames(1) == [Signal.ACK]
    emulator.remove(phone)
    assert host.frames(1) == [Info(CHIP_TO_HOST, b"\x43\x01")]
    assert phone.app.selects == 1


def test_a_host_that_forgot_the_baud_rate_is_not_understood(emulator):
    frontend = open_driver(emulator.device_path)
    frontend.device.chipset.transport.tty.baudrate = 115200
    with pytest.raises(OSError, match="Input/output"):
        sense(frontend)
    frontend.device.chipset.transport.tty.close()
    frontend.device = None
    assert emulator.baud == 921600


def test_a_cheap_uart_breaks_at_a_high_rate_and_works_at_115200(monkeypatch):
    with Pn532Emulator(max_baud=115200) as emulator:
        with pytest.raises(OSError, match=r"Input/output|timed out|No such device"):
            open_driver(emulator.device_path)
        emulator.unplug()
        emulator.replug()
        monkeypatch.setattr(pn532.os, "system", lambda _command: 1)
        frontend = open_driver(emulator.device_path)
        assert sense(frontend) is None
        frontend.close()


@pytest.mark.usefixtures("patient")
def test_bytes_take_their_time_on_a_modelled_line(monkeypatch):
    monkeypatch.setattr(pn532.os, "system", lambda _command: 1)
    with Pn532Emulator(baud_model=115200, timing=ChipTiming(poll_s=0.01)) as emulator:
        frontend = open_driver(emulator.device_path)
        started = time.monotonic()
        assert frontend.device.chipset.diagnose("line")
        # 274 bytes there, 6 and 274 back, ten bits each.
        assert time.monotonic() - started >= 554 * 10 / 115200
        started = time.monotonic()
        assert sense(frontend) is None
        assert time.monotonic() - started >= 0.02
        frontend.close()


def test_noise_before_a_frame_does_no_harm(host):
    host.write(b"\x55" * 8 + bytes(range(1, 200)) + b"\x00\xff\x12\x34")
    host.write(_command("02"))
    assert host.frames(2)[1].data[0] == 0x03


# -- hands and waiting ------------------------------------------------------------------------------------------------


def test_waiting_helpers(emulator, frontend):
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.002):
            sense(frontend)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        emulator.wait_for_polls(3)
        placement = emulator.place(SimulatedPhone())
        assert emulator.wait_seen(placement) == placement.seen_at
        emulator.remove()
        emulator.wait_idle()
    finally:
        stop.set()
        poller.join()
    with pytest.raises(TimeoutError, match="see the card"):
        emulator.wait_seen(emulator.place(SimulatedPhone()), timeout_s=0.01)
    with pytest.raises(TimeoutError, match="3 polls"):
        emulator.wait_for_polls(3, timeout_s=0.01)


def test_many_hands_while_the_driver_polls(emulator, frontend):
    """Cards come and go from three threads; the driver sees only phones, or nothing."""
    stop = threading.Event()

    def hands() -> None:
        phone = SimulatedPhone()
        while not stop.is_set():
            emulator.place(phone)
            stop.wait(0.003)
            emulator.remove(phone)

    threads = [threading.Thread(target=hands) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        targets = [sense(frontend) for _ in range(100)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {bytes(target.sel_res) for target in targets if target} <= {b"\x20"}
    assert sense(frontend) is None


@pytest.mark.usefixtures("patient")
def test_cards_placed_before_the_board_is_plugged_in(monkeypatch):
    monkeypatch.setattr(pn532.os, "system", lambda _command: 1)
    emulator = Pn532Emulator()
    with pytest.raises(RuntimeError, match="never started"):
        _ = emulator.device_path
    emulator.place(SimulatedPhone())
    with emulator:
        frontend = open_driver(emulator.device_path)
        assert sense(frontend) is not None
        frontend.close()


def test_close_leaves_nothing_behind():
    def open_files() -> set[str]:
        return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names of descriptors, no paths

    def emulators() -> list[str]:  # other threads of earlier tests may end meanwhile
        return [thread.name for thread in threading.enumerate() if thread.name == Pn532Emulator.__name__]

    gc.collect()
    files = open_files()
    emulator = Pn532Emulator()
    emulator.close()
    for _ in range(3):
        with emulator:
            with pytest.raises(RuntimeError, match="running"):
                emulator.start()
            path = Path(emulator.device_path)
            assert path.is_symlink()
        emulator.close()
        emulator.remove()
        emulator.unplug()
        assert not path.parent.exists()
    assert open_files() == files
    assert emulators() == []


def test_a_host_that_never_reads_does_not_block_the_line(emulator, host):
    for _ in range(400):
        host.write(_command("0000" + "aa" * 200))
    placement = emulator.place(SimulatedPhone())
    assert placement.seen_at is None
    emulator.remove()


def test_a_host_at_another_rate_is_not_heard(host):
    host.set_rate(termios.B9600)
    host.write(_command("02"))
    assert host.silent_for(0.05)


def test_a_host_at_the_agreed_rate_has_acknowledged_it(emulator, host):
    host.write(_command("1007"))
    assert host.frames(2)[1] == Info(CHIP_TO_HOST, b"\x11")
    host.set_rate(termios.B921600)  # its ACK was flushed from the line unsent
    host.write(_command("02"))
    assert host.frames(2)[1].data[0] == 0x03
    assert emulator.baud == 921600
