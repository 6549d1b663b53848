import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.cards import PlainCard, type2_tag
from edge_agent.simulation.odd_phones import ObservingPhone
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.picc import Answer, TypeA
from edge_agent.simulation.pn532_chip import REALISTIC, ChipTiming, Pn532Chip, Reply, SyntaxFault, crc_a

CARD = PlainCard(bytes.fromhex("0a0b0c0d"))
POLL = "4a0100"


class Echo:
    """A card that answers every frame with itself."""

    def __init__(self, delay_s: float = 0.0, *, intact: bool = True) -> None:
        self.delay_s = delay_s
        self.intact = intact
        self.powered_off = 0

    def activate(self) -> TypeA | None:
        return TypeA(b"\x04\x00", 0x20, b"\x08\x01\x02\x03")

    def receive(self, frame: bytes) -> Answer | None:
        return Answer(frame, self.delay_s, intact=self.intact)

    def field_off(self) -> None:
        self.powered_off += 1


def _awake(timing: ChipTiming | None = None) -> Pn532Chip:
    chip = Pn532Chip(timing) if timing else Pn532Chip()
    chip.wake(bytes(10))
    chip.execute(bytes.fromhex("1200"))  # SetParameters as the driver does: no automatic RATS
    chip.execute(bytes.fromhex("3205010001"))  # two tries a poll
    return chip


def _run(chip: Pn532Chip, command: str) -> str | None:
    payload = chip.execute(bytes.fromhex(command)).payload
    return None if payload is None else payload.hex()


@pytest.mark.parametrize(
    ("command", "response"),
    [
        ("02", "0332010607"),  # GetFirmwareVersion, 7.2.2
        ("14010000", "15"),  # SAMConfiguration, normal mode, 7.2.10
        ("1401", "15"),
        ("1200", "13"),  # SetParameters, 7.2.9
        ("1004", "11"),  # SetSerialBaudrate, 7.2.8
        ("0001", "0100"),  # Diagnose, ROM, 7.2.1
        ("0002", "0100"),  # Diagnose, RAM
        ("00001234", "01001234"),  # Diagnose, line: everything back
        ("320102", "33"),  # RFConfiguration, field off
        ("3202000b0a", "33"),
        ("3205ff01ff", "33"),
        ("320a59f43f114d85616f266287", "33"),
        ("320b69ff3f114185616f", "33"),
        ("320cff0485", "33"),
        ("320d85158a8508b28501da", "33"),
        ("04", "0500000000"),  # GetGeneralStatus: no error, no field, no target
        ("5200", "5327"),  # InRelease without a target
        ("1610", "1700"),  # PowerDown, wake by HSU
        ("08630180", "09"),  # WriteRegister
    ],
)
def test_responses_of_the_user_manual(command, response):
    assert _run(_awake(), command) == response


@pytest.mark.parametrize(
    "command",
    [
        *("99", "40011234", "8c00"),  # unknown, or not modelled
        *("14", "1405", "00", "0009", "1009", "12", "16", "52"),
        *("32", "3201", "3202000b11", "3299"),
        *("4a", "4a0100aa", "4a0300", "4a0105", "42"),
        *("06", "063302ff", "08", "0863"),
    ],
)
def test_what_the_chip_does_not_know_is_a_syntax_error(command):
    with pytest.raises(SyntaxFault):
        _awake().execute(bytes.fromhex(command))


@given(st.binary(min_size=1, max_size=264))
def test_any_command_is_answered_or_refused(command):
    chip = _awake()
    chip.place(SimulatedPhone(rng=random.Random(1)))
    try:
        reply = chip.execute(command)
    except SyntaxFault:
        return
    assert isinstance(reply, Reply)
    assert reply.payload is None or reply.payload[0] == command[0] + 1


def test_it_sleeps_after_power_up_and_wakes_at_the_fifth_edge():
    chip = Pn532Chip()
    assert chip.asleep
    assert chip.wake(bytes(4)) == b""
    assert chip.asleep
    assert chip.wake(b"\x00\x00\xff") == b"\x00\xff"
    assert not chip.asleep
    assert chip.wake(b"abc") == b"abc"


def test_one_55_is_enough_to_wake_it():
    chip = Pn532Chip()
    assert chip.wake(b"\x55\x01") == b"\x01"


def test_power_down_without_a_serial_wake_up_source_is_for_good():
    chip = _awake()
    _run(chip, "1620")
    assert chip.wake(b"\x55" * 50) == b""
    chip.power_up()
    assert chip.wake(b"\x55\x01") == b"\x01"


def test_a_baud_rate_comes_into_force_with_the_host_s_ack():
    chip = _awake()
    _run(chip, "1007")
    assert chip.baud == 115200
    chip.acknowledged()
    assert chip.baud == 921600
    chip.acknowledged()
    assert chip.baud == 921600


def test_an_empty_poll_leaves_its_request_in_the_fifo():
    chip = _awake()
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "06633a") == "0701"
    assert _run(chip, "066339") == "0726"
    assert _run(chip, "066339") == "0700"


def test_a_poll_finds_a_card_and_switches_the_field_on():
    chip = _awake()
    assert _run(chip, "066304") == "0780"
    chip.place(CARD)
    # NbTg, Tg, SENS_RES (high byte first), SEL_RES, length and NFCID
    assert _run(chip, POLL) == "4b01010004" + "08" + "04" + "0a0b0c0d"
    assert _run(chip, "066304") == "0783"
    assert _run(chip, "0663026303") == "078080"
    assert _run(chip, "04")[4:8] == "0001"
    assert _run(chip, "5201") == "5300"
    chip.antenna.take(CARD)


@pytest.mark.parametrize("brty", ["01", "02", "03", "04"])
def test_other_technologies_are_never_found(brty):
    chip = _awake()
    chip.place(Echo())
    assert _run(chip, f"4a01{brty}00") == "4b00"


def test_a_poll_for_one_uid():
    chip = _awake()
    tag = type2_tag(random.Random(4))
    chip.place(tag)
    assert _run(chip, POLL + "88" + tag.uid.hex()) is not None
    chip.execute(bytes.fromhex("320102"))
    assert _run(chip, POLL + "8805000000000000") == "4b00"


def test_automatic_rats_as_after_power_up():
    chip = Pn532Chip()
    chip.wake(bytes(10))
    chip.execute(bytes.fromhex("3205010001"))
    chip.place(SimulatedPhone(rng=random.Random(1)))
    assert _run(chip, POLL).endswith("0578807002")


def test_two_phones_are_none_and_leave_traces_in_the_fifo():
    chip = _awake()
    chip.place(SimulatedPhone())
    chip.place(SimulatedPhone())
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "066339") != "0726"


def test_retries_without_end_wait_for_a_card():
    chip = _awake()
    chip.execute(bytes.fromhex("320501ffff"))
    assert _run(chip, POLL) is None
    reply = chip.place(CARD)
    assert reply.payload.hex().startswith("4b01")
    chip.antenna.take(CARD)
    # Aborted, by another command or an ACK: a card makes no answer any more.
    assert _run(chip, POLL) is None
    assert _run(chip, "02") is not None
    assert chip.place(CARD) is None
    chip.antenna.take(CARD)
    assert _run(chip, POLL) is None
    chip.acknowledged()
    assert chip.place(CARD) is None
    chip.antenna.take(CARD)


def _talking(card: Echo, timeout_index: str = "0a") -> Pn532Chip:
    chip = _awake()
    chip.place(card)
    chip.execute(bytes.fromhex(POLL))
    chip.execute(bytes.fromhex("3202000b" + timeout_index))
    return chip


def test_communicate_thru_and_its_time_out():
    # Index 10: 100 us * 2^9 = 51.2 ms
    assert _run(_talking(Echo(0.05)), "42b2") == "4300b2"
    late = _talking(Echo(0.06)).execute(bytes.fromhex("42b2"))
    assert late.payload.hex() == "4301"
    assert late.delay_s == pytest.approx(0.0512)


def test_communicate_thru_may_wait_for_ever():
    assert _run(_talking(Echo(100.0), "00"), "42b2") == "4300b2"
    silent = _awake()
    silent.execute(bytes.fromhex("3202000b00"))
    assert _run(silent, "42b2") is None


def test_a_damaged_answer_is_a_crc_error():
    assert _run(_talking(Echo(intact=False)), "42b2") == "4302"


def test_an_answer_under_way_is_lost_with_its_card():
    reply = _talking(Echo(0.02)).execute(bytes.fromhex("42b2"))
    assert reply.payload.hex() == "4300b2"
    assert reply.if_lost.payload.hex() == "4301"
    assert reply.if_lost.delay_s == pytest.approx(0.0512)


def test_crc_may_be_left_to_the_host():
    chip = _talking(Echo())
    chip.execute(bytes.fromhex("08630300"))  # RxMode without CRC
    assert _run(chip, "423000") == "43003000" + crc_a(b"\x30\x00").hex()
    chip.execute(bytes.fromhex("08630200"))  # TxMode without CRC
    assert _run(chip, "423000") == "4301"
    assert _run(chip, "42300002a8") == "4300300002a8"


def test_a_bit_rate_that_was_never_agreed_is_not_heard():
    chip = _talking(Echo())
    chip.execute(bytes.fromhex("08630290"))
    assert _run(chip, "42b2") == "4301"


def test_field_off_takes_the_power_from_every_card():
    card = Echo()
    chip = _talking(card)
    assert _run(chip, "320102") == "33"
    assert card.powered_off == 1
    assert _run(chip, "42b2") == "4301"
    assert _run(chip, "320102") == "33"
    assert card.powered_off == 1


def test_taking_a_card_away_ends_its_session():
    card = Echo()
    chip = _talking(card)
    assert chip.antenna.take(card) is True
    assert _run(chip, "42b2") == "4301"
    with pytest.raises(ValueError, match="list"):
        chip.antenna.take(card)


def test_a_poll_without_an_answer_leaves_the_uart_as_reqa_needs_it():
    chip = _awake()
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "0663026303633d") == "07000007"
    chip.place(CARD)
    assert _run(chip, POLL).startswith("4b01")
    assert _run(chip, "0663026303633d") == "07808000"


def test_a_frame_to_nobody_is_overheard_whole_with_its_crc_and_in_a_field_only():
    phone = ObservingPhone(b"\x6a\x01", clock=lambda: 0.0)
    chip = _awake()
    chip.place(phone)
    on, crc, framing = "320101", "08630280630380", "08633d00"
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "426a01") == "4301"
    assert phone.overheard == [], "seven bits, no CRC"
    for command in (crc, framing, "320102", "426a01"):
        _run(chip, command)
    assert phone.overheard == [], "no field"
    for command in (on, "426a01"):
        _run(chip, command)
    assert phone.overheard == [b"\x6a\x01"]
    assert _run(chip, POLL).startswith("4b01")


def test_an_observing_phone_forgets_the_frame():
    now = [0.0]
    phone = ObservingPhone(b"\x6a\x01", clock=lambda: now[0], lasts_s=3.0)
    assert phone.activate() is None
    phone.overhear(b"\x6a\x02")
    assert phone.activate() is None
    phone.overhear(b"\x6a\x01")
    phone.field_off()
    now[0] = 3.0
    assert phone.activate() is not None, "the field may have been off in between"
    phone.field_off()
    now[0] = 3.1
    assert phone.activate() is None


def test_a_brown_out_takes_the_settings_and_leaves_the_line():
    chip = _awake()
    chip.execute(bytes.fromhex("1008"))
    chip.acknowledged()
    chip.execute(bytes.fromhex("0863292a"))
    chip.brown_out()
    assert (chip.asleep, chip.baud) == (False, 1288000)
    assert _run(chip, "066329") == "0700"
    assert _run(chip, POLL) is None, "retries without end, as after power-up"


def test_an_upset_chip_polls_and_hears_nothing_until_it_is_set_up():
    chip = _awake()
    chip.place(CARD)
    chip.upset()
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "320a59f43f114d85616f266287") == "33"
    assert _run(chip, POLL).startswith("4b01")


def test_a_broken_antenna_says_so_only_to_who_asks():
    chip = _awake()
    chip.place(CARD)
    chip.antenna.broken = True
    assert _run(chip, POLL) == "4b00"
    assert _run(chip, "320101") == "33"
    assert _run(chip, "066304") == "0780"
    assert _run(chip, "04") == "050d000000"
    chip.antenna.broken = False
    assert _run(chip, POLL).startswith("4b01")


def test_crc_a_of_the_standard():
    # ISO/IEC 14443-3, annex B.2: "00 00" gives A0 1E, "12 34" gives 26 CF.
    assert crc_a(b"\x00\x00").hex() == "a01e"
    assert crc_a(b"\x12\x34").hex() == "26cf"


def test_modelled_time_adds_up():
    chip = _awake(REALISTIC)
    assert chip.execute(b"\x02").delay_s == REALISTIC.command_s
    assert chip.execute(bytes.fromhex(POLL)).delay_s == pytest.approx(REALISTIC.command_s + 2 * REALISTIC.poll_s)
    chip.place(Echo(0.01))
    chip.execute(bytes.fromhex(POLL))
    reply = chip.execute(b"\x42" + bytes(50))
    assert reply.delay_s == pytest.approx(REALISTIC.command_s + 104 * REALISTIC.air_byte_s + 0.01)
