"""What comes back from the other end: when the broker and the receiver last answered, and how long one round took.

The question is the terminal's own ``state``, said again: a PUBACK answers for the broker, an ``ack`` for the receiver,
and no tap is touched. Pure: whoever owns it tells what happened and when.
"""

from dataclasses import dataclass, replace

from edge_agent.uplink.base import Message


@dataclass(frozen=True, slots=True)
class Heard:
    """Times are CLOCK_MONOTONIC seconds, None: never yet."""

    puback_at: float | None = None
    """Last PUBACK of any message, with whatever code."""
    ack_at: float | None = None
    """Last ``ack`` of the receiver."""
    ahead_s: int | None = None
    """By how much the receiver's clock was ahead of ours then: too little by the time that the ``ack`` took, +- 1 s."""


NOTHING_HEARD = Heard()


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement; it is under way as long as something is None."""

    message: Message
    asked_at: float
    asked_unix: int
    puback_s: float | None = None
    ack_s: float | None = None
    ahead: tuple[int, int] | None = None
    """The receiver's clock is ahead of ours by so many seconds at least and at most; None: its ``ack`` has no time."""
    cut: bool = False
    """The connection ended meanwhile."""


class Echo:
    """Of one publisher; a later measurement takes the place of one under way."""

    def __init__(self) -> None:
        self.round: Round | None = None
        self._puback_at: float | None = None
        self._ack_at: float | None = None
        self._ahead_s: int | None = None

    @property
    def heard(self) -> Heard:
        """What is known at the moment."""
        return Heard(self._puback_at, self._ack_at, self._ahead_s)

    def ask(self, message: Message, now: float, unix: int) -> None:
        """``message`` is about to be sent."""
        self.round = Round(message, now, unix)

    def puback(self, now: float) -> None:
        """The broker acknowledged something."""
        self._puback_at = now

    def said(self, message: Message, now: float) -> None:
        """The broker took this message."""
        if (asked := self.round) is not None and asked.message is message and not asked.cut:
            self.round = replace(asked, puback_s=now - asked.asked_at)

    def stored(self, at: int | None, now: float, unix: int) -> None:
        """The receiver said ``ack``, at this time by its own clock; ``unix`` is ours."""
        self._ack_at = now
        if at is not None:
            self._ahead_s = at - unix
        if (asked := self.round) is None or asked.cut or asked.ack_s is not None:
            return
        # All three are whole seconds, rounded down; the ack was made after we asked and before it came.
        ahead = None if at is None else (at - unix - 1, at - asked.asked_unix + 1)
        self.round = replace(asked, ack_s=now - asked.asked_at, ahead=ahead)

    def cut(self) -> None:
        """The connection ended."""
        if self.round is not None:
            self.round = replace(self.round, cut=True)
