"""Keys, claims and taps for tests: fixed ones to read, strategies to explore."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from edge_agent.models import ChainPosition, ClockReading, ClockTrust, Tap, TapFacts, TapMode
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import Claims, seal, stream_aad

FLEET, TERMINAL = "sh", "sh-000123-a"
AAD = stream_aad(FLEET, TERMINAL)
NOW = 1_790_000_000
CHAIN = bytes.fromhex("c0ffee00c0ffee00")

ED25519 = PrivateKey.from_ed25519_seed(bytes(range(32)))
OTHER_ED25519 = PrivateKey.from_ed25519_seed(bytes(range(1, 33)))
P256 = PrivateKey.from_p256_scalar(0x1234567890ABCDEF)

CLAIMS = Claims(
    iss=TERMINAL,
    iat=NOW,
    exp=NOW + 90,
    cti=CHAIN + (2).to_bytes(8, "big"),
    prev=b"p" * 16,
    mode=TapMode.PHONE_APP,
    clk=ClockTrust.SYNCED,
    boot=b"bootbyte",
    up=4711,
    nonce=b"phonenonce",
    campaign="c-1",
    sub=b"pseudonm",
    rtt=21,
    wtx=0,
)


def claims(**changes: Any) -> Claims:
    """Return the sample claims with changes; ``seq`` is a short form for cti, ``ttl`` for exp."""
    if "seq" in changes:
        changes["cti"] = CHAIN + changes.pop("seq").to_bytes(8, "big")
    if "ttl" in changes:
        changes["exp"] = changes.get("iat", NOW) + changes.pop("ttl")
    return replace(CLAIMS, **changes)


def token(key: PrivateKey = ED25519, aad: bytes = AAD, **changes: Any) -> bytes:
    """Return a sealed sample token."""
    return seal(claims(**changes), key, aad)


def tap(**changes: Any) -> Tap:
    """Return a sample tap with changed facts."""
    facts = TapFacts(mode=TapMode.PHONE_APP, reader="r0", nonce=b"phonenonce", sub=b"pseudonm", rtt_ms=21, wtx=0)
    at = ClockReading(unix=NOW, trust=ClockTrust.SYNCED, boot=b"bootbyte", up=4711)
    return Tap(facts=replace(facts, **changes), at=at, ttl=90, campaign="c-1")


POSITION = ChainPosition(chain=CHAIN, seq=2, prev=b"p" * 16)

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=24)
campaigns = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16).filter(
    lambda text: len(text.encode()) <= 16
)


@st.composite
def any_claims(draw: st.DrawFn) -> Claims:
    """Draw claims over the whole range of the contract."""
    mode = draw(st.sampled_from(TapMode))
    clk = draw(st.sampled_from(ClockTrust))
    iat = draw(st.integers(0, 2**32 - 121))
    ttl = 0 if clk is ClockTrust.UNSET else draw(st.integers(0, 120))
    return Claims(
        iss=draw(names),
        iat=iat,
        exp=iat + ttl,
        cti=draw(st.binary(min_size=8, max_size=8)) + draw(st.integers(1, 2**64 - 1)).to_bytes(8, "big"),
        prev=draw(st.binary(min_size=16, max_size=16)),
        mode=mode,
        clk=clk,
        boot=draw(st.binary(min_size=8, max_size=8)),
        up=draw(st.integers(0, 2**32 - 1)),
        nonce=None if mode is TapMode.CARD else draw(st.binary(min_size=8, max_size=16)),
        campaign=draw(st.none() | campaigns),
        sub=draw(st.none() | st.binary(min_size=8, max_size=12)),
        rtt=draw(st.none() | st.integers(0, 65535)),
        wtx=draw(st.none() | st.integers(0, 255)),
        test=draw(st.booleans()),
    )
