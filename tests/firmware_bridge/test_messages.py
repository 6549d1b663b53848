"""Messages: byte layouts written down once by hand, round trips, and refusal of everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.frames import Frame, decode_frame
from firmware_bridge.messages import (
    CUE_CODES,
    Ack,
    AskStatus,
    Capability,
    HostHello,
    HostMessage,
    Level,
    McuEvent,
    McuHello,
    McuMessage,
    MessageError,
    Nak,
    NakReason,
    Ping,
    Reset,
    ShowCue,
    Status,
    encode_message,
    from_host,
    from_mcu,
    show_cue,
)

BYTE = st.integers(0, 255)
U32 = st.integers(0, 0xFFFFFFFF)


def text_of(size: int) -> st.SearchStrategy[str]:
    return st.text(max_size=size).filter(lambda text: len(text.encode("utf-8", errors="replace")) <= size)


FROM_HOST = st.one_of(
    st.builds(HostHello, text_of(24)),
    st.builds(ShowCue, st.sampled_from(CueName), st.integers(1, 65535), st.integers(0, 100), text_of(64)),
    st.builds(Ping, U32),
    st.builds(Level, st.integers(0, 100)),
    st.builds(AskStatus),
    st.builds(Reset),
    st.builds(Ack, BYTE),
)
FROM_MCU = st.one_of(
    st.builds(McuHello, st.tuples(BYTE, BYTE, BYTE), BYTE.map(Capability), text_of(16)),
    st.builds(Ack, BYTE),
    st.builds(Nak, BYTE, st.sampled_from(NakReason)),
    st.builds(Status, st.none() | st.sampled_from(CueName), U32, st.integers(-128, 127), st.integers(0, 65535)),
    st.builds(McuEvent, BYTE, st.binary(max_size=32)),
)


@given(FROM_HOST, BYTE)
def test_host_messages_round_trip(message: HostMessage, seq: int) -> None:
    frame = decode_frame(encode_message(message, seq)[:-1])
    assert (from_host(frame), frame.seq) == (message, seq)


@given(FROM_MCU, BYTE)
def test_mcu_messages_round_trip(message: McuMessage, seq: int) -> None:
    frame = decode_frame(encode_message(message, seq)[:-1])
    assert (from_mcu(frame), frame.seq) == (message, seq)


@pytest.mark.parametrize(
    ("message", "frame_type", "payload"),
    [
        (HostHello("sh-1"), 0x01, "01 73682d31"),
        (ShowCue(CueName.THANKS, 3500, 80, "谢谢"), 0x02, "03 0dac 50 06 e8b0a2e8b0a2"),
        (Ping(0x01020304), 0x03, "01020304"),
        (Level(60), 0x04, "3c"),
        (AskStatus(), 0x05, ""),
        (Reset(), 0x06, ""),
        (McuHello((1, 2, 3), Capability.TEXT | Capability.BUTTON, "A7"), 0x81, "01 010203 05 4137"),
        (Ack(7), 0x82, "07"),
        (Nak(7, NakReason.BUSY), 0x83, "07 04"),
        (Status(CueName.INVITE, 1000, -5, 0x0102), 0x84, "01 000003e8 fb 0102"),
        (Status(None, 0, 20), 0x84, "00 00000000 14 0000"),
        (McuEvent(1, b"\x01"), 0x85, "01 01"),
    ],
)
def test_layout(message: HostMessage | McuMessage, frame_type: int, payload: str) -> None:
    assert frame_type == message.TYPE
    assert bytes(message) == bytes.fromhex(payload)


def test_each_cue_has_a_code_of_its_own() -> None:
    assert set(CUE_CODES) == set(CueName)
    assert sorted(CUE_CODES.values()) == list(range(1, 10))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame(0x02, 1, b"", version=2), NakReason.VERSION),
        (Frame(0x7F, 1), NakReason.UNKNOWN_TYPE),
        (Frame(0x84, 1, bytes(8)), NakReason.UNKNOWN_TYPE),  # an MCU's message does not come from a host
        (Frame(0x01, 1), NakReason.BAD_PAYLOAD),
        (Frame(0x01, 1, b"\x02sh-1"), NakReason.VERSION),
        (Frame(0x01, 1, b"\x00\xff" + b"x" * 99), NakReason.VERSION),  # its layout is not ours to judge
        (Frame(0x01, 1, b"\x01" + b"x" * 25), NakReason.BAD_PAYLOAD),
        (Frame(0x01, 1, b"\x01\xff"), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("03 0dac 50 01")), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("03 0dac 50 00 41")), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("03 0000 50 00")), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("03 0dac 65 00")), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("03 0dac 50 41") + b"x" * 65), NakReason.BAD_PAYLOAD),
        (Frame(0x02, 1, bytes.fromhex("63 0dac 50 00")), NakReason.UNKNOWN_CUE),
        (Frame(0x03, 1, b"123"), NakReason.BAD_PAYLOAD),
        (Frame(0x04, 1, b"\x65"), NakReason.BAD_PAYLOAD),
        (Frame(0x05, 1, b"x"), NakReason.BAD_PAYLOAD),
    ],
)
def test_what_a_host_may_not_say(frame: Frame, reason: NakReason) -> None:
    with pytest.raises(MessageError) as caught:
        from_host(frame)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "frame",
    [
        Frame(0x81, 1, b"\x01\x01\x01\x01"),
        Frame(0x81, 1, b"\x02\x01\x01\x01\x00C"),
        Frame(0x81, 1, b"\x01\x01\x01\x01\x00" + b"x" * 17),
        Frame(0x82, 1),
        Frame(0x83, 1, b"\x01"),
        Frame(0x83, 1, b"\x01\x01\x01"),
        Frame(0x83, 1, b"\x01\x63"),
        Frame(0x84, 1, bytes(7)),
        Frame(0x84, 1, b"\x63" + bytes(7)),
        Frame(0x85, 1),
        Frame(0x85, 1, bytes(34)),
        Frame(0x02, 1, bytes.fromhex("03 0dac 50 00")),
    ],
)
def test_what_an_mcu_may_not_say(frame: Frame) -> None:
    with pytest.raises(MessageError):
        from_mcu(frame)


KINDS = st.sampled_from([*range(0x01, 0x07), *range(0x81, 0x86)])


@given(st.builds(Frame, KINDS | BYTE, BYTE, st.binary(max_size=9) | st.binary(max_size=120), st.just(1) | BYTE))
def test_any_frame_is_read_or_refused(frame: Frame) -> None:
    for read in (from_host, from_mcu):
        try:
            read(frame)
        except MessageError:
            continue


def test_full_brightness_is_within_the_range() -> None:
    assert from_host(Frame(Level.TYPE, 1, b"\x64")) == Level(100)


def test_the_amount_is_the_first_line_of_the_text() -> None:
    message = show_cue(Cue(CueName.THANKS, "coupon", "¥2.00"), 3000)
    assert message.text == "¥2.00\ncoupon"
    assert show_cue(Cue(CueName.THANKS, "coupon"), 3000).text == "coupon"


def test_a_long_text_is_cut_at_a_whole_character() -> None:
    payload = bytes(ShowCue(CueName.THANKS, 3000, text="谢" * 40))
    assert payload[4] == 63
    assert payload[5:].decode() == "谢" * 21
