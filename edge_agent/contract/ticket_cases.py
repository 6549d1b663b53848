"""Ticket vectors: every verdict, and one ticket or link for each rule of the form.

Wrong ones are put together byte by byte and signed properly, so that only one thing is wrong with each.
"""

import base64
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from edge_agent.cloud.tickets import verify_ticket
from edge_agent.contract.samples import FUTURE, NOW, RETIRED, REVOKED, STRANGER, A, Actor, B, registry
from edge_agent.tags.ticket import CONTEXT, TICKET_CHARS

HOST = "t.example.com"
NONCE = bytes.fromhex("0011223344556677")
TTL = 120
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Case:
    """What a phone brings, when, whether its nonce was redeemed before, and the verdict of the contract."""

    name: str
    verdict: str
    shown: str
    now: int = NOW
    used: bool = False


def raw_ticket(
    actor: Actor = A,
    *,
    kid: bytes | None = None,
    version: int = 1,
    iat: int = NOW,
    ttl: int = TTL,
    nonce: bytes = NONCE,
    context: bytes = CONTEXT,
) -> bytes:
    """Return the 86 bytes, signed by the actor."""
    kid = actor.key.kid if kid is None else kid
    body = bytes((version,)) + kid + iat.to_bytes(4, "big") + bytes((ttl,)) + nonce
    return body + actor.key.sign(context + body)


def text_of(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def url_of(text: str) -> str:
    """Return the link that a surface shows."""
    return f"https://{HOST}/k/{text}"


def cases() -> list[Case]:
    """Return all cases in the order of the file."""
    return [*_in_time_or_not(), *_by_key(), *_forged(), *_malformed()]


def document() -> dict[str, Any]:
    """Return the vector file. Each verdict is written by hand above and must be the verifier's, or this raises."""
    keys = registry()
    listed = []
    for case in cases():
        redeemed = {(A.key.kid, NONCE)} if case.used else set()
        used = partial(_is_among, redeemed)
        found = verify_ticket(case.shown, now=case.now, keys=keys.lookup, used=used)
        if found.verdict.value != case.verdict:
            raise AssertionError(f"{case.name}: {found.verdict.value} ({found.reason}), not {case.verdict}")
        entry: dict[str, Any] = {
            "name": case.name,
            "verdict": case.verdict,
            "reason": found.reason,
            "now": case.now,
            "used": case.used,
            "shown": case.shown,
        }
        text = case.shown.rpartition("/")[2]
        if case.verdict != "malformed":
            entry["text"] = text
            entry["ticket_hex"] = base64.urlsafe_b64decode(text + "=").hex()
        if found.ticket is not None:
            ticket = found.ticket
            entry["ticket"] = {
                "kid": ticket.kid.hex(),
                "iat": ticket.iat,
                "ttl": ticket.ttl,
                "nonce": ticket.nonce.hex(),
                "fleet": found.fleet,
                "terminal": found.terminal,
            }
        listed.append(entry)
    return {
        "about": "Tickets and the verdict on each, with the registry of keys.json. shown: what the phone brought, the "
        "text alone or the link. used: whether this nonce was redeemed before. reason: for people, in no fixed words. "
        "ticket: what it says and whose key signed it, where the signature is right. One way to be wrong each.",
        "cases": listed,
    }


def _is_among(redeemed: Collection[tuple[bytes, bytes]], kid: bytes, nonce: bytes) -> bool:
    return (kid, nonce) in redeemed


def _text(actor: Actor = A, **changes: Any) -> str:
    return text_of(raw_ticket(actor, **changes))


def _in_time_or_not() -> Iterator[Case]:
    end = NOW + TTL + 10
    yield Case("link", "fresh", url_of(_text()))
    yield Case("text-alone", "fresh", _text())
    yield Case("es256-link", "fresh", url_of(_text(B)))
    yield Case("es256-text-alone", "fresh", _text(B))
    yield Case("longest-life", "fresh", _text(ttl=255), now=NOW + 265)
    yield Case("shortest-life", "fresh", _text(ttl=1), now=NOW + 11)
    yield Case("last-second", "fresh", _text(), now=end)
    yield Case("one-second-late", "expired", _text(), now=end + 1)
    yield Case("a-year-late", "expired", url_of(_text(B)), now=end + 365 * 86400)
    yield Case("ten-seconds-ahead", "fresh", _text(), now=NOW - 10)
    yield Case("eleven-seconds-ahead", "clock_suspect", _text(), now=NOW - 11)
    yield Case("an-hour-ahead", "clock_suspect", _text(B), now=NOW - 3600)
    yield Case("redeemed-before", "used", _text(), used=True)
    yield Case("redeemed-before-and-expired", "used", _text(), now=end + 1, used=True)


def _by_key() -> Iterator[Case]:
    yield Case("key-not-registered", "unknown_key", _text(STRANGER))
    yield Case("key-not-valid-yet", "unknown_key", _text(FUTURE))
    shown = NOW - 3601
    yield Case("key-replaced-after-the-issue", "fresh", _text(RETIRED, iat=shown, ttl=255), now=shown + 200)
    yield Case("key-replaced-before-the-issue", "revoked_key", _text(RETIRED))
    yield Case("key-revoked-since", "revoked_key", _text(REVOKED, iat=NOW - 60))
    yield Case("key-revoked-later", "fresh", _text(REVOKED, iat=NOW - 60), now=NOW - 1)


def _forged() -> Iterator[Case]:
    good = raw_ticket()
    yield Case("signature-with-one-bit-changed", "bad_signature", text_of(good[:-1] + bytes((good[-1] ^ 1,))))
    yield Case("life-with-one-bit-changed", "bad_signature", text_of(good[:13] + bytes((good[13] ^ 0x80,)) + good[14:]))
    yield Case("nonce-of-another-ticket", "bad_signature", text_of(good[:14] + bytes(8) + good[22:]))
    yield Case("signed-by-a-stranger-under-our-kid", "bad_signature", _text(STRANGER, kid=A.key.kid))
    yield Case("es256-under-an-eddsa-kid", "bad_signature", _text(B, kid=A.key.kid))
    yield Case("eddsa-under-an-es256-kid", "bad_signature", _text(A, kid=B.key.kid))
    yield Case("signed-without-context", "bad_signature", _text(context=b""))
    yield Case("signed-for-a-later-version", "bad_signature", _text(context=b"tap-ticket/v2\x00"))
    other = raw_ticket(B)
    s = _P256_ORDER - int.from_bytes(other[-32:], "big")
    yield Case("es256-signature-in-its-other-form", "bad_signature", text_of(other[:-32] + s.to_bytes(32, "big")))


def _malformed() -> Iterator[Case]:
    text = _text()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
    plus = next(found for found in _some_texts() if "-" in found or "_" in found)
    wrong = {
        "empty": "",
        "cut-off": text[:-1],
        "a-character-too-many": text + "A",
        "padded": text + "=",
        "plain-base64-alphabet": plus.replace("-", "+").replace("_", "/"),
        "spare-bits-set": spare,
        "a-blank-in-front": " " + text,
        "a-line-end": text + "\n",
        "version-0": _text(version=0),
        "version-2": _text(version=2),
        "no-life": _text(ttl=0),
        "link-without-tls": url_of(text).replace("https", "http"),
        "link-to-another-path": url_of(text).replace("/k/", "/t/"),
        "link-with-query": url_of(text) + "?utm_source=x",
        "link-with-fragment": url_of(text) + "#top",
        "link-with-port": url_of(text).replace(HOST, f"{HOST}:8443"),
        "link-with-user": url_of(text).replace(HOST, f"x@{HOST}"),
        "link-in-capitals": url_of(text).replace(HOST, HOST.upper()),
        "link-without-ticket": url_of(""),
        "a-host-too-long": url_of(text).replace(HOST, "a" * 254),
    }
    assert len(text) == TICKET_CHARS  # noqa: S101 (the vectors are made from it; a wrong one must not be written)
    for name, shown in wrong.items():
        yield Case(name, "malformed", shown)


def _some_texts() -> Iterator[str]:
    for number in range(64):
        yield _text(nonce=number.to_bytes(8, "big"))
