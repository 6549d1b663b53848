"""The audit that every proof ends with: what was promised against what the ledger holds. Trusts no index, no counter.

It reads the ledger's file itself and checks hashes and signatures of its own, with nothing of the receiver's code.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.tokens.chain import Gap, parse_gap
from edge_agent.tokens.keys import PublicKey
from edge_agent.tokens.tap_token import parse

ACCEPTED = {"fresh", "late", "expired"}
"""An expired tap is evidence, too: it was made offline, longer than the ingest window ago."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit counted; that nothing is wrong is asserted, not counted."""

    promised: int
    stored: int
    unpromised: int
    """Stored taps whose phone never had its token: the fault came between the commit and the answer."""
    given_up: int
    """Promised taps that only a signed gap record accounts for."""
    duplicates: int
    """Tokens that reached the ledger again; each was stored once."""


@dataclass(frozen=True, slots=True)
class _Link:
    first: int
    last: int
    prev: bytes
    hash: bytes


def audit(
    ledger: Path,
    promised: Iterable[bytes],
    *,
    key: PublicKey,
    stream: tuple[str, str],
    waiting: int = 0,
    may_give_up: bool = False,
) -> Audited:
    """Compare; raises AssertionError that says what is lost. ``stream`` is (fleet, terminal).

    ``waiting``: rows that the outbox still wants to send. ``may_give_up``: whether rows may be evicted at all.
    """
    assert waiting == 0, f"{waiting} rows still wait in the outbox"
    given = {_place(token): token for token in dict.fromkeys(promised)}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        query = "SELECT fleet, terminal, chain, seq, token, verdict FROM tap JOIN stream ON stream.id = tap.stream"
        rows = db.execute(query).fetchall()
        refused = dict(db.execute("SELECT verdict, count FROM refusal").fetchall())
        (duplicates,) = db.execute("SELECT coalesce(sum(duplicates), 0) FROM stream").fetchone()
        gaps = [_gap(token, key, stream) for token in _gap_tokens(db)]
    assert {(fleet, terminal) for fleet, terminal, *_ in rows} <= {stream}
    stored = {(chain, seq): token for _, _, chain, seq, token, _ in rows}
    assert len(stored) == len(rows), "a place is stored twice"
    assert len(set(stored.values())) == len(rows), "a token is stored twice"
    verdicts = Counter(verdict for *_, verdict in rows)
    assert set(verdicts) <= ACCEPTED, verdicts
    assert set(refused) <= {"duplicate"}, f"refused: {refused}"
    missing = sorted(place for place in given if place not in stored)
    lost = [place for place in missing if not any(_covers(gap, *place) for gap in gaps)]
    assert not lost, f"{len(lost)} promised taps are neither stored nor accounted for: {_named(lost)}"
    assert may_give_up or not missing, f"{len(missing)} taps were given up: {_named(missing)}"
    other = [place for place, token in given.items() if stored.get(place, token) != token]
    assert not other, f"stored with other bytes than promised: {_named(other)}"
    _assert_chains(stored, gaps)
    return Audited(len(given), len(stored), len(stored.keys() - given.keys()), len(missing), int(duplicates))


def _assert_chains(stored: dict[tuple[bytes, int], bytes], gaps: list[Gap]) -> None:
    chains = {chain for chain, _ in stored} | {gap.chain for gap in gaps}
    for chain in sorted(chains):
        links = [_link(token) for (of, _), token in stored.items() if of == chain]
        links += [_Link(gap.first, gap.last, gap.prev, gap.hash) for gap in gaps if gap.chain == chain]
        # A token may be stored although a gap record covers it: it came after all, or the gap grew over it.
        reached: dict[int, set[bytes]] = {0: {bytes(16)}}
        for link in sorted(links, key=lambda link: (link.first, link.last)):
            known = reached.get(link.first - 1)
            if known is not None:
                assert link.prev in known, f"chain {chain.hex()}: {link.first} does not follow {link.first - 1}"
                reached.setdefault(link.last, set()).add(link.hash)
        end = max(link.last for link in links)
        assert end in reached, f"chain {chain.hex()} is broken behind {max(reached)}, it goes on to {end}"


def _link(token: bytes) -> _Link:
    claims = parse(token).claims
    return _Link(claims.seq, claims.seq, claims.prev, hashlib.sha256(token).digest()[:16])


def _gap(token: bytes, key: PublicKey, stream: tuple[str, str]) -> Gap:
    parsed = parse_gap(token)
    assert parsed.verified_by(key, *stream), "a gap record that this terminal did not sign"
    assert isinstance(parsed.record, Gap)
    return parsed.record


def _gap_tokens(db: sqlite3.Connection) -> list[bytes]:
    """The gap records in the ledger."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return [token for (token,) in db.execute("SELECT record FROM gap")] if "gap" in tables else []


def _covers(gap: Gap, chain: bytes, seq: int) -> bool:
    return gap.chain == chain and gap.first <= seq <= gap.last


def _place(token: bytes) -> tuple[bytes, int]:
    claims = parse(token).claims
    return claims.chain, claims.seq


def _named(places: list[tuple[bytes, int]]) -> str:
    return ", ".join(f"{chain.hex()}/{seq}" for chain, seq in places[:5]) + (" ..." if len(places) > 5 else "")
