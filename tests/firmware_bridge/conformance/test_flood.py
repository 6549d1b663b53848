"""A firmware that never stops talking, or answers anything at all: the run ends with a verdict on each check."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.runner import CHECKS, run
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.frames import DELIMITER, Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import Ack, McuEvent, Nak, NakReason, Status, encode_message
from tests.fakes.broken_firmware import HELLO, Firmware
from tests.fakes.virtual_wire import VirtualWire

SECONDS = 600.0
"""Virtual seconds that the worst firmware may take: every check ends by its own bounds."""


class Flooded(VirtualWire):
    """Each read brings one more message that nobody asked for; answers come between."""

    def __init__(self, flood: Callable[[int], bytes]) -> None:
        super().__init__(Firmware)
        self.flood = flood
        self.heard = 0
        self.turn = 0

    def write(self, data: bytes) -> None:
        for frame in FrameDecoder().feed(data):
            self.heard = frame.seq
        super().write(data)

    def read(self, until: float) -> bytes:
        self.turn += 1
        if self.turn % 3 == 0 and (data := super().read(self.at)):
            return data
        self.at += 0.002
        return self.flood(self.heard)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "ACK of the last seq": lambda seq: encode_message(Ack(seq), seq),
    "NAK of the last seq": lambda seq: encode_message(Nak(seq, NakReason.BUSY), seq),
    "HELLO": lambda seq: encode_message(HELLO, seq),
    "STATUS": lambda seq: encode_message(Status(None, 1, 20), seq),
    "EVENT BUTTON": lambda seq: encode_message(McuEvent(1, b"\x01"), seq),
    "unknown types": lambda seq: encode_frame(Frame(0xC0, seq, b"?")),
    "bytes without an end": lambda _: b"\x55" * 60,
    "delimiters": lambda _: b"\x00" * 60,
}


def outcomes(wire: VirtualWire) -> list[Outcome]:
    return run(Talk(wire, person=lambda _: True), CHECKS, [].append)


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_no_run(name: str) -> None:
    wire = Flooded(FLOODS[name])
    found = outcomes(wire)
    assert len(found) == len(CHECKS)
    assert wire.at < 1000 + SECONDS
    assert any(outcome.verdict is Verdict.FAIL for outcome in found) or name == "delimiters"


class Rubbish(VirtualWire):
    """A firmware whose every answer is drawn."""

    def __init__(self, seed: int) -> None:
        super().__init__(Firmware)
        self.random = random.Random(seed)

    def read(self, until: float) -> bytes:
        self.at += 0.001
        kind = self.random.randrange(6)
        if kind == 0:
            self.at = max(self.at, until)
            return b""
        if kind == 1:
            return self.random.randbytes(self.random.randrange(80)) + DELIMITER
        if kind == 2:
            types = (0x81, 0x82, 0x83, 0x84, 0x85, 0x10)
            payload = self.random.randbytes(self.random.randrange(12))
            return encode_frame(Frame(self.random.choice(types), self.random.randrange(256), payload))
        return super().read(until)


@given(st.integers(0, 2**32))
def test_whatever_a_firmware_answers_each_check_has_a_verdict(seed: int) -> None:
    wire = Rubbish(seed)
    found = outcomes(wire)
    assert [outcome.check for outcome in found] == list(CHECKS)
    assert wire.at < 1000 + SECONDS
    for outcome in found:
        assert outcome.verdict is not Verdict.FAIL or (outcome.expected and outcome.got)
