"""Frozen values that cross the layers. No behaviour beyond derived properties, no I/O."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

CHAIN_ID_BYTES = 8
PREV_BYTES = 16
FIRST_PREV = bytes(PREV_BYTES)


class TapMode(IntEnum):
    """Tap claim 2 of the contract."""

    PHONE_APP = 1
    TAG_READ = 2
    CARD = 3


class ClockTrust(IntEnum):
    """Tap claim 3 (clk) of the contract."""

    UNSET = 0
    HOLDOVER = 1
    SYNCED = 2


class Cue(StrEnum):
    """What the screen is asked to show; the words of the screen link, but `quiet`; a test keeps them equal."""

    INVITE = "invite"
    READING = "reading"
    THANKS = "thanks"
    UNLOCK = "unlock"
    RETRY = "retry"
    RESTING = "resting"
    FAULT = "fault"
    IDENTIFY = "identify"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One look at the clocks: wall seconds, how far they are trusted, boot id (8 bytes), seconds since boot."""

    unix: int
    trust: ClockTrust
    boot: bytes
    up: int


@dataclass(frozen=True, slots=True)
class TapFacts:
    """What a reader learnt from one phone or card; everything else in a tap comes from the terminal."""

    mode: TapMode
    reader: str
    nonce: bytes | None = None
    sub: bytes | None = None
    rtt_ms: int | None = None
    wtx: int | None = None
    seen_at: float = 0.0
    """CLOCK_MONOTONIC seconds at which the field detected the phone; never leaves the process."""


@dataclass(frozen=True, slots=True)
class Tap:
    """Facts plus the terminal's own part: all that the sealer needs except the place in the chain."""

    facts: TapFacts
    at: ClockReading
    ttl: int
    campaign: str | None = None
    test: bool = False

    @property
    def exp(self) -> int:
        """CWT exp, unix seconds: iat + ttl; equal to iat while the clock is unset, so that nobody can redeem it."""
        return self.at.unix if self.at.trust is ClockTrust.UNSET else self.at.unix + self.ttl


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where the next token goes: chain id (8 bytes), seq (from 1), hash of the one before (16 bytes)."""

    chain: bytes
    seq: int
    prev: bytes = FIRST_PREV

    @property
    def cti(self) -> bytes:
        """CWT id: chain id, then seq as uint64 big-endian."""
        return self.chain + self.seq.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class StoredTap:
    """A token that is on disk: what the phone may have and the uplink must deliver."""

    chain: bytes
    seq: int
    token: bytes
    exp: int
    committed_at: float = field(default=0.0, compare=False)
    """CLOCK_MONOTONIC seconds right after the commit returned."""

    @property
    def cti(self) -> bytes:
        """CWT id: chain id, then seq as uint64 big-endian."""
        return self.chain + self.seq.to_bytes(8, "big")


class ComponentState(StrEnum):
    """What a supervised part says of itself."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One part of the agent at one moment; ``since`` in CLOCK_MONOTONIC seconds."""

    name: str
    state: ComponentState
    detail: str = ""
    restarts: int = 0
    since: float = 0.0
