"""What PC/SC says is read right: result codes, state words, ATRs and the names of readers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.readers import pcsc_status as status
from edge_agent.readers.base import TargetKind
from edge_agent.readers.pcsc_status import CardState
from edge_agent.simulation.vpcd_card import PHONE_ATR, STORAGE_ATR

DEVICE = "Reader 00 00"
ACR1252 = (
    "ACS ACR1252 1S CL Reader [ACR1252 Dual Reader SAM] 01 00",
    "ACS ACR1252 1S CL Reader [ACR1252 Dual Reader PICC] 00 00",
)
OMNIKEY = (
    "HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422 Smartcard Reader] (1M) 01 00",
    "HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422CL Smartcard Reader] (1M) 00 00",
)
IDENTIV = (
    "Identiv uTrust 4701 F Dual Interface Reader [uTrust 4701 F Contact Reader] 00 00",
    "Identiv uTrust 4701 F Dual Interface Reader [uTrust 4701 F CL Reader] 01 00",
)
GEMALTO = ("Gemalto Prox-DU Contact_12400286 00 00", "Gemalto Prox-DU Contactless_12400286 00 01")
FEITIAN = ("Feitian R502 [R502 Contact Reader (CCID)] 01 00", "Feitian R502 [R502 SAM1 Reader (CCID)] 02 00")


# -- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (0x00010012, CardState.EMPTY),
        (0x00010022, CardState.PRESENT),
        (0x00010122, CardState.PRESENT),  # and another program uses it, too
        (0x00010222, CardState.MUTE),
        (0x00000000, CardState.EMPTY),
    ],
)
def test_a_state_word_is_read_whatever_it_counts_in_its_upper_half(word: int, state: CardState) -> None:
    assert status.card_state(word, DEVICE) is state


@pytest.mark.parametrize(
    ("word", "fault"), [(0x000E, ReaderFault.UNPLUGGED), (0x0008, ReaderFault.NO_ANSWER)], ids=["gone", "failing"]
)
def test_a_reader_that_is_gone_or_fails_is_told_with_what_to_do(word: int, fault: ReaderFault) -> None:
    with pytest.raises(ReaderError, match="Reader 00 00") as told:
        status.card_state(word, DEVICE)
    assert told.value.fault is fault
    assert "plug it in again" in told.value.remedy


@given(st.integers(0, 0xFFFFFFFF))
def test_every_word_is_a_state_or_an_error_of_the_reader(word: int) -> None:
    if word & 0x000C:
        with pytest.raises(ReaderError) as told:
            status.card_state(word, DEVICE)
        assert told.value.remedy
    else:
        assert status.card_state(word, DEVICE) in CardState


# -- codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "listens", "fault", "remedy"),
    [
        (0x8010001D, False, ReaderFault.NO_SERVICE, "pcscd.socket"),
        (0x8010001E, False, ReaderFault.NO_SERVICE, "pcscd.socket"),
        (0x8010001D, True, ReaderFault.NO_PERMISSION, "polkit"),
        (0x80100013, True, ReaderFault.NO_PERMISSION, "polkit"),
        (0x8010006A, True, ReaderFault.NO_PERMISSION, "polkit"),
        (0x80100001, True, ReaderFault.NO_SERVICE, "journalctl"),
    ],
)
def test_why_there_is_no_pcscd_is_told_with_what_to_do(
    code: int, listens: bool, fault: ReaderFault, remedy: str
) -> None:
    error = status.connect_error(code, listens=listens)
    assert error.fault is fault
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("code", "fault", "remedy"),
    [
        (0x80100009, ReaderFault.UNPLUGGED, "plug it in"),
        (0x80100017, ReaderFault.UNPLUGGED, "plug it in"),
        (0x8010002E, ReaderFault.UNPLUGGED, "plug it in"),
        (0x8010000B, ReaderFault.TAKEN, "scdaemon"),
        (0x8010006A, ReaderFault.NO_PERMISSION, "polkit"),
        (0x8010001D, ReaderFault.NO_SERVICE, "journalctl"),
        (0x80100013, ReaderFault.NO_SERVICE, "journalctl"),
        (0x80100003, ReaderFault.NO_SERVICE, "journalctl"),
        (0x80100014, ReaderFault.IO, "plug it in"),
    ],
)
def test_what_is_wrong_with_a_reader_is_told_with_what_to_do(code: int, fault: ReaderFault, remedy: str) -> None:
    assert status.session_lost(code) is None
    error = status.reader_error(code, DEVICE)
    assert error.fault is fault
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x80100069, LostReason.VANISHED),
        (0x8010000C, LostReason.VANISHED),
        (0x80100016, LostReason.PROTOCOL),
        (0x80100066, LostReason.PROTOCOL),
        (0x80100068, LostReason.PROTOCOL),
        (0x80100008, LostReason.PROTOCOL),
        (0x8010000A, LostReason.TIMEOUT),
    ],
)
def test_what_is_the_fault_of_a_phone_costs_one_tap_and_no_reader(code: int, reason: LostReason) -> None:
    lost = status.session_lost(code)
    assert isinstance(lost, SessionLost)
    assert lost.reason is reason


def test_a_code_is_the_same_signed_and_unsigned() -> None:
    assert status.session_lost(0x80100069 - (1 << 32)) is not None
    assert status.connect_error(0x8010001D - (1 << 32), listens=False).fault is ReaderFault.NO_SERVICE


@given(st.integers(-(1 << 31), (1 << 32) - 1))
def test_every_code_is_the_phones_or_the_readers(code: int) -> None:
    lost = status.session_lost(code)
    assert lost is not None or status.reader_error(code, DEVICE).remedy
    assert status.connect_error(code, listens=True).remedy


# -- cards ------------------------------------------------------------------------------------------------------------


def test_a_storage_card_is_told_from_what_takes_apdus() -> None:
    assert status.target_kind(STORAGE_ATR) is TargetKind.PLAIN
    assert status.target_kind(PHONE_ATR) is TargetKind.ISO_DEP
    assert status.target_kind(bytes.fromhex("3b8180018080")) is TargetKind.ISO_DEP  # a DESFire card
    assert status.target_kind(b"") is TargetKind.ISO_DEP


def test_the_simulated_atrs_have_a_right_check_byte() -> None:
    for atr in (PHONE_ATR, STORAGE_ATR):
        check = 0
        for byte in atr[1:]:
            check ^= byte
        assert check == 0
        assert atr[1] & 0x0F == len(atr) - 5, "as many historical bytes as T0 says, between TD2 and TCK"


@given(st.binary(max_size=64))
def test_any_atr_has_a_kind(atr: bytes) -> None:
    assert status.target_kind(atr) in TargetKind


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [ACR1252, OMNIKEY, IDENTIV, GEMALTO])
def test_without_a_name_the_contactless_slot_is_taken(names: tuple[str, str]) -> None:
    assert status.choose_reader(names, None) == names[1]


@pytest.mark.parametrize(
    ("names", "part"), [(ACR1252, "acr1252"), (OMNIKEY, "OMNIKEY 5422"), (IDENTIV, "Identiv"), (GEMALTO, "Prox-DU")]
)
def test_a_part_of_the_models_name_means_its_contactless_slot(names: tuple[str, str], part: str) -> None:
    assert status.choose_reader(names, part) == names[1]


def test_a_name_that_says_nothing_of_its_kind_is_taken_when_it_is_alone() -> None:
    assert status.choose_reader(["SCM Microsystems SCL3711 00 00"], None) == "SCM Microsystems SCL3711 00 00"
    assert status.choose_reader(["ACS ACR122U PICC Interface 00 00"], "122") == "ACS ACR122U PICC Interface 00 00"


def test_slots_for_cards_with_contacts_are_never_taken_by_themselves() -> None:
    with pytest.raises(ReaderError, match="no contactless reader; pcscd knows Feitian") as told:
        status.choose_reader(FEITIAN, None)
    assert told.value.fault is ReaderFault.NOT_FOUND


def test_who_names_a_slot_in_full_gets_it() -> None:
    assert status.choose_reader(GEMALTO, GEMALTO[0]) == GEMALTO[0]
    assert status.choose_reader(["Reader 00 00", "Reader 00 00 b"], "Reader 00 00") == "Reader 00 00"


def test_two_of_a_kind_are_told_apart_by_more_of_the_name() -> None:
    names = ["ACS ACR122U PICC 00 00", "ACS ACR122U PICC 01 00"]
    with pytest.raises(ReaderError, match="2 readers fit 'ACR122U': ACS ACR122U PICC 00 00, ACS") as told:
        status.choose_reader(names, "ACR122U")
    assert (told.value.fault, "more of the name" in told.value.remedy) == (ReaderFault.NOT_FOUND, True)
    assert status.choose_reader(names, "PICC 01") == names[1]
    assert status.choose_reader(names, None) == names[0]


def test_no_reader_and_a_wrong_name_say_what_to_do() -> None:
    with pytest.raises(ReaderError, match="pcscd knows no reader; plug in the reader"):
        status.choose_reader([], "x")
    with pytest.raises(ReaderError, match=r"no reader has 'Duali' in its name; pcscd knows ACS .*; correct"):
        status.choose_reader(ACR1252, "Duali")


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    with pytest.raises(ReaderError) as told:
        status.choose_reader(["evil\nname\x1b[2J"], "x")
    assert str(told.value).isprintable()


@given(st.lists(st.text(max_size=130), max_size=16), st.none() | st.text(min_size=1, max_size=20))
def test_whatever_the_names_one_of_them_is_chosen_or_an_error_says_why(names: list[str], wanted: str | None) -> None:
    told = None
    try:
        chosen = status.choose_reader(names, wanted)
    except ReaderError as error:
        told = error
    if told is None:
        assert chosen in names
        assert wanted is None or wanted.casefold() in chosen.casefold()
    else:
        assert told.remedy
        assert len(str(told)) < 600
