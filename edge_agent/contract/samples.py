"""The fixed cast of all vectors: published keys, one fleet, one moment. Nothing here is secret or random."""

from dataclasses import dataclass
from typing import Any

from edge_agent.cloud.keyset import KeyEntry, KeySet, entry_from_show
from edge_agent.models import ClockTrust, TapMode
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.sign1 import Alg
from edge_agent.tokens.tap_token import Claims

FLEET = "sh"
NOW = 1_790_000_000
"""2026-09-21T14:13:20Z."""
CHAIN = bytes.fromhex("c0ffee0123456789")
BOOT = bytes.fromhex("5eed5eed00000001")
AID = bytes.fromhex("f0544150454447" + "4501")
PHONE_NONCE = bytes.fromhex("00112233445566778899aabb")
SUB = bytes.fromhex("a1b2c3d4e5f60718")


@dataclass(frozen=True, slots=True)
class Actor:
    """A terminal of the vectors: its published private key and its place in the registry, if it has one."""

    name: str
    about: str
    private_hex: str
    key: PrivateKey
    terminal: str
    registered: bool = True
    valid_from: int = NOW - 30 * 86400
    valid_to: int | None = None
    revoked_at: int | None = None

    def entry(self) -> KeyEntry:
        """Return the registry entry of this terminal."""
        made = entry_from_show(
            shown(self.key),
            fleet=FLEET,
            terminal=self.terminal,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
        )
        return made.model_copy(update={"revoked_at": self.revoked_at})


def shown(key: PrivateKey) -> dict[str, Any]:
    """Return what ``edge-agent keys show --json`` prints for this key."""
    return {
        "kid": key.kid.hex(),
        "alg": "EdDSA" if key.alg is Alg.EDDSA else "ES256",
        "public_jwk": key.public.jwk(),
        "public_cose_hex": key.public.cose_key().hex(),
    }


def _ed25519(name: str, about: str, seed: int, terminal: str, **more: Any) -> Actor:
    raw = bytes((seed,)) * 32
    return Actor(name, about, raw.hex(), PrivateKey.from_ed25519_seed(raw), terminal, **more)


_SCALAR = int.from_bytes(b"\x42" * 32, "big")

A = _ed25519("a", "a terminal with a software key", 0x11, "sh-000123-a")
B = Actor(
    "b", "a terminal with a secure element", f"{_SCALAR:064x}", PrivateKey.from_p256_scalar(_SCALAR), "sh-000123-b"
)
REVOKED = _ed25519("revoked", "stolen and revoked", 0x22, "sh-000999-a", revoked_at=NOW)
FUTURE = _ed25519("future", "counts from tomorrow", 0x33, "sh-000124-a", valid_from=NOW + 86400)
RETIRED = _ed25519("retired", "replaced an hour ago", 0x44, "sh-000125-a", valid_to=NOW - 3600)
STRANGER = _ed25519("stranger", "in no registry", 0x55, "sh-000123-a", registered=False)
ACTORS = (A, B, REVOKED, FUTURE, RETIRED, STRANGER)


def registry() -> KeySet:
    """Return the registry that all verdicts are judged with."""
    return KeySet(actor.entry() for actor in ACTORS if actor.registered)


EXAMPLE = Claims(
    iss=A.terminal,
    iat=NOW,
    exp=NOW + 90,
    cti=CHAIN + (2).to_bytes(8, "big"),
    prev=bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    mode=TapMode.PHONE_APP,
    clk=ClockTrust.SYNCED,
    boot=BOOT,
    up=86_461,
    nonce=PHONE_NONCE,
    campaign="c-1",
    sub=SUB,
    rtt=21,
    wtx=0,
)
"""The token of the documentation: mode 1, all that a phone with our app gives."""


def claims_json(claims: Claims) -> dict[str, Any]:
    """Return claims as the vectors show them: bytes in hex, absent ones left out."""
    made: dict[str, Any] = {}
    for name in Claims.__dataclass_fields__:
        value = getattr(claims, name)
        if value is None or (name == "test" and not value):
            continue
        if isinstance(value, bytes):
            made[name] = value.hex()
        else:
            made[name] = value if isinstance(value, str | bool) else int(value)
    return made
