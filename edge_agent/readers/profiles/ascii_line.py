"""Profile `ascii_line`: a number as printable text, ended by CR, LF or both, with a prefix and suffix if set. Pure.

DOT Origin VTAP50 and VTAP100 (help.vtapnfc.com, "Serial RS-232 interface settings": 9600 8N1; SerialPrefix,
SerialPostfix); readers like Elatec TWN3 and TWN4 on RS-232 or as a virtual port, whose script decides what is said.
A line carries no check: a torn one reads like a number, so whoever opens a line must say so (`resync`).
"""

import re

from edge_agent.readers.profiles.base import MAX_NUMBER, Event, Fault, FaultKind, Reading, uid_of_text

_END = re.compile(rb"[\r\n]")
_PRINTABLE = re.compile(rb"[ -~]*")
# Of random bytes 95 in 256 are printable: one line in 400 of this length is printable by chance.
_PROOF = 6


class AsciiLine:
    """Parser of lines of ``min_length`` to 128 characters between ``prefix`` and ``suffix``.

    After noise the next line end is the end of the noise: the line after it is taken, whatever there was. An empty
    line is none, a shorter one is mostly noise. What is too long is thrown away up to the next line end.
    """

    def __init__(self, *, prefix: str = "", suffix: str = "", min_length: int = 4) -> None:
        self._min_length = min_length
        self._prefix = prefix.encode("ascii")
        self._suffix = suffix.encode("ascii")
        self._cap = len(self._prefix) + MAX_NUMBER + len(self._suffix)
        self._line = bytearray()
        self._overlong = False
        self._torn = False

    def feed(self, data: bytes) -> list[Event]:
        """See ``Parser``."""
        events: list[Event] = []
        *ended, rest = _END.split(data)
        for part in ended:
            self._hold(part, events)
            self._end(events)
        self._hold(rest, events)
        return events

    def idle(self) -> list[Event]:
        """See ``Parser``: what has no end by now is no line, and what comes next does not belong to it."""
        torn = bool(self._line) or self._overlong
        self.resync()
        self._torn = False
        return [Fault(FaultKind.TORN)] if torn else []

    def resync(self) -> None:
        """See ``Parser``: the rest of the line that may be under way is thrown away."""
        self._line.clear()
        self._overlong = False
        self._torn = True

    def _hold(self, part: bytes, events: list[Event]) -> None:
        """Take a part without a line end; in blocks, so that faults do not depend on portions."""
        block = self._cap + 1
        for start in range(0, len(part), block):
            self._line += part[start : start + block]
            if len(self._line) >= block:
                del self._line[:block]
                self._overlong = True
                events.append(Fault(FaultKind.OVERLONG))

    def _end(self, events: list[Event]) -> None:
        line, overlong, torn = bytes(self._line), self._overlong, self._torn
        self._line.clear()
        self._overlong = self._torn = False
        if torn:
            events.append(Fault(FaultKind.TORN))
        elif line and not overlong:
            events.append(self._judge(line))

    def _judge(self, line: bytes) -> Event:
        if not _PRINTABLE.fullmatch(line):
            return Fault(FaultKind.UNPRINTABLE)
        number = line[len(self._prefix) : len(line) - len(self._suffix)].strip()
        framed = line.startswith(self._prefix) and line.endswith(self._suffix)
        if not framed or len(line) <= len(self._prefix) + len(self._suffix) or not number:
            return Fault(FaultKind.AFFIX)
        if len(number) < self._min_length:
            return Fault(FaultKind.LENGTH)
        return Reading(uid_of_text(number), proof=len(line) >= _PROOF)
