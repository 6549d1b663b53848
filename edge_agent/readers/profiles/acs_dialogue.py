"""One command to an ACS reader and all that may happen until its answer: lost, damaged and late frames. Pure.

Never has a command carried out twice that changes anything: an APDU is only sent again where the reader said that it
came damaged, or where its last answer, asked for, proves that it never arrived.
"""

from collections.abc import Iterable

from edge_agent.readers.profiles.acs_ccid import (
    NAK_FRAME,
    Answer,
    Command,
    Event,
    Message,
    Outcome,
    Status,
    encode,
)
from edge_agent.readers.profiles.base import Fault, FaultKind

ACK_WITHIN_S = 0.2
"""From the end of a command to its ACK; "immediately" (ACR1281S V1.01, 11), and a USB converter between."""
SENDS = 3
REPEATS = 2

_BITS_PER_CHARACTER = 10
_ANSWER_TO = {
    Command.ICC_POWER_ON: Answer.DATA_BLOCK,
    Command.XFR_BLOCK: Answer.DATA_BLOCK,
    Command.ICC_POWER_OFF: Answer.SLOT_STATUS,
    Command.GET_SLOT_STATUS: Answer.SLOT_STATUS,
    Command.ESCAPE: Answer.ESCAPE,
}


class Dialogue:
    """One command, from ``frame``, which is to be written first, to ``answer``. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, command: Command, seq: int, data: bytes, *, baud: int, now: float) -> None:
        self.frame = encode(command, seq, data)
        self.answer: Message | None = None
        self.extensions = 0
        """How often the reader said that the card needs more time."""
        self._command = command
        self._seq = seq & 0xFF
        self._ack_within_s = len(self.frame) * _BITS_PER_CHARACTER / baud + ACK_WITHIN_S
        self._ack_by: float | None = now + self._ack_within_s
        self._sends = 1
        self._repeats = 0
        self._asked = False

    def due(self, until: float) -> float:
        """Return when ``handle`` is to be called at the latest; ``until`` where there is nothing but to wait."""
        return until if self._ack_by is None else min(self._ack_by, until)

    def handle(self, events: Iterable[Event], now: float) -> bytes:
        """Take what the line brought up to ``now``; return what is to be written, empty for nothing."""
        wanted = [self._one(event) for event in events]
        if self.answer is not None:
            return b""
        if self.frame in wanted:
            return self._again(now)
        if NAK_FRAME in wanted:
            return self._repeat(now)
        if self._ack_by is not None and now >= self._ack_by:
            # Nothing at all came back. Whether an APDU went out is to be seen first.
            return self._repeat(now) if self._command is Command.XFR_BLOCK else self._again(now)
        return b""

    def _one(self, event: Event) -> bytes:
        """Return what one event asks for: the command again, the last answer again, or nothing."""
        match event:
            case Status.ACK:
                self._ack_by = None
            case Status():
                return self.frame  # it came damaged, and was not carried out
            case Message() if event.seq == self._seq and event.kind is _ANSWER_TO[self._command]:
                self._ack_by = None
                if event.outcome is Outcome.TIME_EXTENSION:
                    self.extensions += 1
                elif self.answer is None:
                    self.answer = event
            case Message() if self._asked and self._ack_by is not None:
                self._asked = False
                return self.frame  # the last answer is one of before: ours never arrived
            case Fault(kind=kind) if kind is not FaultKind.STRAY:
                return NAK_FRAME
        return b""

    def _again(self, now: float) -> bytes:
        if self._sends >= SENDS:
            self._ack_by = None
            return b""
        self._sends += 1
        self._ack_by = now + self._ack_within_s
        return self.frame

    def _repeat(self, now: float) -> bytes:
        if self._repeats >= REPEATS:
            self._ack_by = None
            return b""
        self._repeats += 1
        self._asked = True
        if self._ack_by is not None:
            self._ack_by = now + self._ack_within_s
        return NAK_FRAME
