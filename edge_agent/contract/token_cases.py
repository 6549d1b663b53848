"""Token vectors: every verdict, and one token for each rule of the form.

Wrong tokens are put together byte by byte and signed properly, so that only one thing is wrong with each.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from edge_agent.cloud.verifier import INGEST_WINDOW_S, verify
from edge_agent.contract import raw_cbor as raw
from edge_agent.contract.samples import (
    BOOT,
    CHAIN,
    EXAMPLE,
    FLEET,
    FUTURE,
    NOW,
    PHONE_NONCE,
    RETIRED,
    REVOKED,
    STRANGER,
    A,
    Actor,
    B,
    claims_json,
    registry,
)
from edge_agent.models import ClockTrust, TapMode
from edge_agent.tokens.chain import Checkpoint, seal_record
from edge_agent.tokens.sign1 import stream_aad
from edge_agent.tokens.tap_token import Claims, seal

_TAP = -65537


_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Case:
    """One token, where and when it arrives, what is stored under its cti, and the verdict of the contract."""

    name: str
    verdict: str
    token: bytes
    terminal: str = A.terminal
    now: int = NOW
    stored: bytes | None = None


def sealed(actor: Actor = A, *, aad: bytes | None = None, **changes: Any) -> bytes:
    """Return the example token of an actor with changed claims."""
    claims = replace(EXAMPLE, **{"iss": actor.terminal, **changes})
    return seal(claims, actor.key, stream_aad(FLEET, actor.terminal) if aad is None else aad)


def cases() -> list[Case]:
    """Return all cases in the order of the file."""
    return [*_good(), *_in_time_or_not(), *_repeated(), *_by_key(), *_by_stream(), *_forged(), *_malformed()]


def document() -> dict[str, Any]:
    """Return the vector file. Each verdict is written by hand above and must be the verifier's, or this raises."""
    keys = registry()
    listed = []
    for case in cases():
        seen = {} if case.stored is None else {EXAMPLE.cti: case.stored}
        found = verify(case.token, fleet=FLEET, terminal=case.terminal, now=case.now, keys=keys.lookup, seen=seen.get)
        if found.verdict.value != case.verdict:
            raise AssertionError(f"{case.name}: {found.verdict.value} ({found.reason}), not {case.verdict}")
        entry: dict[str, Any] = {
            "name": case.name,
            "verdict": case.verdict,
            "stored": found.stored,
            "redeemable": found.redeemable,
            "final": found.final,
            "fleet": FLEET,
            "terminal": case.terminal,
            "now": case.now,
            "token_hex": case.token.hex(),
        }
        if case.stored is not None:
            entry["stored_hex"] = case.stored.hex()
        if found.claims is not None:
            entry["claims"] = claims_json(found.claims)
        listed.append(entry)
    return {
        "about": "Tap tokens and the verdict on each, with the registry of keys.json, an ingest window of 7 days, "
        "and stored_hex as what is stored under the token's cti already. One way to be wrong each.",
        "cases": listed,
    }


def _good() -> Iterator[Case]:
    yield Case("phone-app", "fresh", sealed())
    yield Case("phone-app-es256", "fresh", sealed(B), terminal=B.terminal)
    yield Case("tag-read", "fresh", sealed(mode=TapMode.TAG_READ, nonce=bytes(range(8)), sub=None, rtt=None, wtx=None))
    yield Case("plain-card-and-nothing-optional", "fresh", seal(minimal(), A.key, stream_aad(FLEET, A.terminal)))
    yield Case("clock-in-holdover", "fresh", sealed(clk=ClockTrust.HOLDOVER))
    yield Case("technician", "fresh", sealed(test=True))
    yield Case("campaign-in-chinese", "fresh", sealed(campaign="电梯-1"))
    yield Case("every-optional-claim-at-its-longest", "fresh", largest())
    yield Case("unknown-claims-are-ignored", "fresh", built(_with_unknown_claims))


def minimal() -> Claims:
    """Return claims without anything optional: a plain card without pseudonym, the first of its chain."""
    return replace(
        EXAMPLE,
        cti=CHAIN + (1).to_bytes(8, "big"),
        prev=bytes(16),
        mode=TapMode.CARD,
        nonce=None,
        campaign=None,
        sub=None,
        rtt=None,
        wtx=None,
    )


def largest() -> bytes:
    """Return the largest token that an 11-character terminal id allows."""
    return sealed(
        exp=NOW + 120,
        cti=CHAIN + b"\x7f" + b"\xff" * 7,
        nonce=bytes(range(16)),
        campaign="c-16-characters-",
        sub=bytes(range(12)),
        up=2**32 - 1,
        rtt=65535,
        wtx=255,
        test=True,
    )


def _in_time_or_not() -> Iterator[Case]:
    end = NOW + 90 + 10
    yield Case("last-second-for-a-reward", "fresh", sealed(), now=end)
    yield Case("one-second-late", "late", sealed(), now=end + 1)
    yield Case("last-second-as-evidence", "late", sealed(), now=end + INGEST_WINDOW_S)
    yield Case("older-than-the-window", "expired", sealed(), now=end + INGEST_WINDOW_S + 1)
    yield Case("ten-seconds-ahead", "fresh", sealed(), now=NOW - 10)
    yield Case("eleven-seconds-ahead", "clock_suspect", sealed(), now=NOW - 11)
    yield Case("fifty-nine-seconds-ahead", "clock_suspect", sealed(), now=NOW - 59)
    yield Case("a-minute-ahead-is-refused", "clock_suspect", sealed(), now=NOW - 60)
    unset = sealed(clk=ClockTrust.UNSET, exp=NOW)
    yield Case("clock-unset", "late", unset)
    yield Case("clock-unset-in-1970", "late", sealed(clk=ClockTrust.UNSET, iat=75, exp=75, up=70))
    yield Case("clock-unset-and-ahead", "clock_suspect", unset, now=NOW - 3600)


def _repeated() -> Iterator[Case]:
    yield Case("same-bytes-again", "duplicate", sealed(), stored=sealed())
    yield Case("same-bytes-after-a-month", "duplicate", sealed(), now=NOW + 30 * 86400, stored=sealed())
    yield Case("same-cti-other-bytes", "conflict", sealed(up=1), stored=sealed())


def _by_key() -> Iterator[Case]:
    yield Case("key-not-registered", "unknown_key", sealed(STRANGER))
    yield Case("key-not-valid-yet", "unknown_key", sealed(FUTURE), terminal=FUTURE.terminal)
    yield Case("key-replaced-before-the-tap", "revoked_key", sealed(RETIRED), terminal=RETIRED.terminal)
    earlier = sealed(RETIRED, iat=NOW - 7200, exp=NOW - 7110)
    yield Case("key-replaced-after-the-tap", "late", earlier, terminal=RETIRED.terminal)
    yield Case("key-revoked-before-the-tap", "revoked_key", sealed(REVOKED), terminal=REVOKED.terminal)
    before = sealed(REVOKED, iat=NOW - 1, exp=NOW + 89)
    yield Case("key-revoked-after-the-tap", "fresh", before, terminal=REVOKED.terminal)
    unset = sealed(REVOKED, clk=ClockTrust.UNSET, iat=75, exp=75)
    yield Case("key-revoked-and-clock-unset", "revoked_key", unset, terminal=REVOKED.terminal)


def _by_stream() -> Iterator[Case]:
    yield Case("moved-to-another-terminal", "wrong_stream", sealed(), terminal=B.terminal)
    other = stream_aad(FLEET, B.terminal)
    renamed = sealed(aad=other, iss=B.terminal)
    yield Case("signed-for-a-terminal-the-key-is-not-of", "wrong_stream", renamed, terminal=B.terminal)
    yield Case("iss-is-not-the-terminal", "wrong_stream", sealed(iss=B.terminal))


def _forged() -> Iterator[Case]:
    good = sealed()
    yield Case("signature-with-one-bit-changed", "bad_signature", good[:-1] + bytes((good[-1] ^ 1,)))
    yield Case("claim-with-one-character-changed", "bad_signature", good.replace(b"c-1", b"c-2"))
    yield Case("signed-by-a-stranger-under-our-kid", "bad_signature", built(kid=A.key.kid, signer=STRANGER))
    yield Case("signed-without-external-aad", "bad_signature", sealed(aad=b""))
    yield Case("signed-as-a-checkpoint", "bad_signature", sealed(aad=stream_aad(FLEET, A.terminal) + b"/chk"))
    yield Case("es256-signature-in-its-other-form", "bad_signature", _other_form(sealed(B)), terminal=B.terminal)
    yield Case("alg-of-another-key", "bad_signature", built(kid=A.key.kid, signer=B, alg=-7))


Pairs = dict[int, bytes]
"""Claims by key, values encoded; two of them make a payload: the outer map and the tap map."""


def _other_form(token: bytes) -> bytes:
    """The same token with (r, n - s): by itself ES256 takes it, the contract does not."""
    s = int.from_bytes(token[-32:], "big")
    return token[:-32] + (_P256_ORDER - s).to_bytes(32, "big")


def built(
    change: Callable[[Pairs, Pairs], bytes | None] | None = None,
    *,
    kid: bytes | None = None,
    signer: Actor = A,
    alg: int | None = None,
    protected: bytes | None = None,
    unprotected: bytes = b"\xa0",
) -> bytes:
    """Put the example token together byte by byte. ``change`` edits both maps in place or returns a whole payload."""
    outer, tap = _example_pairs()
    payload = change(outer, tap) if change else None
    if payload is None:
        payload = raw.mapping(_sorted({**outer, _TAP: outer.get(_TAP, raw.mapping(_sorted(tap)))}))
    if protected is None:
        named = int(signer.key.alg) if alg is None else alg
        protected = raw.mapping(
            [
                (raw.integer(1), raw.integer(named)),
                (raw.integer(4), raw.bstr(signer.key.kid if kid is None else kid)),
            ]
        )
    aad = stream_aad(FLEET, A.terminal)
    to_sign = raw.array(raw.tstr("Signature1"), raw.bstr(protected), raw.bstr(aad), raw.bstr(payload))
    parts = (raw.bstr(protected), unprotected, raw.bstr(payload), raw.bstr(signer.key.sign(to_sign)))
    return b"\xd2" + raw.array(*parts)


def _example_pairs() -> tuple[Pairs, Pairs]:
    outer = {
        1: raw.tstr(A.terminal),
        4: raw.integer(NOW + 90),
        6: raw.integer(NOW),
        7: raw.bstr(EXAMPLE.cti),
        10: raw.bstr(PHONE_NONCE),
    }
    tap = {
        1: raw.bstr(EXAMPLE.prev),
        2: raw.integer(1),
        3: raw.integer(2),
        4: raw.bstr(BOOT),
        5: raw.integer(EXAMPLE.up),
        6: raw.tstr("c-1"),
        7: raw.bstr(EXAMPLE.sub or b""),
        8: raw.integer(21),
        9: raw.integer(0),
    }
    return outer, tap


def _sorted(pairs: Pairs) -> list[raw.Pair]:
    return raw.ordered((raw.integer(key), value) for key, value in pairs.items())


def _with_unknown_claims(outer: Pairs, tap: Pairs) -> None:
    outer[9] = raw.array(raw.integer(1), raw.NULL)
    tap[11] = raw.bstr(b"new")


def _outer(key: int, value: bytes | None) -> Callable[[Pairs, Pairs], None]:
    def change(outer: Pairs, _tap: Pairs) -> None:
        _put(outer, key, value)

    return change


def _inner(key: int, value: bytes | None) -> Callable[[Pairs, Pairs], None]:
    def change(_outer: Pairs, tap: Pairs) -> None:
        _put(tap, key, value)

    return change


def _put(pairs: Pairs, key: int, value: bytes | None) -> None:
    if value is None:
        del pairs[key]
    else:
        pairs[key] = value


def _whole(write: Callable[[list[raw.Pair]], bytes]) -> Callable[[Pairs, Pairs], bytes]:
    """Return a change that writes the payload from its ordered pairs in its own way."""

    def change(outer: Pairs, tap: Pairs) -> bytes:
        return write(_sorted({**outer, _TAP: raw.mapping(_sorted(tap))}))

    return change


def _malformed() -> Iterator[Case]:
    for name, token in (*_wrong_bytes(), *_wrong_envelopes(), *_wrong_cbor(), *_wrong_claims(), *_wrong_tap_claims()):
        yield Case(name, "malformed", token)


def _wrong_bytes() -> Iterator[tuple[str, bytes]]:
    good = sealed()
    yield "empty", b""
    yield "cut-off", good[:-1]
    yield "a-byte-too-many", good + b"\x00"
    yield "no-tag", good[1:]
    yield "tagged-twice", b"\xd2" + good
    yield "cwt-tag-in-front", b"\xd8\x3d" + good
    head = Checkpoint(A.terminal, NOW, CHAIN, 2, EXAMPLE.prev, ClockTrust.SYNCED)
    yield "a-checkpoint", seal_record(head, A.key, FLEET, A.terminal)

    def padded(outer: Pairs, _tap: Pairs) -> None:
        outer[24] = raw.bstr(bytes(249 - len(good) - 4))

    yield "249-bytes", built(padded)


def _wrong_envelopes() -> Iterator[tuple[str, bytes]]:
    alg, kid = (raw.integer(1), raw.integer(-8)), (raw.integer(4), raw.bstr(A.key.kid))
    yield "kid-in-the-unprotected-header", built(protected=raw.mapping([alg]), unprotected=raw.mapping([kid]))
    yield "unprotected-header-not-empty", built(unprotected=raw.mapping([kid]))
    yield "no-alg", built(protected=raw.mapping([kid]))
    content_type = (raw.integer(3), raw.integer(61))
    yield "unknown-protected-header", built(protected=raw.mapping([alg, content_type, kid]))
    yield "protected-header-out-of-order", built(protected=raw.mapping([kid, alg]))
    yield "protected-header-empty", built(protected=b"")
    yield "alg-not-of-the-contract", built(alg=-35)
    yield "kid-of-7-bytes", built(kid=A.key.kid[:7])
    whole = built()
    yield "signature-of-63-bytes", whole[:-66] + raw.bstr(whole[-64:-1])


def _wrong_cbor() -> Iterator[tuple[str, bytes]]:
    yield "map-of-indefinite-length", built(_whole(raw.indefinite_map))
    yield "map-keys-out-of-order", built(_whole(lambda pairs: raw.mapping(pairs[::-1])))
    yield "map-key-twice", built(_whole(lambda pairs: raw.mapping([*pairs[:1], *pairs])))
    yield "map-count-not-shortest", built(_whole(lambda pairs: raw.head(5, 6, width=1) + raw.mapping(pairs)[1:]))
    yield "integer-not-shortest", built(_inner(2, raw.integer(1, width=1)))
    yield "integer-as-float", built(_inner(8, bytes.fromhex("f94d40")))
    yield "time-with-a-tag", built(_outer(6, b"\xc1" + raw.integer(NOW)))
    yield "text-not-utf-8", built(_inner(6, b"\x62\xc3\x28"))
    yield "undefined-in-an-unknown-claim", built(_inner(11, b"\xf7"))
    yield "nine-levels", built(_inner(11, b"\x81" * 7 + b"\x00"))


def _wrong_claims() -> Iterator[tuple[str, bytes]]:
    for key, name in ((1, "iss"), (4, "exp"), (6, "iat"), (7, "cti")):
        yield f"no-{name}", built(_outer(key, None))
    yield "no-tap", built(_whole(lambda pairs: raw.mapping(pairs[:-1])))
    yield "iss-empty", built(_outer(1, raw.tstr("")))
    yield "iss-in-capitals", built(_outer(1, raw.tstr("SH-000123-A")))
    yield "iss-of-25-characters", built(_outer(1, raw.tstr("x" * 25)))
    yield "exp-121-seconds-after-iat", built(_outer(4, raw.integer(NOW + 121)))
    yield "exp-before-iat", built(_outer(4, raw.integer(NOW - 1)))
    yield "iat-negative", built(_outer(6, raw.integer(-1)))
    yield "cti-of-15-bytes", built(_outer(7, raw.bstr(EXAMPLE.cti[:-1])))
    yield "seq-0", built(_outer(7, raw.bstr(CHAIN + bytes(8))))
    yield "nonce-of-7-bytes", built(_outer(10, raw.bstr(bytes(7))))
    yield "nonce-of-17-bytes", built(_outer(10, raw.bstr(bytes(17))))
    yield "mode-1-without-nonce", built(_outer(10, None))
    yield "mode-3-with-nonce", built(_inner(2, raw.integer(3)))
    yield "clock-unset-and-exp-after-iat", built(_inner(3, raw.integer(0)))


def _wrong_tap_claims() -> Iterator[tuple[str, bytes]]:
    for key, name in ((1, "prev"), (2, "mode"), (3, "clk"), (4, "boot"), (5, "up")):
        yield f"no-{name}", built(_inner(key, None))
    yield "prev-of-15-bytes", built(_inner(1, raw.bstr(bytes(15))))
    yield "mode-0", built(_inner(2, raw.integer(0)))
    yield "mode-4", built(_inner(2, raw.integer(4)))
    yield "mode-as-text", built(_inner(2, raw.tstr("1")))
    yield "clk-3", built(_inner(3, raw.integer(3)))
    yield "clk-true", built(_inner(3, raw.TRUE))
    yield "boot-of-16-bytes", built(_inner(4, raw.bstr(bytes(16))))
    yield "up-negative", built(_inner(5, raw.integer(-1)))
    yield "campaign-empty", built(_inner(6, raw.tstr("")))
    yield "campaign-of-17-bytes", built(_inner(6, raw.tstr("x" * 17)))
    yield "sub-of-7-bytes", built(_inner(7, raw.bstr(bytes(7))))
    yield "sub-of-13-bytes", built(_inner(7, raw.bstr(bytes(13))))
    yield "rtt-65536", built(_inner(8, raw.integer(65536)))
    yield "wtx-256", built(_inner(9, raw.integer(256)))
    yield "test-false", built(_inner(10, raw.FALSE))
    yield "test-1", built(_inner(10, raw.integer(1)))
