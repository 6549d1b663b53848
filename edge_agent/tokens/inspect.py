"""Explains a token, checkpoint or gap record in plain words: for a technician, a developer, a dispute. Pure.

It says what is wrong with bytes that are none of the contract's. It must never call something genuine that it did not
verify, and never let bytes of a peer reach the terminal unsanitised.
"""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

from edge_agent.errors import TokenError
from edge_agent.models import FIRST_PREV, ClockTrust, TapMode
from edge_agent.sanitize import printable
from edge_agent.tokens.chain import Checkpoint, Gap, ParsedRecord, parse_checkpoint, parse_gap
from edge_agent.tokens.keys import PublicKey
from edge_agent.tokens.sign1 import Sign1, link_hash, parse_envelope, stream_aad
from edge_agent.tokens.tap_token import MAX_TOKEN_BYTES, Claims, ParsedToken, parse

MAX_INPUT_BYTES = 4096
"""A token in hex with some decoration is far below; more is no token."""

_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}[\s:]*)+")
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]+={0,2}")
_MODES = {
    TapMode.PHONE_APP: "a phone app answered by NFC (HCE)",
    TapMode.TAG_READ: "a phone read the terminal's tag or QR code",
    TapMode.CARD: "a plain card or tag, known by a pseudonym only",
}
_CLOCKS = {
    ClockTrust.UNSET: "the clock was not set: evidence only, re-base it by boot and up",
    ClockTrust.HOLDOVER: "the clock was set earlier and ran on by itself",
    ClockTrust.SYNCED: "the clock was synchronised at that moment",
}


class Row(NamedTuple):
    """One line of the explanation; all three are printable one-liners."""

    label: str
    value: str
    meaning: str


class Context(NamedTuple):
    """What is known beside the bytes: the terminal's public key, its fleet, and the terminal if not as in ``iss``."""

    public: PublicKey | None = None
    fleet: str | None = None
    terminal: str | None = None


def read_input(raw: bytes) -> bytes:
    """Return the bytes behind a file or pasted text: binary as it is, else hex (blanks and colons allowed), base64url.

    Raises TokenError if it is none of them or longer than 4096 bytes.
    """
    if len(raw) > MAX_INPUT_BYTES:
        raise TokenError(f"more than {MAX_INPUT_BYTES} bytes are no token")
    # Every record of the contract begins with tag 18 (0xd2), and no text does.
    if raw[:1] == b"\xd2":
        return raw
    text = raw.strip().removeprefix(b"0x")
    if not text:
        raise TokenError("there is nothing to explain", remedy="give a token as file, hex or base64url")
    if _HEX.fullmatch(text):
        return bytes.fromhex(re.sub(rb"[\s:]", b"", text).decode("ascii"))
    compact = text.replace(b"+", b"-").replace(b"/", b"_")
    if _BASE64URL.fullmatch(compact):
        body = compact.rstrip(b"=")
        try:
            return base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        except binascii.Error:
            raise TokenError("neither hex nor base64url: its length fits neither") from None
    return raw


def explain(raw: bytes, context: Context = Context()) -> list[Row]:  # noqa: B008 - an immutable tuple of Nones
    """Explain bytes, hex, base64url or the content of a file; never raises for what it is given.

    The last row is ``signature``: right, wrong, or not checked and why.
    """
    try:
        data = read_input(raw)
    except TokenError as exc:
        return [Row("kind", "unreadable", str(exc))]
    try:
        envelope = parse_envelope(data, MAX_TOKEN_BYTES)
    except TokenError as exc:
        begin = f"{data[:16].hex()}{'...' if len(data) > 16 else ''}"
        return [
            Row("kind", "no tap token", f"not the signed envelope of the contract: {exc.text}"),
            Row("bytes", f"{len(data)}", f"begins with {begin}" if data else "nothing is there"),
        ]
    return [*_content_rows(data, envelope, context)]


def _content_rows(data: bytes, envelope: Sign1, context: Context) -> list[Row]:
    problems = []
    for kind, read in (("tap token", parse), ("checkpoint", parse_checkpoint), ("gap record", parse_gap)):
        try:
            found = read(data)
        except TokenError as exc:
            problems.append(f"as {kind}: {exc.text}")
            continue
        rows = [Row("kind", kind, f"{len(data)} bytes of at most {MAX_TOKEN_BYTES}"), *_envelope_rows(envelope)]
        if isinstance(found, ParsedToken):
            rows += _token_rows(found.claims, data)
        else:
            rows += _record_rows(found)
        return [*rows, _signature_row(found, context)]
    meaning = f"signed envelope, but its content is none of the contract's: {'; '.join(problems)}"
    return [Row("kind", "malformed", meaning), *_envelope_rows(envelope)]


def _envelope_rows(envelope: Sign1) -> list[Row]:
    return [
        Row("kid", envelope.kid.hex(), "the key that is said to have signed"),
        Row("alg", f"{int(envelope.alg)}", envelope.alg.name),
    ]


def _token_rows(claims: Claims, data: bytes) -> list[Row]:
    rows = [
        Row("iss", claims.iss, "the terminal"),
        Row("iat", f"{claims.iat}", f"the tap, {_utc(claims.iat)}"),
        Row("exp", f"{claims.exp}", _expiry(claims)),
        Row("clk", f"{int(claims.clk)}", _CLOCKS[claims.clk]),
        Row("mode", f"{int(claims.mode)}", _MODES[claims.mode]),
        Row("chain", claims.chain.hex(), "the terminal's outbox database"),
        Row("seq", f"{claims.seq}", "the first tap of this chain" if claims.seq == 1 else f"tap {claims.seq} of it"),
        Row("prev", claims.prev.hex(), _predecessor(claims)),
        Row("hash", link_hash(data).hex(), f"what tap {claims.seq + 1} must name as prev"),
        Row("boot", claims.boot.hex(), "the boot of the terminal's kernel"),
        Row("up", f"{claims.up}", f"seconds since that boot, {_duration(claims.up)}"),
    ]
    if claims.nonce is not None:
        whose = "the phone's" if claims.mode is TapMode.PHONE_APP else "the ticket's"
        rows.append(Row("nonce", claims.nonce.hex(), f"{whose} random number: ties the token to this tap"))
    if claims.campaign is not None:
        rows.append(Row("campaign", printable(claims.campaign), "what the screen showed"))
    if claims.sub is not None:
        rows.append(Row("sub", claims.sub.hex(), "pseudonym of phone or card"))
    if claims.rtt is not None:
        rows.append(Row("rtt", f"{claims.rtt} ms", "median answer time of the phone: a relay is slow"))
    if claims.wtx is not None:
        rows.append(Row("wtx", f"{claims.wtx}", "how often the phone asked for more time"))
    if claims.test:
        rows.append(Row("test", "true", "a technician's tap: earns nothing"))
    return rows


def _record_rows(found: ParsedRecord) -> list[Row]:
    record = found.record
    rows = [
        Row("iss", record.iss, "the terminal"),
        Row("iat", f"{record.iat}", f"written {_utc(record.iat)}"),
        Row("chain", record.chain.hex(), "the terminal's outbox database"),
    ]
    match record:
        case Checkpoint():
            rows += [
                Row("seq", f"{record.seq}", "the last tap at that moment"),
                Row("head", record.head.hex(), "hash of that tap's token"),
                Row("clk", f"{int(record.clk)}", _CLOCKS[record.clk]),
            ]
        case Gap():
            rows += [
                Row("from", f"{record.first}", "first tap that was given up"),
                Row("to", f"{record.last}", f"last one: {record.last - record.first + 1} taps are gone"),
                Row("prev", record.prev.hex(), f"hash of tap {record.first - 1}, the one before the gap"),
                Row("hash", record.hash.hex(), f"what tap {record.last + 1} names as prev"),
                Row("reason", record.reason, "why they were given up"),
            ]
    return rows


def _signature_row(found: ParsedToken | ParsedRecord, context: Context) -> Row:
    public, fleet = context.public, context.fleet
    iss = found.claims.iss if isinstance(found, ParsedToken) else found.record.iss
    terminal = iss if context.terminal is None else context.terminal
    if public is None or fleet is None:
        missing = "the terminal's public key" if public is None else "the fleet, which is signed too"
        return Row("signature", "not checked", f"to check it, give {missing}")
    if public.kid != found.envelope.kid:
        return Row(
            "signature", "not checked", f"the given key is {public.kid.hex()}, another one is said to have signed"
        )
    stream = f"{printable(fleet)}/{printable(terminal)}"
    try:
        if isinstance(found, ParsedToken):
            genuine = iss == terminal and found.verified_by(public, stream_aad(fleet, terminal))
        else:
            genuine = found.verified_by(public, fleet, terminal)
    except TokenError as exc:
        return Row("signature", "not checked", exc.text)
    if genuine:
        return Row("signature", "right", f"made by this key for the stream {stream}")
    return Row("signature", "WRONG", f"this key did not sign this for the stream {stream}: do not believe any of it")


def _predecessor(claims: Claims) -> str:
    if claims.seq > 1:
        return f"hash of tap {claims.seq - 1}"
    return (
        "zeros: nothing before it" if claims.prev == FIRST_PREV else "should be zeros: nothing is before the first tap"
    )


def _expiry(claims: Claims) -> str:
    if claims.exp == claims.iat:
        return "at once: never to be redeemed"
    return f"redeemable for {claims.exp - claims.iat} s, until {_utc(claims.exp)}"


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    return f"{days} d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
