"""When a surface shows which ticket: pure. Takes ``(event, now)``, returns what is to be done.

It never keeps a ticket up that is older than half its life, was read, or was sealed before a step of the wall clock,
and none at all while the clock is not known to be right (contract, section 3: "No ticket is shown while clk = 0").
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.errors import TicketError
from edge_agent.models import ClockTrust
from edge_agent.tags.ticket import NONCE_BYTES

LOOK_EVERY_S = 1.0
"""The clock is looked at as often as this: for so long a ticket may stand after the clock has lost its trust."""
STEP_S = 3.0
"""More than this between wall time and elapsed time is a step; whole seconds are compared, and NTP slews."""

_REMEMBERED = 16
_DRAWS = 4


@dataclass(frozen=True, slots=True)
class ClockLooked:
    """A tick: what the wall clock says (unix seconds), how far it is trusted. Every decision follows one of these."""

    unix: int
    trust: ClockTrust


@dataclass(frozen=True, slots=True)
class Shown:
    """What the last Show asked for stands on the surface."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The surface shows nothing."""


@dataclass(frozen=True, slots=True)
class Read:
    """A phone has read the ticket with this nonce, the present one or one before it."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The surface did not do what it was asked, or was lost: nothing counts as shown, nor as hidden."""


Event = ClockLooked | Shown | Hidden | Read | Failed


@dataclass(frozen=True, slots=True)
class Show:
    """Show a new ticket, sealed with these; to be answered by Shown or Failed."""

    iat: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Hide:
    """Show no ticket; to be answered by Hidden or Failed."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """All is well: look at the clock again at this time (CLOCK_MONOTONIC seconds), or at the next event."""

    at: float


Effect = Show | Hide | WaitUntil


@dataclass(frozen=True, slots=True)
class _Standing:
    nonce: bytes
    iat: int
    sealed_at: float
    read: bool = False


class Rotation:
    """The tickets of one surface; ``entropy(n)`` returns n random bytes, as os.urandom does.

    A ticket stands for ``ttl / 2`` seconds at most, and for ``every_s`` where that is less.
    """

    def __init__(self, *, ttl: int, entropy: Callable[[int], bytes], every_s: float | None = None) -> None:
        self._every_s = ttl / 2 if every_s is None else min(every_s, ttl / 2)
        self._entropy = entropy
        self._used: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._standing: _Standing | None = None
        self._asked: _Standing | Hide | None = None
        self._empty = False

    @property
    def stands(self) -> bool:
        """Whether a phone that comes now finds a ticket."""
        return self._standing is not None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event at ``now`` (CLOCK_MONOTONIC seconds).

        Only ClockLooked has an effect, exactly one, and none while what was asked for before is not answered. Raises
        TicketError where the entropy repeats itself.
        """
        match event:
            case ClockLooked():
                return [] if self._asked is not None else [self._decide(event, now)]
            case Shown() if isinstance(self._asked, _Standing):
                self._standing, self._asked, self._empty = self._asked, None, False
            case Hidden() if isinstance(self._asked, Hide):
                self._standing, self._asked, self._empty = None, None, True
            case Read(nonce):
                self._note_read(nonce)
            case Failed():
                self._standing, self._asked, self._empty = None, None, False
            case _:
                raise AssertionError(f"{type(event).__name__} answers nothing that was asked for")
        return []

    def _decide(self, look: ClockLooked, now: float) -> Effect:
        if look.trust is ClockTrust.UNSET:
            if self._empty:
                return WaitUntil(now + LOOK_EVERY_S)
            self._asked = Hide()
            return self._asked
        stands = self._standing
        if stands is not None and not stands.read and not self._stepped(stands, look, now):
            due = stands.sealed_at + self._every_s
            if now < due:
                return WaitUntil(min(due, now + LOOK_EVERY_S))
        nonce = self._new_nonce()
        self._asked = _Standing(nonce, look.unix, now)
        return Show(look.unix, nonce)

    @staticmethod
    def _stepped(stands: _Standing, look: ClockLooked, now: float) -> bool:
        return abs((look.unix - stands.iat) - (now - stands.sealed_at)) > STEP_S

    def _note_read(self, nonce: bytes) -> None:
        if self._standing is not None and self._standing.nonce == nonce:
            self._standing = replace(self._standing, read=True)
        elif isinstance(self._asked, _Standing) and self._asked.nonce == nonce:
            self._asked = replace(self._asked, read=True)

    def _new_nonce(self) -> bytes:
        for _ in range(_DRAWS):
            nonce = self._entropy(NONCE_BYTES)
            if nonce not in self._used:
                self._used.append(nonce)
                return nonce
        raise TicketError("the source of random bytes repeats itself; no ticket can be made")
