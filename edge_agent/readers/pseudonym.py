"""A card's UID made unlinkable: HMAC-SHA256 under a random key that lives in memory and changes every day.

The only module that reads a raw UID. It must never keep, log or return one, and the key must never leave it.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

from edge_agent.readers.base import RawUid

KEY_BYTES = 32
KEY_LIFE_S = 86_400.0
PSEUDONYM_BYTES = 12
"""Upper bound of the claim `sub` (contract, tap key 7)."""

# ISO/IEC 14443-3, 6.5.4: a single-size UID whose uid0 is 08 is a random number, new at each activation.
_RANDOM_UID_SIZE = 4
_RANDOM_UID_FIRST = 0x08


class Pseudonyms:
    """Pseudonyms of one process; after a restart or ``life_s`` (seconds, monotonic) the same card has another one."""

    def __init__(self, *, life_s: float = KEY_LIFE_S, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._life_s = life_s
        self._entropy = entropy
        self._key = b""
        self._born = 0.0

    def of(self, uid: RawUid, now: float) -> bytes | None:
        """Return 12 bytes for the claim `sub`; None for a random UID, which names nobody.

        ``now`` is CLOCK_MONOTONIC seconds: a step of the wall clock neither prolongs nor shortens a key's life.
        """
        value = uid.reveal()
        if not value or (len(value) == _RANDOM_UID_SIZE and value[0] == _RANDOM_UID_FIRST):
            return None
        if not self._key or now - self._born >= self._life_s:
            self._key = self._entropy(KEY_BYTES)
            self._born = now
        return hmac.digest(self._key, value, hashlib.sha256)[:PSEUDONYM_BYTES]
