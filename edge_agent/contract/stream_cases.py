"""Vectors for what holds a stream together: chained tokens, checkpoint, gap record, batch, and what a loss shows."""

from dataclasses import replace
from typing import Any

from edge_agent.contract.samples import CHAIN, EXAMPLE, FLEET, NOW, A
from edge_agent.models import FIRST_PREV, ClockTrust
from edge_agent.tokens.chain import ChainWalk, Checkpoint, Gap, parse_checkpoint, parse_gap, seal_record
from edge_agent.tokens.sign1 import stream_aad
from edge_agent.tokens.tap_token import link_hash, parse, seal
from edge_agent.uplink.wire import encode_batch

_LENGTH = 8


def chain() -> list[bytes]:
    """Return the tokens of seq 1 to 8, ten seconds apart, each with the hash of the one before."""
    tokens: list[bytes] = []
    prev = FIRST_PREV
    for seq in range(1, _LENGTH + 1):
        at = NOW + 10 * seq
        claims = replace(EXAMPLE, iat=at, exp=at + 90, cti=CHAIN + seq.to_bytes(8, "big"), prev=prev, up=100 + 10 * seq)
        tokens.append(seal(claims, A.key, stream_aad(FLEET, A.terminal)))
        prev = link_hash(tokens[-1])
    return tokens


def checkpoint() -> Checkpoint:
    """Return the checkpoint behind seq 8."""
    head = link_hash(chain()[-1])
    return Checkpoint(A.terminal, NOW + 600, CHAIN, _LENGTH, head, ClockTrust.SYNCED)


def gap() -> Gap:
    """Return the gap record for seq 4 to 6."""
    tokens = chain()
    prev, last = link_hash(tokens[2]), link_hash(tokens[5])
    return Gap(A.terminal, NOW + 300, CHAIN, 4, 6, prev, last, "full")


def unknown_gap() -> Gap:
    """Return a gap record for seq 4 to 6 whose rows could not be read any more: zeros at both ends."""
    return replace(gap(), prev=FIRST_PREV, hash=FIRST_PREV, reason="corrupt")


def document() -> dict[str, Any]:
    """Return the vector file. What each stream shows is written by hand and must be what the walk finds."""
    tokens = chain()
    replaced = list(tokens)
    replaced[3] = seal(replace(parse(tokens[3]).claims, up=1), A.key, stream_aad(FLEET, A.terminal))
    every = [f"token {seq}" for seq in range(1, _LENGTH + 1)]
    streams = [
        _stream("whole", tokens, every, through=8),
        _stream("live-before-backlog", tokens, [every[7], *every[:7]], through=8),
        _stream("one-lost", tokens, [*every[:3], *every[4:]], through=3, holes=[[4, 4]]),
        _stream("evicted-with-a-record", tokens, [*every[:3], "gap", *every[6:]], through=8),
        _stream("record-comes-last", tokens, [*every[6:], *every[:3], "gap"], through=8),
        _stream("record-of-unreadable-rows", tokens, [*every[:3], "unknown gap", *every[6:]], through=8),
        _stream("end-cut-off-but-checkpointed", tokens, [*every[:6], "checkpoint"], through=6, holes=[[7, 8]]),
        _stream("fourth-replaced", replaced, every, through=8, breaks=[5]),
        _stream("fourth-replaced-and-backwards", replaced, every[::-1], through=8, breaks=[5]),
    ]
    return {
        "about": "A chain of eight tokens of terminal a, a checkpoint, a gap record, a batch, and what must be found "
        "in streams that arrive in the given order: through, holes (gap), breaks (chain_break).",
        "fleet": FLEET,
        "terminal": A.terminal,
        "kid": A.key.kid.hex(),
        "tokens_hex": [token.hex() for token in tokens],
        "links_hex": [link_hash(token).hex() for token in tokens],
        "fourth_replaced_hex": replaced[3].hex(),
        "checkpoint_hex": seal_record(checkpoint(), A.key, FLEET, A.terminal).hex(),
        "checkpoint": {
            "iss": A.terminal,
            "iat": NOW + 600,
            "chain": CHAIN.hex(),
            "seq": _LENGTH,
            "head": checkpoint().head.hex(),
            "clk": 2,
        },
        "gap_hex": seal_record(gap(), A.key, FLEET, A.terminal).hex(),
        "gap": {
            "iss": A.terminal,
            "iat": NOW + 300,
            "chain": CHAIN.hex(),
            "from": 4,
            "to": 6,
            "prev": gap().prev.hex(),
            "hash": gap().hash.hex(),
            "reason": "full",
        },
        "unknown_gap_hex": seal_record(unknown_gap(), A.key, FLEET, A.terminal).hex(),
        "batch_hex": encode_batch(tokens[:3]).hex(),
        "streams": streams,
    }


def _stream(
    name: str,
    tokens: list[bytes],
    arrivals: list[str],
    *,
    through: int,
    holes: list[list[int]] | None = None,
    breaks: list[int] | None = None,
) -> dict[str, Any]:
    made = {"name": name, "arrivals": arrivals, "through": through, "holes": holes or [], "breaks": breaks or []}
    found = walked(tokens, arrivals)
    if found != {key: made[key] for key in found}:
        raise AssertionError(f"{name}: the walk finds {found}")
    return made


def walked(tokens: list[bytes], arrivals: list[str]) -> dict[str, Any]:
    """Return what a walk over these arrivals finds."""
    walk = ChainWalk()
    for arrival in arrivals:
        if arrival in ("gap", "unknown gap"):
            told = gap() if arrival == "gap" else unknown_gap()
            record = parse_gap(seal_record(told, A.key, FLEET, A.terminal)).record
            assert isinstance(record, Gap)  # noqa: S101 - narrows the type, nothing else
            walk.gap(record)
        elif arrival == "checkpoint":
            head = parse_checkpoint(seal_record(checkpoint(), A.key, FLEET, A.terminal)).record
            assert isinstance(head, Checkpoint)  # noqa: S101 - narrows the type, nothing else
            walk.checkpoint(head)
        else:
            token = tokens[int(arrival.removeprefix("token ")) - 1]
            claims = parse(token).claims
            walk.token(claims.seq, claims.prev, link_hash(token))
    return {"through": walk.through, "holes": [list(hole) for hole in walk.holes()], "breaks": sorted(walk.breaks)}
