"""The tap token: a CWT (RFC 8392) in COSE_Sign1, exactly as in docs/contract.md, section 1. Pure.

Claims in, bytes out, and back. What it seals it would parse: both sides share one check. It must never look at a
clock, choose a key or decide whether a token is worth anything; that is the verifier's work.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.errors import TokenError
from edge_agent.models import CHAIN_ID_BYTES, PREV_BYTES, ChainPosition, ClockTrust, Tap, TapMode
from edge_agent.tokens import cbor
from edge_agent.tokens.sign1 import (
    NAME,
    Alg,
    Fields,
    Sign1,
    Signer,
    Verifier,
    envelope_sealer,
    link_hash,
    parse_envelope,
    stream_aad,
)

__all__ = [
    "MAX_TOKEN_BYTES",
    "Claims",
    "ParsedToken",
    "claims_for",
    "link_hash",
    "make_sealer",
    "parse",
    "seal",
    "stream_aad",
]

MAX_TOKEN_BYTES = 248
"""Largest token: with ``80 54 00 00 Lc ... 00`` around it still one short APDU."""
MAX_TTL_S = 120
CTI_BYTES = 16
MAX_SECONDS = 2**32 - 1
MAX_RTT_MS = 0xFFFF
MAX_WTX = 0xFF

_ISS, _EXP, _IAT, _CTI, _NONCE, _TAP = 1, 4, 6, 7, 10, -65537
_PREV, _MODE, _CLK, _BOOT, _UP, _CAMPAIGN, _SUB, _RTT, _WTX, _TEST = range(1, 11)
CLAIM_NAMES = {_ISS: "iss", _EXP: "exp", _IAT: "iat", _CTI: "cti", _NONCE: "eat_nonce", _TAP: "tap"}
TAP_NAMES = {
    _PREV: "prev",
    _MODE: "mode",
    _CLK: "clk",
    _BOOT: "boot",
    _UP: "up",
    _CAMPAIGN: "campaign",
    _SUB: "sub",
    _RTT: "rtt",
    _WTX: "wtx",
    _TEST: "test",
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times in Unix seconds, ``up`` in seconds since boot, ``rtt`` in milliseconds."""

    iss: str
    iat: int
    exp: int
    cti: bytes
    prev: bytes
    mode: TapMode
    clk: ClockTrust
    boot: bytes
    up: int
    nonce: bytes | None = None
    campaign: str | None = None
    sub: bytes | None = None
    rtt: int | None = None
    wtx: int | None = None
    test: bool = False

    @property
    def chain(self) -> bytes:
        """First 8 bytes of cti: new with each outbox database."""
        return self.cti[:CHAIN_ID_BYTES]

    @property
    def seq(self) -> int:
        """Last 8 bytes of cti: from 1, without holes."""
        return int.from_bytes(self.cti[CHAIN_ID_BYTES:], "big")


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A well-formed token whose signature was not looked at yet."""

    claims: Claims
    envelope: Sign1 = field(repr=False)

    @property
    def kid(self) -> bytes:
        """Which key signed, by its own word."""
        return self.envelope.kid

    @property
    def alg(self) -> Alg:
        """The algorithm that the token names; the key's own decides."""
        return self.envelope.alg

    @property
    def signature(self) -> bytes:
        """64 bytes."""
        return self.envelope.signature

    def to_be_signed(self, aad: bytes) -> bytes:
        """Return the Sig_structure (RFC 9052, 4.4) for this external_aad."""
        return self.envelope.to_be_signed(aad)

    def verified_by(self, key: Verifier, aad: bytes) -> bool:
        """Whether this key signed this token for this stream; the key's algorithm is pinned."""
        return self.envelope.verified_by(key, aad)


def claims_for(tap: Tap, position: ChainPosition, iss: str) -> Claims:
    """Return the claims of one tap at its place in the chain.

    ``rtt`` and ``wtx`` are risk scores, no gates: they saturate at 65535 ms and 255.
    """
    facts, at = tap.facts, tap.at
    return Claims(
        iss=iss,
        iat=at.unix,
        exp=tap.exp,
        cti=position.cti,
        prev=position.prev,
        mode=facts.mode,
        clk=at.trust,
        boot=at.boot,
        up=at.up,
        nonce=facts.nonce,
        campaign=tap.campaign,
        sub=facts.sub,
        rtt=None if facts.rtt_ms is None else min(facts.rtt_ms, MAX_RTT_MS),
        wtx=None if facts.wtx is None else min(facts.wtx, MAX_WTX),
        test=tap.test,
    )


def seal(claims: Claims, key: Signer, aad: bytes) -> bytes:
    """Return the signed token; raises TokenError if the claims are not of the contract or too large."""
    return _sealed(claims, envelope_sealer(key, aad))


def make_sealer(key: Signer, fleet: str, terminal: str) -> Callable[[Tap, ChainPosition], bytes]:
    """Return the outbox's sealer for one terminal; the constant parts of every token are computed here, once."""
    wrap = envelope_sealer(key, stream_aad(fleet, terminal))

    def sealer(tap: Tap, position: ChainPosition) -> bytes:
        return _sealed(claims_for(tap, position, terminal), wrap)

    return sealer


def parse(token: bytes) -> ParsedToken:
    """Read a token without trusting it; raises TokenError(malformed) naming the first thing that is wrong."""
    envelope = parse_envelope(token, MAX_TOKEN_BYTES)
    return ParsedToken(claims=_read_payload(envelope.payload), envelope=envelope)


def encode_claims(claims: Claims) -> bytes:
    """Return the payload: the claims map in deterministic CBOR."""
    tap: dict[int, object] = {
        _PREV: claims.prev,
        _MODE: int(claims.mode),
        _CLK: int(claims.clk),
        _BOOT: claims.boot,
        _UP: claims.up,
    }
    # Keys are added in ascending order, which for these small numbers is the bytewise order of their encoding.
    optional = ((_CAMPAIGN, claims.campaign), (_SUB, claims.sub), (_RTT, claims.rtt), (_WTX, claims.wtx))
    tap.update((key, value) for key, value in optional if value is not None)
    if claims.test:
        tap[_TEST] = True
    payload: dict[int, object] = {_ISS: claims.iss, _EXP: claims.exp, _IAT: claims.iat, _CTI: claims.cti}
    if claims.nonce is not None:
        payload[_NONCE] = claims.nonce
    payload[_TAP] = tap
    return cbor.encode_ordered(payload)


def _sealed(claims: Claims, wrap: Callable[[bytes], bytes]) -> bytes:
    try:
        payload = encode_claims(claims)
    except (TypeError, ValueError, OverflowError) as exc:
        raise TokenError(f"the claims cannot be encoded: {exc}") from exc
    if _read_payload(payload) != claims:
        raise TokenError("the claims do not survive their own encoding")
    token = wrap(payload)
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError(f"a token of {len(token)} bytes, at most {MAX_TOKEN_BYTES} fit one short APDU")
    return token


def _read_payload(payload: bytes) -> Claims:
    fields = Fields(cbor.decode(payload, MAX_TOKEN_BYTES), "the payload", CLAIM_NAMES)
    tap = Fields(fields.raw(_TAP), "tap", TAP_NAMES)
    claims = Claims(
        iss=fields.text(_ISS, 24, NAME),
        iat=fields.uint(_IAT, MAX_SECONDS),
        exp=fields.uint(_EXP, MAX_SECONDS),
        cti=fields.bytes_(_CTI, CTI_BYTES),
        nonce=fields.bytes_(_NONCE, 8, 16) if fields.has(_NONCE) else None,
        prev=tap.bytes_(_PREV, PREV_BYTES),
        mode=TapMode(tap.uint(_MODE, 3, low=1)),
        clk=ClockTrust(tap.uint(_CLK, 2)),
        boot=tap.bytes_(_BOOT, 8),
        up=tap.uint(_UP, MAX_SECONDS),
        campaign=tap.text(_CAMPAIGN, 16) if tap.has(_CAMPAIGN) else None,
        sub=tap.bytes_(_SUB, 8, 12) if tap.has(_SUB) else None,
        rtt=tap.uint(_RTT, MAX_RTT_MS) if tap.has(_RTT) else None,
        wtx=tap.uint(_WTX, MAX_WTX) if tap.has(_WTX) else None,
        test=_read_test(tap),
    )
    _check_together(claims)
    return claims


def _read_test(tap: Fields) -> bool:
    if tap.has(_TEST) and tap.raw(_TEST) is not True:
        raise TokenError("test is true or absent")
    return tap.has(_TEST)


def _check_together(claims: Claims) -> None:
    """Rules that span more than one claim."""
    if claims.seq < 1:
        raise TokenError("seq starts at 1")
    if not 0 <= claims.exp - claims.iat <= MAX_TTL_S:
        raise TokenError(f"exp must be 0 to {MAX_TTL_S} s after iat")
    if claims.clk is ClockTrust.UNSET and claims.exp != claims.iat:
        raise TokenError("exp must equal iat while the clock is unset")
    if (claims.nonce is None) != (claims.mode is TapMode.CARD):
        raise TokenError("eat_nonce belongs to modes 1 and 2, and mode 3 has none")
