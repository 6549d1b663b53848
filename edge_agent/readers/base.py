"""The ports of a reader. An adapter owns one thread; every coroutine here hands work to it and awaits a future.

Errors: ReaderError means the hardware or its line (close, back off, open again);
SessionLost means this one phone or card (one lost tap, the reader goes on).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class TargetKind(StrEnum):
    """What is in the field: SAK bit 0x20 tells (ISO/IEC 14443-3, 6.5.3)."""

    ISO_DEP = "iso_dep"
    PLAIN = "plain"


_SINGLE_SIZE, _RANDOM = 4, 0x08


class RawUid:
    """A card's UID, for the pseudonym only: it has no text form, so that it cannot reach a log. May be compared."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes; only ``readers.pseudonym`` may call this (a test enforces it)."""
        return self._value

    @property
    def length(self) -> int:
        """How many bytes it has, which says nothing of whose it is."""
        return len(self._value)

    @property
    def is_random(self) -> bool:
        """Whether it is made up anew each time, as phones do (ISO/IEC 14443-3, 6.5.4: a single size UID from 08)."""
        return len(self._value) == _SINGLE_SIZE and self._value[0] == _RANDOM

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawUid) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "RawUid(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a raw UID is not serialised")


@dataclass(frozen=True, slots=True)
class Target:
    """What answered the poll."""

    kind: TargetKind
    uid: RawUid
    sak: int
    atqa: int | None = None
    """SENS_RES, 16 bits; None where the reader keeps it to itself."""


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """What an opened reader says of itself, sanitised."""

    driver: str
    device: str
    chip: str


class Session(Protocol):
    """One phone or card in the field."""

    target: Target
    seen_at: float
    """CLOCK_MONOTONIC seconds when the poll answered."""
    wtx: int
    """Waiting-time extensions (S(WTX), ISO/IEC 14443-4, 7.3) asked for so far."""
    rtt_s: float
    """Round trip of the last APDU in seconds, measured beside the driver: without activation and event loop."""
    ats: bytes
    """What it answered to RATS at the first APDU (ISO/IEC 14443-4, 5.2); b"" where the reader keeps that to itself."""

    async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
        """Send one command APDU, return the response APDU (data and SW1 SW2). Never takes longer than timeout_s.

        Raises SessionLost or ReaderError.
        """

    async def wait_removed(self) -> None:
        """Return when the phone or card has left the field; raises ReaderError."""

    async def close(self) -> None:
        """Give the field back to the poll. Idempotent, never raises."""


class Reader(Protocol):
    """One reader."""

    name: str
    last_poll: float
    """CLOCK_MONOTONIC seconds of the last finished poll or exchange: the health check reads it."""

    async def open(self) -> ReaderInfo:
        """Find and initialise the hardware; raises ReaderError."""

    async def next_session(self) -> Session:
        """Poll until something is in the field; cancellable within one poll. Raises ReaderError."""

    async def close(self) -> None:
        """Stop polling, release the line, end the thread. Idempotent, never raises."""


class Step(StrEnum):
    """What can be tried on a reader that is deaf, the gentlest first."""

    SOFT_RESET = "soft reset"
    """Set the hardware up anew without closing its line."""
    REOPEN = "reopen"
    USB_RESET = "USB reset"
    """As if it had been unplugged and plugged in again, without anybody's hands; the reader must be closed."""


class Tried(StrEnum):
    """What came of a step."""

    DONE = "done"
    FAILED = "failed"
    IMPOSSIBLE = "not possible"
    """This reader has no such thing, or it is not permitted."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a step, and why in one line where it is not plain."""

    tried: Tried
    text: str = ""


@runtime_checkable
class Recoverable(Protocol):
    """A Reader that can do more than be opened again."""

    async def recover(self, step: Step) -> Recovery:
        """Try a soft reset (while open) or a USB reset (while closed); returns in a few seconds, never raises."""
