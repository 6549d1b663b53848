import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.profiles.acs_ccid import (
    MAX_DATA,
    MAX_FRAME,
    AcsCcidParser,
    Answer,
    Command,
    Event,
    Message,
    Outcome,
    SlotChange,
    Status,
    encode,
)
from edge_agent.readers.profiles.base import Fault, FaultKind
from tests.fakes.portions import CUTS, portions

ATR = bytes.fromhex("3B8B80014A434F50333133364744544C")
POWERED = bytes.fromhex("02 80 10 00 00 00 00 00 00 81 00") + ATR + b"\x2a\x03"
READ_256 = bytes.fromhex("02 80 02 01 00 00 00 00 00 81 00") + bytes(range(1, 256)) + bytes.fromhex("00 90 00 92 03")


def wire_of(kind: int, seq: int, data: bytes, status: int = 0) -> bytes:
    body = bytes([kind]) + len(data).to_bytes(4, "little") + bytes([0, seq, status, 0x81, 0]) + data
    check = 0
    for byte in body:
        check ^= byte
    return b"\x02" + body + bytes([check, 3])


def told(parser: AcsCcidParser, data: bytes, cuts: list[int] | None = None) -> list[Event]:
    return [event for part in portions(data, cuts or []) for event in parser.feed(part)] + parser.idle()


messages = st.builds(
    Message, st.sampled_from(Answer), st.just(0), st.integers(0, 255), st.integers(0, 255), st.just(0x81),
    st.binary(max_size=MAX_DATA),
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "seq", "slot", "data", "wire"),
    [
        (Command.ICC_POWER_ON, 0, 0, "", "02 62 00 00 00 00 00 00 00 00 00 62 03"),
        (Command.ICC_POWER_OFF, 0, 0, "", "02 63 00 00 00 00 00 00 00 00 00 63 03"),
        (Command.XFR_BLOCK, 0, 0, "80B2000000", "02 6F 05 00 00 00 00 00 00 00 00 80 B2 00 00 00 58 03"),
        (Command.XFR_BLOCK, 0, 1, "8084000008", "02 6F 05 00 00 00 01 00 00 00 00 80 84 00 00 08 67 03"),
        (Command.ESCAPE, 0, 1, "4404", "02 6B 02 00 00 00 01 00 00 00 00 44 04 28 03"),
        (Command.ESCAPE, 0, 1, "E000001800", "02 6B 05 00 00 00 01 00 00 00 00 E0 00 00 18 00 97 03"),
        (Command.ESCAPE, 0, 1, "E00000280105", "02 6B 06 00 00 00 01 00 00 00 00 E0 00 00 28 01 05 A0 03"),
    ],
)
def test_the_published_commands_are_made(command: Command, seq: int, slot: int, data: str, wire: str) -> None:
    assert encode(command, seq, bytes.fromhex(data), slot=slot) == bytes.fromhex(wire)


@pytest.mark.parametrize(
    ("wire", "frame"),
    [
        (POWERED, Message(Answer.DATA_BLOCK, 0, 0, 0, 0x81, ATR)),
        (READ_256, Message(Answer.DATA_BLOCK, 0, 0, 0, 0x81, READ_256[11:-2])),
        (
            bytes.fromhex("02 81 00 00 00 00 00 00 00 81 00 00 03"),
            Message(Answer.SLOT_STATUS, 0, 0, 0, 0x81, b""),
        ),
        (
            bytes.fromhex("02 83 02 00 00 00 01 00 00 81 00 90 04 95 03"),
            Message(Answer.ESCAPE, 1, 0, 0, 0x81, b"\x90\x04"),
        ),
        (
            bytes.fromhex("02 80 0A 00 00 00 01 00 00 81 00 C2 FF 2D 23 C5 F6 5C F2 90 00 34 03"),
            Message(Answer.DATA_BLOCK, 1, 0, 0, 0x81, bytes.fromhex("C2FF2D23C5F65CF29000")),
        ),
        (bytes.fromhex("02 00 00 03"), Status.ACK),
        (bytes.fromhex("02 FF FF 03"), Status.CHECKSUM),
        (bytes.fromhex("02 FE FE 03"), Status.LENGTH),
        (bytes.fromhex("02 FD FD 03"), Status.ETX),
        (bytes.fromhex("02 FC FC 03"), Status.TIMEOUT),
        (bytes.fromhex("02 99 99 03"), Status.TIMEOUT),
        (bytes.fromhex("02 FB FB 03"), Status.SLOT),
        (bytes.fromhex("02 50 07 57 03"), SlotChange(card_there=True)),
        (bytes.fromhex("02 50 0C 5C 03"), SlotChange(card_there=False)),
    ],
)
def test_the_published_answers_are_read(wire: bytes, frame: Event) -> None:
    assert told(AcsCcidParser(), wire) == [frame]
    assert told(AcsCcidParser(), wire, list(range(len(wire)))) == [frame]


def test_an_answer_says_what_became_of_the_command_and_of_the_card() -> None:
    done, failed, waiting = (Message(Answer.DATA_BLOCK, 0, 0, status, 0, b"") for status in (0x00, 0x42, 0x80))
    assert [m.outcome for m in (done, failed, waiting)] == [Outcome.DONE, Outcome.FAILED, Outcome.TIME_EXTENSION]
    assert [m.card_there for m in (done, failed, waiting)] == [True, False, True]


def test_what_a_card_answered_is_not_shown() -> None:
    assert "data" not in repr(Message(Answer.DATA_BLOCK, 0, 0, 0, 0, b"\x04\xa1\xb2\xc3"))


def test_a_frame_longer_than_the_reader_takes_is_not_made() -> None:
    assert len(encode(Command.XFR_BLOCK, 300, bytes(MAX_DATA))) == MAX_FRAME
    with pytest.raises(ValueError, match="261"):
        encode(Command.XFR_BLOCK, 0, bytes(MAX_DATA + 1))


@given(st.lists(messages, max_size=4), CUTS)
def test_any_messages_in_any_portions(wanted: list[Message], cuts: list[int]) -> None:
    wire = b"".join(b"\x02\x00\x00\x03" + wire_of(m.kind, m.seq, m.data, m.status) for m in wanted)
    assert told(AcsCcidParser(), wire, cuts) == [event for m in wanted for event in (Status.ACK, m)]


@given(st.binary(max_size=800), CUTS)
def test_any_bytes_in_any_portions_give_the_same_and_raise_nothing(noise: bytes, cuts: list[int]) -> None:
    assert told(AcsCcidParser(), noise, cuts) == told(AcsCcidParser(), noise)


@given(st.binary(max_size=300).filter(lambda noise: b"\x02" not in noise), messages)
def test_noise_without_an_stx_hides_nothing(noise: bytes, message: Message) -> None:
    wire = noise + wire_of(message.kind, message.seq, message.data, message.status)
    assert message in AcsCcidParser().feed(wire)


@given(st.binary(max_size=300), messages)
def test_after_any_noise_a_frame_is_found_when_the_line_falls_silent(noise: bytes, message: Message) -> None:
    events = told(AcsCcidParser(), noise + wire_of(message.kind, message.seq, message.data, message.status))
    assert message in events or any(isinstance(event, Message) for event in events)


@given(st.integers(11, 290), messages)
def test_a_frame_inside_one_that_was_only_announced_is_found_in_time(cut: int, message: Message) -> None:
    torn = wire_of(Answer.DATA_BLOCK, 1, bytes(MAX_DATA))[:cut]
    wire = wire_of(message.kind, message.seq, message.data, message.status)
    assert message in AcsCcidParser().feed(torn + wire + bytes(MAX_FRAME))


@given(st.integers(11, 200), messages)
def test_a_frame_in_one_that_never_ends_is_found_when_the_line_falls_silent(cut: int, message: Message) -> None:
    torn = wire_of(Answer.DATA_BLOCK, 1, bytes(MAX_DATA))[:cut]
    wire = wire_of(message.kind, message.seq, message.data, message.status)
    assert message in told(AcsCcidParser(), torn + wire)


@given(st.data(), messages)
def test_one_flipped_bit_is_never_taken_for_the_frame(data: st.DataObject, message: Message) -> None:
    wire = bytearray(wire_of(message.kind, message.seq, message.data, message.status))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    lengths = [len(event.data) for event in AcsCcidParser().feed(bytes(wire)) if isinstance(event, Message)]
    assert len(message.data) not in lengths


def test_a_length_that_no_frame_has_is_not_waited_for() -> None:
    wire = b"\x02\x80" + (MAX_DATA + 1).to_bytes(4, "little")
    assert AcsCcidParser().feed(wire)[0] == Fault(FaultKind.LENGTH)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_more_than_the_longest_frame_is_held(parts: list[bytes]) -> None:
    parser = AcsCcidParser()
    for part in parts:
        parser.feed(part)
        assert len(parser._buffer) < MAX_FRAME
