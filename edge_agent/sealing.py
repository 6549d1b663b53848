"""What the outbox and the uplink may know of tokens: one terminal's key and names, bound into plain functions."""

from collections.abc import Callable

from edge_agent.clock import Clock
from edge_agent.errors import TokenError
from edge_agent.models import ChainPosition
from edge_agent.outbox.base import Codec, Head, Hole
from edge_agent.tokens.chain import Checkpoint, Gap, parse_gap, seal_record
from edge_agent.tokens.sign1 import Signer
from edge_agent.tokens.tap_token import link_hash, make_sealer, parse


def outbox_codec(key: Signer, fleet: str, terminal: str, clock: Clock) -> Codec:
    """Return the outbox's codec for one terminal."""

    def seal_gap(hole: Hole) -> bytes:
        gap = Gap(
            iss=terminal,
            iat=clock.read().unix,
            chain=hole.chain,
            first=hole.first,
            last=hole.last,
            prev=hole.prev,
            hash=hole.hash,
            reason=hole.reason,
        )
        return seal_record(gap, key, fleet, terminal)

    return Codec(
        seal=make_sealer(key, fleet, terminal),
        seal_gap=seal_gap,
        link_hash=link_hash,
        place=place_of,
        exp=lambda token: parse(token).claims.exp,
        read_gap=hole_of,
    )


def reading_codec() -> Codec:
    """What reading an outbox takes; there is no key in it, and what would need one raises TokenError."""

    def never(*_what: object) -> bytes:
        raise TokenError("this codec is there to read")

    return Codec(
        seal=never,
        seal_gap=never,
        link_hash=link_hash,
        place=place_of,
        exp=lambda token: parse(token).claims.exp,
        read_gap=hole_of,
    )


def place_of(token: bytes) -> ChainPosition | None:
    """Where a token says that it belongs; None for bytes that are no token."""
    try:
        claims = parse(token).claims
    except TokenError:
        return None
    return ChainPosition(claims.chain, claims.seq, claims.prev)


def hole_of(record: bytes) -> Hole | None:
    """What a gap record says; None for bytes that are none."""
    try:
        gap = parse_gap(record).record
    except TokenError:
        return None
    if not isinstance(gap, Gap):
        return None
    return Hole(gap.chain, gap.first, gap.last, gap.prev, gap.hash, gap.reason)


def checkpoint_sealer(key: Signer, fleet: str, terminal: str, clock: Clock) -> Callable[[Head], bytes]:
    """Return what swears to the end of the chain (contract, section 1, ``evt/chk``)."""

    def seal(head: Head) -> bytes:
        now = clock.read()
        record = Checkpoint(iss=terminal, iat=now.unix, chain=head.chain, seq=head.seq, head=head.hash, clk=now.trust)
        return seal_record(record, key, fleet, terminal)

    return seal
