"""What a reader with a protocol of its own says on its line: numbers, and damage. Pure push parsers share this.

Bytes come in whatever portions; memory is bounded by the longest frame, nothing that comes in can raise. A number
leaves a parser as a RawUid and in no other form: a fault is its kind alone, for damaged bytes are mostly a number.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from edge_agent.readers.base import RawUid

MAX_NUMBER = 128
"""Characters or bytes of the longest number."""

# ISO/IEC 14443-3, 6.5.4: UIDs are single, double or triple size: 4, 7 or 10 bytes.
UID_SIZES = frozenset({4, 7, 10})
_RANDOM_UID = b"\x08\x00\x00\x00"
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :-]?)+")


class FaultKind(StrEnum):
    """What was wrong with bytes that were thrown away."""

    STRAY = "stray"
    """Bytes that belong to no frame; one fault for each 16 of them."""
    FORM = "form"
    """A frame began, and went on as none of this profile does."""
    CHECKSUM = "checksum"
    LENGTH = "length"
    """A length that no number has."""
    OVERLONG = "overlong"
    """A line without an end; one fault for each longest line's worth of bytes."""
    UNPRINTABLE = "unprintable"
    AFFIX = "affix"
    """A line without the prefix or suffix that was set, or with nothing between them."""
    TORN = "torn"
    """A frame or line that the line fell silent in, or whose beginning was missed."""
    NO_CARD = "no_card"
    """A sound frame in which the reader says that it has no number: no damage."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number that the reader told.

    ``proof``: no noise looks like this, so that speed and profile are right; a short line without a check is none.
    """

    uid: RawUid
    proof: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was thrown away."""

    kind: FaultKind


Event = Reading | Fault


class Parser(Protocol):
    """A push parser of one line."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return what they completed, in order. Readings depend on the bytes, not on portions."""

    def idle(self) -> list[Event]:
        """Nothing came for longer than a frame takes: what is half received is torn, or hides a good frame behind it.

        Afterwards nothing is held back.
        """

    def resync(self) -> None:
        """Forget all: the next bytes may begin in the middle of a frame."""


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """A profile as the configuration has it; the settings of other profiles are left alone.

    ``prefix`` to ``min_length`` belong to ascii_line, ``head`` to ``checksum`` to aa_bb. ``phone_uids``: acs_ccid asks
    phones for their UID, too, which costs one more exchange; without it only plain cards have one.
    """

    profile: Literal["ascii_line", "stx_etx_hex", "aa_bb", "acs_ccid"] = "ascii_line"
    prefix: str = ""
    suffix: str = ""
    min_length: int = 4
    head: bytes = b"\xaa"
    tail: bytes = b"\xbb"
    length: Literal["payload", "frame"] = "payload"
    checksum: Literal["xor", "sum", "none"] = "xor"
    phone_uids: bool = False


@dataclass(slots=True)
class Stray:
    """Counts bytes between frames; a frame that was sound excuses those before it (a line end behind each, say)."""

    each: int = 16
    _count: int = field(default=0, init=False)

    def add(self, count: int) -> list[Fault]:
        """Count so many more; return the faults that they make."""
        full, self._count = divmod(self._count + count, self.each)
        return [Fault(FaultKind.STRAY)] * full

    def excuse(self) -> None:
        """A sound frame came."""
        self._count = 0


def uid_of(value: bytes) -> RawUid:
    """Return a number that a reader told in bytes.

    All random UIDs (four bytes, the first 08: a phone's, new at each activation) become one: they name nobody, and a
    phone that a reader activates again and again is one phone.
    """
    return RawUid(_RANDOM_UID if len(value) == len(_RANDOM_UID) and value[0] == _RANDOM_UID[0] else value)


def uid_of_text(text: bytes) -> RawUid:
    """Return the number that a reader printed.

    Eight, 14 or 20 hexadecimal digits, separated by nothing, blanks, colons or hyphens, are a UID (ISO/IEC 14443-3) and
    become its bytes, as another reader would tell it; anything else is kept as it stands.
    """
    if _HEX.fullmatch(text):
        digits = text.translate(None, b" :-")
        if len(digits) // 2 in UID_SIZES:
            return uid_of(bytes.fromhex(digits.decode("ascii")))
    return RawUid(text)
