"""What a token is worth: one verdict for each token, by the contract and nothing else. Pure.

Checks run in this order, and the first that fails decides; bytes that no registered key signed get no further than
the third:

1. form              not a token of the contract                                              -> malformed
2. key               its kid is not registered                                                -> unknown_key
3. signature         by this key, with this key's algorithm, for some stream of it or ours    -> bad_signature
4. stream            topic, key registration, iss and external_aad all name one terminal      -> wrong_stream
5. repetition        these very bytes are stored already                                      -> duplicate
6. validity of key   iat before valid_from -> unknown_key; from valid_to or revoked_at on     -> revoked_key
7. repetition        other bytes are stored under this cti                                    -> conflict
8. time              iat in the future -> clock_suspect; then fresh, late or expired

While ``clk`` is 0 iat means nothing: the key must be valid at the time of judging, such a token is never fresh and
never expired. It must never look at a clock or a database: ``now``, ``keys`` and ``seen`` are given.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.errors import TokenError
from edge_agent.models import ClockTrust
from edge_agent.tokens.keys import PublicKey
from edge_agent.tokens.sign1 import stream_aad
from edge_agent.tokens.tap_token import Claims, ParsedToken, parse

SKEW_S = 10
"""Contract: redemption "until exp (+10 s skew)"; future iat "accepted up to 10 s"."""
REFUSE_FUTURE_S = 60
"""Contract: future iat is "refused from 60 s, clock_suspect between"."""
INGEST_WINDOW_S = 7 * 24 * 3600
"""Contract: "for the ingest window (default 7 days) a late token still proves that a tap happened"."""


class Verdict(StrEnum):
    """The contract's words for one token."""

    FRESH = "fresh"
    LATE = "late"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    WRONG_STREAM = "wrong_stream"
    CLOCK_SUSPECT = "clock_suspect"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One registered key: whose it is and when it counts, in Unix seconds (valid_from included, the ends not)."""

    public: PublicKey
    fleet: str
    terminal: str
    valid_from: int = 0
    valid_to: int | None = None
    revoked_at: int | None = None


KeyLookup = Callable[[bytes], KeyRecord | None]
"""kid -> its record."""
SeenLookup = Callable[[bytes], bytes | None]
"""cti -> the token bytes stored under it in this stream."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one token and what follows from it."""

    verdict: Verdict
    reason: str
    """One line for people; holds nothing that the peer chose but names and numbers that passed the checks."""
    stored: bool = False
    """The token is a new row of the ledger: counted, evidence."""
    redeemable: bool = False
    """It may be redeemed, once, until exp + SKEW_S."""
    final: bool = True
    """False: the same bytes may be judged differently later (the key gets registered, the clock catches up)."""
    claims: Claims | None = None
    """What the token says; None unless form, key and signature are right."""
    kid: bytes | None = None
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Ruling:
    verdict: Verdict
    reason: str
    stored: bool = False
    redeemable: bool = False
    final: bool = True


def verify(
    token: bytes,
    *,
    fleet: str,
    terminal: str,
    now: float,
    keys: KeyLookup,
    seen: SeenLookup | None = None,
    ingest_window_s: int = INGEST_WINDOW_S,
) -> Judgement:
    """Judge one token that arrived in the stream of ``fleet`` and ``terminal`` (the topic) at ``now`` (Unix seconds).

    Without ``seen`` nothing is a duplicate or a conflict here: the ledger tells them in its own transaction. Never
    raises for anything that a peer can send.
    """
    try:
        parsed = parse(token)
    except TokenError as exc:
        return Judgement(Verdict.MALFORMED, exc.text, token=token)
    kid = parsed.kid
    record = keys(kid)
    if record is None:
        reason = f"no key {kid.hex()} is registered"
        return Judgement(Verdict.UNKNOWN_KEY, reason, final=False, kid=kid, token=token)
    ruling = _authenticity(parsed, record, fleet, terminal)
    if ruling is not None and ruling.verdict is Verdict.BAD_SIGNATURE:
        return Judgement(ruling.verdict, ruling.reason, kid=kid, token=token)
    if ruling is None:
        ruling = _repetition_and_validity(token, parsed.claims, record, now, seen)
    if ruling is None:
        ruling = _time(parsed.claims, now, ingest_window_s)
    return Judgement(
        verdict=ruling.verdict,
        reason=ruling.reason,
        stored=ruling.stored,
        redeemable=ruling.redeemable,
        final=ruling.final,
        claims=parsed.claims,
        kid=kid,
        token=token,
    )


def _authenticity(parsed: ParsedToken, record: KeyRecord, fleet: str, terminal: str) -> _Ruling | None:
    """Checks 3 and 4. A token that is genuine elsewhere is told apart from one that nobody signed."""
    if parsed.alg is not record.public.alg:
        reason = f"signed with {parsed.alg.name}, but key {parsed.kid.hex()} is for {record.public.alg.name}"
        return _Ruling(Verdict.BAD_SIGNATURE, reason)
    home = (record.fleet, record.terminal)
    if not _signed_for(parsed, record, fleet, terminal):
        if home != (fleet, terminal) and _signed_for(parsed, record, *home):
            return _Ruling(Verdict.WRONG_STREAM, f"a token of {'/'.join(home)} that was moved to another topic")
        return _Ruling(Verdict.BAD_SIGNATURE, f"key {parsed.kid.hex()} did not sign this for this stream")
    if home != (fleet, terminal):
        return _Ruling(Verdict.WRONG_STREAM, f"the key belongs to {'/'.join(home)}")
    if parsed.claims.iss != terminal:
        return _Ruling(Verdict.WRONG_STREAM, f"iss {parsed.claims.iss} is not the terminal of the topic")
    return None


def _signed_for(parsed: ParsedToken, record: KeyRecord, fleet: str, terminal: str) -> bool:
    try:
        aad = stream_aad(fleet, terminal)
    except TokenError:
        return False  # no stream has such a name, so nothing was signed for it
    return parsed.verified_by(record.public, aad)


def _repetition_and_validity(
    token: bytes, claims: Claims, record: KeyRecord, now: float, seen: SeenLookup | None
) -> _Ruling | None:
    """Checks 5 to 7. What is stored already stays a duplicate, whatever became of its key."""
    before = None if seen is None else seen(claims.cti)
    if before == token:
        return _Ruling(Verdict.DUPLICATE, "these bytes are stored already")
    at = now if claims.clk is ClockTrust.UNSET else claims.iat
    if at < record.valid_from - SKEW_S:
        return _Ruling(Verdict.UNKNOWN_KEY, f"the key counts from {record.valid_from} on", final=False)
    for end, word in ((record.revoked_at, "was revoked at"), (record.valid_to, "counted until")):
        if end is not None and at >= end:
            return _Ruling(Verdict.REVOKED_KEY, f"the key {word} {end}")
    if before is not None:
        return _Ruling(Verdict.CONFLICT, f"other bytes are stored as seq {claims.seq}: is the terminal cloned?")
    return None


def _time(claims: Claims, now: float, ingest_window_s: int) -> _Ruling:
    """Check 8."""
    ahead = claims.iat - now
    unset = claims.clk is ClockTrust.UNSET
    if ahead >= REFUSE_FUTURE_S and not unset:
        reason = f"iat is {ahead:.0f} s in the future: refused until the time has come"
        return _Ruling(Verdict.CLOCK_SUSPECT, reason, final=False)
    if ahead > SKEW_S:
        return _Ruling(Verdict.CLOCK_SUSPECT, f"iat is {ahead:.0f} s in the future", stored=True)
    if unset:
        return _Ruling(Verdict.LATE, "the terminal's clock was not set: evidence only", stored=True)
    past = now - (claims.exp + SKEW_S)
    if past <= 0:
        reason = "in time" if not claims.test else "in time; a technician's tap, not redeemable"
        return _Ruling(Verdict.FRESH, reason, stored=True, redeemable=not claims.test)
    if past <= ingest_window_s:
        return _Ruling(Verdict.LATE, f"{past:.0f} s too late for a reward: evidence only", stored=True)
    return _Ruling(Verdict.EXPIRED, f"{past / 86400:.0f} days late, beyond the ingest window")
