"""Frames for Observe Mode and the look at a chip, straight on the emulated chip: no line, no driver."""

import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import FakeClock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.pn532_care import FIELD_GUARD_S, LOOK_EVERY_S, SelfCheck, annotate, wake
from edge_agent.simulation.odd_phones import ObservingPhone
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_chip import Pn532Chip

FRAME = bytes.fromhex("6a02c30100")


class Direct:
    """A chipset of nfcpy as far as it is used, on a chip without a line."""

    def __init__(self, chip: Pn532Chip | None = None) -> None:
        self.chip = chip or Pn532Chip()
        self.chip.asleep = False
        self.sent: list[tuple[float, bytes]] = []
        self.command(0x12, b"\x00", 0.1)
        self.command(0x32, b"\x05\x01\x00\x01", 0.1)

    def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> bytearray | None:
        data = bytes([cmd_code]) + bytes(cmd_data)
        self.sent.append((time.monotonic(), data))
        payload = self.chip.execute(data).payload
        assert payload is not None
        return bytearray(payload[1:])

    def send_ack(self) -> None:
        self.chip.acknowledged()

    def sam_configuration(self, mode: str) -> None:
        assert mode == "normal"
        self.command(0x14, b"\x01", 0.1)

    def poll(self) -> bool:
        found = self.command(0x4A, b"\x01\x00", 1.0)
        assert found is not None
        return found[0] == 1


@pytest.fixture
def direct() -> Direct:
    return Direct()


def test_an_annotated_poll_finds_the_phone_that_waits_for_it(direct: Direct) -> None:
    observing = ObservingPhone(FRAME, clock=lambda: 0.0)
    direct.chip.place(observing)
    assert not direct.poll()
    annotate(direct, FRAME)
    assert direct.poll()
    assert observing.overheard == [FRAME], "without the CRC that was on the air"


def test_a_phone_that_knows_no_annotation_is_found_all_the_same(direct: Direct) -> None:
    direct.chip.place(SimulatedPhone())
    annotate(direct, FRAME)
    assert direct.poll()


def test_the_frame_waits_for_a_card_to_be_ready(direct: Direct) -> None:
    annotate(direct, FRAME)
    field_on = next(at for at, data in direct.sent if data == b"\x32\x01\x01")
    on_air = next(at for at, data in direct.sent if data == b"\x42" + FRAME)
    assert on_air - field_on >= FIELD_GUARD_S


@given(frame=st.binary(min_size=1, max_size=32))
def test_any_frame_is_heard_as_it_was_given(frame: bytes) -> None:
    direct = Direct()
    phone = ObservingPhone(frame, clock=lambda: 0.0)
    direct.chip.place(phone)
    direct.poll()
    annotate(direct, frame)
    assert phone.overheard == [frame]


def made(direct: Direct, clock: FakeClock) -> SelfCheck:
    """A check that has seen the chip once as it should be."""
    check = SelfCheck(clock, "/dev/nfc-reader0")
    check.begin(direct)
    check.look_if_due(direct)
    return check


def test_a_chip_that_is_well_is_left_in_peace_for_a_minute(direct: Direct) -> None:
    clock = FakeClock()
    check = made(direct, clock)
    before = len(direct.sent)
    check.look_if_due(direct)
    clock.advance(LOOK_EVERY_S - 1)
    check.look_if_due(direct)
    assert len(direct.sent) == before
    clock.advance(1)
    check.look_if_due(direct)
    assert len(direct.sent) == before + 3
    assert not direct.chip.antenna.powered


@pytest.mark.parametrize("fault", ["brown_out", "upset"])
def test_a_chip_that_lost_its_settings_is_found_out(direct: Direct, fault: str) -> None:
    check = made(direct, FakeClock())
    getattr(direct.chip, fault)()
    with pytest.raises(ReaderError, match="/dev/nfc-reader0 has reset itself") as found:
        check.look(direct)
    assert found.value.fault is ReaderFault.IO


def test_a_field_that_stays_off_is_found_out_with_the_chip_s_reason(direct: Direct) -> None:
    check = made(direct, FakeClock())
    direct.chip.antenna.broken = True
    with pytest.raises(ReaderError, match=r"cannot switch its field on \(it is too hot\)") as found:
        check.look(direct)
    assert "power-cycle" in found.value.remedy


def test_a_mark_that_is_put_again_is_good_again(direct: Direct) -> None:
    check = made(direct, FakeClock())
    direct.chip.brown_out()
    check.begin(direct)
    check.look(direct)


class Forgetful(Direct):
    """A chip whose firmware keeps no such mark, and does not tell whether its field is on."""

    def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> bytearray | None:
        answer = super().command(cmd_code, cmd_data, timeout)
        return bytearray(2) if cmd_code == 0x06 else answer


def test_a_chip_that_never_told_is_not_taken_for_broken() -> None:
    direct, clock = Forgetful(), FakeClock()
    check = made(direct, clock)
    for _ in range(3):
        clock.advance(LOOK_EVERY_S)
        check.look_if_due(direct)


@given(answers=st.lists(st.binary(max_size=4), min_size=8, max_size=8))
def test_whatever_a_chip_answers_is_a_finding_or_none(answers: list[bytes]) -> None:
    class Babbling(Direct):
        def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> bytearray | None:
            super().command(cmd_code, cmd_data, timeout)
            return bytearray(queue.popleft()) if queue else None

    queue: deque[bytes] = deque()
    direct, check = Babbling(), SelfCheck(FakeClock(), "/dev/x")
    queue.extend(answers)
    faults: list[ReaderFault] = []
    for _ in range(3):
        try:
            check.look(direct)
        except ReaderError as error:
            faults.append(error.fault)
    assert set(faults) <= {ReaderFault.IO}


class Deaf:
    """A line and chip that answer at one speed only, after some rounds."""

    def __init__(self, hears_at: int) -> None:
        self.baudrate = 0
        self.written: list[tuple[int, bytes]] = []
        self._hears_at = hears_at

    def write(self, frame: bytearray) -> None:
        self.written.append((self.baudrate, bytes(frame)))

    def send_ack(self) -> None:
        """Nothing runs."""

    def sam_configuration(self, mode: str) -> None:
        if self.baudrate != self._hears_at:
            raise ValueError(mode)

    def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> None:
        raise AssertionError("not asked for")


def test_a_chip_is_woken_at_the_speed_at_which_it_was_left() -> None:
    line = Deaf(9600)
    wake(line, line, (115200, 9600), "/dev/x", patience_s=0.0, noise=(ValueError,))
    assert [baud for baud, _ in line.written] == [115200, 9600]
    assert line.baudrate == 9600


def test_a_line_where_nobody_wakes_up_is_told() -> None:
    line = Deaf(300)
    with pytest.raises(ReaderError) as refused:
        wake(line, line, (115200, 9600), "/dev/x", patience_s=0.0, noise=(ValueError,))
    assert refused.value.fault is ReaderFault.NO_ANSWER
