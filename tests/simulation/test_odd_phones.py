"""Each odd phone does to the real driver what its name promises, and the next phone taps as if nothing had been."""

import random
import time

import nfc.tag
import pytest
from nfc.tag.tt4 import Type4TagCommandError

from edge_agent.simulation.odd_phones import ODD_PHONES
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from tests.fakes.pn532_host import sense

SELECT = bytes.fromhex("00a4040009") + TAP_AID + b"\x00"
GIVE = bytes.fromhex("80540000c8") + bytes(200) + b"\x00"
SHORT_S = 0.02


@pytest.fixture
def odd(emulator, frontend):
    """Place the named phone; afterwards prove that the reader is as good as before."""

    def place(name: str):
        phone = ODD_PHONES[name](random.Random(name))
        emulator.place(phone)
        return phone

    yield place
    emulator.remove()
    phone = SimulatedPhone()
    emulator.place(phone)
    tag = nfc.tag.activate(frontend, sense(frontend))
    tag.transceive(SELECT, 1.0)
    tag.transceive(GIVE, 1.0)
    assert phone.tokens == [bytes(200)]


@pytest.fixture
def activate(frontend):
    return lambda: nfc.tag.activate(frontend, sense(frontend))


ANSWERS = {
    "locked": lambda data: data == b"\x69\x85",
    "no_app": lambda data: data == b"\x6a\x82",
    "foreign_6d00": lambda data: data == b"\x6d\x00",
    "foreign_6e00": lambda data: data == b"\x6e\x00",
    "foreign_6f00": lambda data: data == b"\x6f\x00",
    "sak_60": lambda data: data[0] == 0x6F and data[-2:] == b"\x90\x00",
    "fci_oversize": lambda data: len(data) > 600,
    "fci_junk": lambda data: data[1] > len(data) and data[-2:] == b"\x90\x00",
    "fci_no_nonce": lambda data: data.endswith(b"\xa5\x03\x80\x01\x01\x90\x00"),
    "fci_short_nonce": lambda data: data.endswith(b"\x81\x071234567\x90\x00"),
    "no_status_word": lambda data: data == b"",
    "babbling": lambda data: TAP_AID not in data,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_to_select(odd, activate, name):
    odd(name)
    assert ANSWERS[name](bytes(activate().transceive(SELECT, 1.0)))


def test_sak_60_is_iso_dep_and_nfc_dep(odd, frontend):
    odd("sak_60")
    assert sense(frontend).sel_res == b"\x60"


def test_an_ats_of_one_byte_trips_the_driver(odd, activate):
    odd("ats_one_byte")
    with pytest.raises(IndexError):
        activate()


def test_an_ats_without_ta_gives_the_driver_a_wrong_waiting_time(odd, activate):
    phone = odd("ats_without_ta")
    assert activate()._dep.fwt < 0.001 < phone.timing.frame_waiting_s


def test_endless_extensions_hold_the_driver_until_somebody_stops_it(odd, activate, frontend, monkeypatch):
    odd("wtx_endless")
    tag = activate()
    exchange, left = frontend.exchange, iter(range(60))

    def budgeted(data, timeout):
        if next(left, None) is None:
            raise TimeoutError
        return exchange(data, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(frontend, "exchange", budgeted)
        with pytest.raises(TimeoutError):
            tag.transceive(SELECT, 1.0)


def test_three_extensions_and_then_the_answer(odd, activate, emulator):
    odd("wtx_three")
    tag = activate()
    assert tag.transceive(SELECT, 1.0)[-2:] == b"\x90\x00"
    assert emulator.commands.count(b"\x42\xf2\x01") == 3


def test_a_slow_phone_answers_late_and_asks_for_the_time(odd, activate, emulator):
    phone = odd("slow")
    assert phone.app.latency_s == 2.0
    phone.app.latency_s = 0.3
    tag = activate()
    started = time.monotonic()
    assert tag.transceive(SELECT, 1.0)[-2:] == b"\x90\x00"
    assert time.monotonic() - started >= 0.3
    assert any(command[:2] == b"\x42\xf2" for command in emulator.commands)


@pytest.mark.parametrize("name", ["silent", "gone_before_select"])
def test_no_answer_to_select(odd, activate, name):
    odd(name)
    tag = activate()
    with pytest.raises(Type4TagCommandError):
        tag.transceive(SELECT, SHORT_S)
    assert not tag.is_present


@pytest.mark.parametrize(("name", "tokens"), [("gone_before_token", 0), ("gone_before_receipt", 1)])
def test_gone_in_the_middle(odd, activate, frontend, name, tokens):
    leaving = odd(name)
    tag = activate()
    assert tag.transceive(SELECT, 1.0)[-2:] == b"\x90\x00"
    with pytest.raises(Type4TagCommandError):
        tag.transceive(GIVE, SHORT_S)
    assert not tag.is_present
    assert sense(frontend) is None
    assert len(leaving.phone.tokens) == tokens


def test_noise_for_frames_ends_in_an_error_or_in_rubbish(odd, activate):
    odd("frame_noise")
    tag = activate()
    try:
        data = tag.transceive(SELECT, SHORT_S)
    except (Type4TagCommandError, nfc.clf.CommunicationError, IndexError):
        return
    assert TAP_AID not in data


def test_every_odd_phone_is_tested_here():
    named = {"ats_one_byte", "ats_without_ta", "wtx_endless", "wtx_three", "slow", "silent", "frame_noise"}
    named |= {"gone_before_select", "gone_before_token", "gone_before_receipt"}
    assert named | ANSWERS.keys() == ODD_PHONES.keys()
