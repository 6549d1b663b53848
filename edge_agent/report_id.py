"""The id of one support report: eight characters that a person reads off a screen and says over the phone. Pure.

Crockford's base 32 has no I, L, O and U: what is misread or misheard is read back as what was meant.
"""

import re
from typing import Self

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MEANT = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": ""})
_LENGTH = 8
RANDOM_BYTES = 5


class ReportId(str):
    """Two groups of four, such as ``K7QF-2M4D``: 40 bits."""

    __slots__ = ()

    @classmethod
    def of(cls, random: bytes) -> Self:
        """Return the id of RANDOM_BYTES bytes, which the caller drew. Raises ValueError for another number."""
        if len(random) != RANDOM_BYTES:
            raise ValueError(f"an id is made of {RANDOM_BYTES} bytes, not {len(random)}")
        number = int.from_bytes(random, "big")
        return cls._grouped("".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH))))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a person typed: small letters, O for 0, I and L for 1, no hyphen. Raises ValueError."""
        word = text[:64].upper().translate(_MEANT)
        if not re.fullmatch(f"[{_ALPHABET}]{{{_LENGTH}}}", word, re.ASCII):
            raise ValueError("a report id is eight letters and digits, such as K7QF-2M4D")
        return cls._grouped(word)

    @classmethod
    def _grouped(cls, word: str) -> Self:
        return cls(f"{word[:4]}-{word[4:]}")
