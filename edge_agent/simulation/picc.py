"""What the chip model needs to know of a card or phone in its field (PICC): the seam between reader and card side.

Frames here are without CRC; the chip adds and checks it, or does not, as its registers say. Cards are pure: they answer
with a delay, they never wait, and they are called by one thread at a time.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

# ISO/IEC 14443-3, 6.5.3: "b6 of SAK: PICC compliant with ISO/IEC 14443-4"
SAK_ISO_DEP = 0x20
CARRIER_HZ = 13.56e6


@dataclass(frozen=True, slots=True)
class TypeA:
    """Outcome of REQA, anticollision and SELECT: ATQA in the order on the air, SAK, UID of 4, 7 or 10 bytes."""

    atqa: bytes
    sak: int
    uid: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame from the card.

    ``delay_s`` counts from the end of the command; ``bits`` of the last byte are valid (4 in a Type 2 ACK or NAK, which
    has no CRC); ``intact`` is False where the reader would see a CRC error.
    """

    frame: bytes
    delay_s: float = 0.0
    bits: int = 8
    intact: bool = True


class Picc(Protocol):
    """A card or phone in the field."""

    def activate(self) -> TypeA | None:
        """Answer REQA, anticollision and SELECT; None while halted or already in the protocol state."""

    def receive(self, frame: bytes) -> Answer | None:
        """Take a frame of the reader; None is silence."""

    def field_off(self) -> None:
        """Lose power: the state of the card is gone."""


@runtime_checkable
class Overhearing(Protocol):
    """A card or phone that takes notice of frames which are not for it."""

    def overhear(self, frame: bytes) -> None:
        """A frame was on the air while no card was selected."""
