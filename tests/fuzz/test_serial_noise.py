"""Any bytes on a reader's line: no parser raises, grows or stays deaf; the card that comes after the noise is read.

`make test` draws some hundreds of lines for each profile, `make proof` a hundred thousand in all.
"""

import random
import time
from functools import reduce
from operator import xor

import pytest

from edge_agent.readers.base import RawUid
from edge_agent.readers.profiles.acs_ccid import AcsCcidParser, Message
from edge_agent.readers.profiles.base import Parser, ProfileSettings, Reading
from edge_agent.readers.profiles.make import make_parser
from edge_agent.simulation.serial_readers import aa_bb, ascii_line, id12la, rdm6300
from tests.fakes.proof_report import LINES

SHORT, LONG = 300, 25_000
NUMBER = bytes.fromhex("04a1b2c3d4")
FRAMES = {
    "rdm6300": ("stx_etx_hex", rdm6300),
    "id12la": ("stx_etx_hex", id12la),
    "aa_bb": ("aa_bb", aa_bb),
    "ascii_line": ("ascii_line", ascii_line),
}
SPECIAL = bytes([0x02, 0x03, 0xAA, 0xBB, 0x0D, 0x0A, 0x00, 0xFF, 0x30, 0x41])


def noise(rng: random.Random, frame: bytes) -> bytes:
    """Bytes of the line's own kind: pieces of good frames, delimiters, anything."""
    parts = []
    for _ in range(rng.randrange(8)):
        cut = rng.randrange(len(frame) + 1)
        parts.append(
            rng.choice((frame[:cut], frame[cut:], rng.randbytes(rng.randrange(40)), bytes(rng.choices(SPECIAL, k=9))))
        )
    return b"".join(parts)


def fed(parser: Parser | AcsCcidParser, rng: random.Random, data: bytes) -> list[object]:
    """All events of ``data`` in random portions."""
    events: list[object] = []
    while data:
        size = rng.randrange(1, 20)
        events += parser.feed(data[:size])
        data = data[size:]
    return events


def one_line(name: str, seed: int) -> None:
    rng = random.Random(seed)
    profile, make = FRAMES[name]
    frame = make().frame(NUMBER)
    parser = make_parser(ProfileSettings(profile=profile))  # type: ignore[arg-type] # the names of the table
    fed(parser, rng, noise(rng, frame))
    parser.idle()  # the line falls silent before somebody holds a card there
    readings = [event for event in fed(parser, rng, frame) if isinstance(event, Reading)]
    assert len(readings) == 1, f"{name}, seed {seed}"
    assert isinstance(readings[0].uid, RawUid)
    assert parser.idle() == [], f"{name}, seed {seed}: something was held back"


def one_dialogue(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.randrange(250))
    body = b"\x80" + len(data).to_bytes(4, "little") + bytes([0, 7, 0, 0, 0]) + data
    answer = b"\x02" + body + bytes([reduce(xor, body)]) + b"\x03"
    parser = AcsCcidParser()
    fed(parser, rng, noise(rng, answer))
    parser.idle()
    messages = [event for event in fed(parser, rng, answer) if isinstance(event, Message)]
    assert [message.data for message in messages] == [data], f"seed {seed}"


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_the_card_after_the_noise_is_read(name: str) -> None:
    for seed in range(SHORT):
        one_line(name, seed)


def test_the_answer_after_the_noise_is_read() -> None:
    for seed in range(SHORT):
        one_dialogue(seed)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_hundred_thousand_lines() -> None:
    began = time.perf_counter()
    for name in FRAMES:
        for seed in range(SHORT, SHORT + LONG):
            one_line(name, seed)
    for seed in range(SHORT, SHORT + LONG):
        one_dialogue(seed)
    lines = LONG * (len(FRAMES) + 1)
    LINES.append(f"PROOF fault=noise_on_a_serial_line times={lines} took_s={time.perf_counter() - began:.0f}")
