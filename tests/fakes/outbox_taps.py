"""Taps, a sealer and a link hash for tests of the outbox: predictable bytes instead of signatures."""

import hashlib

from edge_agent.models import ChainPosition, ClockReading, ClockTrust, Tap, TapFacts, TapMode
from edge_agent.outbox.base import Codec, Hole, Sealer

BOOT = b"bootbyte"
CLOSE_S = 30.0
"""What a test's outbox may take to close: where a machine stops for two seconds no storage hangs."""


def a_tap(number: int = 0, *, unix: int = 1_790_000_000, trust: ClockTrust = ClockTrust.SYNCED) -> Tap:
    """A tap that its number makes recognisable."""
    facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=number.to_bytes(8, "big"))
    return Tap(facts=facts, at=ClockReading(unix=unix, trust=trust, boot=BOOT, up=5), ttl=90)


def plain_sealer(tap: Tap, position: ChainPosition) -> bytes:
    """A token of 230 bytes that spells out its place: chain, seq, prev, nonce."""
    body = position.cti + position.prev + (tap.facts.nonce or b"")
    return body + b"\x5a" * (230 - len(body))


def plain_link(token: bytes) -> bytes:
    """The contract's link hash: SHA-256, first 16 bytes."""
    return hashlib.sha256(token).digest()[:16]


def place_in(token: bytes) -> ChainPosition:
    """Read back the place that ``plain_sealer`` wrote into a token."""
    return ChainPosition(token[:8], int.from_bytes(token[8:16], "big"), token[16:32])


def plain_gap(hole: Hole) -> bytes:
    """A gap record that spells out what it is about."""
    ends = hole.first.to_bytes(8, "big") + hole.last.to_bytes(8, "big")
    return b"GAP" + hole.chain + ends + hole.prev + hole.hash + hole.reason.encode()


def hole_in(record: bytes) -> Hole | None:
    """Read back what ``plain_gap`` wrote."""
    if record[:3] != b"GAP":
        return None
    first, last = int.from_bytes(record[11:19], "big"), int.from_bytes(record[19:27], "big")
    return Hole(record[3:11], first, last, record[27:43], record[43:59], record[59:].decode())


def plain_codec(sealer: Sealer = plain_sealer) -> Codec:
    """What the outbox knows of such tokens."""
    return Codec(
        seal=sealer,
        seal_gap=plain_gap,
        link_hash=plain_link,
        place=lambda token: place_in(token) if len(token) == 230 and token[-1:] == b"\x5a" else None,
        exp=lambda _: 1_790_000_090,
        read_gap=hole_in,
    )


PLAIN = plain_codec()
