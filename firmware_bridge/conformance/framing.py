"""Checks of the frame: delimiters, COBS, and that nothing but 00 ends a frame."""

from firmware_bridge.conformance.base import FRAME, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.frames import MAX_PAYLOAD, Frame, crc16, encode_frame
from firmware_bridge.messages import MAX_TEXT, NakReason, Ping, ShowCue, encode_message

_UNKNOWN_TYPE = 0x7F


def _one_block(seq: int) -> bytes:
    """Return a PING whose body and CRC have no 00: behind the one code of COBS each byte is one of the body."""
    lines = (encode_frame(Frame(Ping.TYPE, seq, bytes((0x11, 0x22, 0x33, last)))) for last in range(1, 256))
    return next(line for line in lines if line[0] == len(line) - 1)


@check(
    "framing.delimiters",
    "leading, trailing and doubled 00 change nothing",
    clause=FRAME,
    hint="an empty run between two 00 is nothing: no error, no answer",
)
def delimiters(talk: Talk) -> None:
    """The host may end noise with a 00 whenever it wants to."""
    talk.greet()
    for before, after in ((b"\x00", b""), (b"\x00\x00\x00", b""), (b"", b"\x00\x00"), (b"\x00" * 300, b"\x00" * 300)):
        seq = talk.next_seq()
        talk.send_raw(before + encode_message(Ping(seq), seq) + after)
        talk.expect_ack(seq)
    talk.nothing_came("00 alone")


@check(
    "framing.bytewise",
    "bytes may come one by one, with pauses",
    clause=FRAME,
    hint="no time between two bytes ends a frame: USB and Bluetooth bring it in pieces",
)
def bytewise(talk: Talk) -> None:
    """Only 00 ends a frame."""
    talk.greet()
    seq = talk.next_seq()
    line = encode_message(ShowCue(CueName.READING, 5000), seq)
    for at, byte in enumerate(line):
        talk.wait(0.3 if at == len(line) // 2 else 0.002)
        talk.write(bytes((byte,)))
    talk.expect_ack(seq)


@check(
    "framing.joined",
    "two frames in one write are both answered",
    clause="What the host does",
    hint="a cue waits for nobody: it may follow a PING without a gap. Go on with the bytes behind a 00",
)
def joined(talk: Talk) -> None:
    """A cue that comes right behind another frame is not lost."""
    talk.greet()
    first, second = talk.next_seq(), talk.next_seq()
    cue = ShowCue(CueName.THANKS, 5000, 100, "x" * MAX_TEXT)
    talk.send_raw(encode_message(Ping(1), first) + encode_message(cue, second))
    talk.expect_ack(first)
    talk.expect_ack(second)


@check(
    "framing.longest",
    "a frame with 120 bytes of payload is read",
    clause=FRAME,
    hint="the buffer holds 126 bytes: 125 of the body and one of COBS",
)
def longest(talk: Talk) -> None:
    """The buffer is as long as the longest frame, so that a later version can use it."""
    talk.greet()
    for payload in (bytes(range(1, 1 + MAX_PAYLOAD)), bytes(MAX_PAYLOAD)):
        frame = Frame(_UNKNOWN_TYPE, talk.next_seq(), payload)
        talk.refused(frame, NakReason.UNKNOWN_TYPE, "a frame of the longest kind and an unknown type")


@check(
    "framing.zeros",
    "zeros in payload and CRC are read",
    clause=FRAME,
    hint="COBS: each code but the last stands for a 00 behind its block, also where the CRC ends in 00",
)
def zeros(talk: Talk) -> None:
    """COBS is undone right wherever a 00 stands."""
    talk.greet()
    endings: set[int] = set()
    for uptime in range(4096):
        body = bytes((1, Ping.TYPE, (talk.seq + 1) % 256)) + bytes(Ping(uptime))
        high, low = divmod(crc16(body), 256)
        kind = 2 * (high == 0) + (low == 0)
        if kind not in endings:
            endings.add(kind)
            talk.acked(Ping(uptime))


@check(
    "framing.crc",
    "a frame with a wrong CRC is ignored in silence",
    clause=FRAME,
    hint="CRC-16/CCITT-FALSE over body and CRC must be 0; the check value of 123456789 is 29B1. Send no NAK",
)
def crc(talk: Talk) -> None:
    """What the line has damaged is never taken for a message, and nobody answers for the seq of a damaged head."""
    talk.greet()
    line = _one_block(talk.next_seq())
    for at in range(1, len(line) - 1):
        for bit in range(8):
            damaged = line[at] ^ 1 << bit
            if damaged:
                talk.send_raw(line[:at] + bytes((damaged,)) + line[at + 1 :])
    talk.nothing_came("frames with one wrong bit")


@check(
    "framing.cut_off",
    "an ended half of a frame is ignored in silence",
    clause=rule(6),
    hint="a COBS code that points behind the end, or a body under 5 bytes, is no frame: drop it, send no NAK",
)
def truncated(talk: Talk) -> None:
    """A byte that is lost costs one frame."""
    talk.greet()
    line = _one_block(talk.next_seq())
    for end in range(1, len(line) - 1):
        talk.send_raw(line[:end] + b"\x00")
    talk.send_raw(b"\x01\x01\x01\x00")
    talk.nothing_came("frames that were cut off")


CHECKS = (delimiters, bytewise, joined, longest, zeros, crc, truncated)
