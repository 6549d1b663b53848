"""Talks to an ACS reader on a serial line (profile acs_ccid); blocks, and so lives on a ThreadedReader's thread.

One command at a time, each with a number that its answer repeats: an answer that comes late is recognised and dropped.
What is damaged on the way is asked for again, but an APDU never reaches a phone twice. Has every wait bounded.
"""

import contextlib

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.readers import ports
from edge_agent.readers.base import RawUid, ReaderInfo, Target, TargetKind
from edge_agent.readers.line_faults import no_answer
from edge_agent.readers.pcsc_status import target_kind
from edge_agent.readers.profiles.acs_ccid import (
    ICC_MUTE,
    AcsCcidParser,
    Command,
    Event,
    Message,
    Outcome,
    SlotChange,
)
from edge_agent.readers.profiles.acs_dialogue import Dialogue
from edge_agent.readers.profiles.base import Fault
from edge_agent.readers.serial_line import SerialLine
from edge_agent.readers.threaded_reader import Exchanged, Found
from edge_agent.sanitize import printable

log = structlog.get_logger(__name__)

WHAT = "ACS reader (acs_ccid)"
DEAF_AFTER_S = 6.0
"""A reader that said nothing for so long is deaf; up to 4.95 s it may be waiting for a phone (FWI 14)."""

_SILENCE_S = 0.06  # a frame is over; USB converters hold bytes back for 16 ms
_LOOK_WITHIN_S = 0.6
_POWER_WITHIN_S = 1.0
_FIRMWARE_WITHIN_S = 0.5
_OPEN_TRIES = 3

_GET_FIRMWARE = bytes.fromhex("E000001800")
_FIRMWARE_HEAD = 5
# PC/SC part 3, 3.2.2.1.3: GET DATA, the UID.
_GET_UID = bytes.fromhex("FFCA000000")
_SW_OK = b"\x90\x00"


class _Silence(Exception):
    """No answer in time."""


class AcsDriver:
    """A BlockingDriver over the dialogue."""

    def __init__(self, port: str, *, baud: int, clock: Clock, phone_uids: bool) -> None:
        self._port = port
        self._baud = baud
        self._clock = clock
        self._phone_uids = phone_uids
        self._parser = AcsCcidParser()
        self._line = SerialLine(port, baud=baud, what=WHAT)
        self._open = False
        self._seq = 0
        self._wtx = 0
        self._powered = False
        self._answered_at = 0.0
        self._half = False
        self._aborted = False

    def open(self) -> ReaderInfo:
        """Open the port and ask the reader for its slot and its firmware; raises ReaderError."""
        device = ports.resolve(self._port)
        self._line = SerialLine(device, baud=self._baud, what=WHAT)
        self._line.open()
        self._open = True
        self._aborted = False
        self._set_up()
        return ReaderInfo(driver="serial", device=device, chip=f"acs_ccid, {self._firmware()}")

    def soft_reset(self) -> None:
        """Begin the dialogue anew on the open line; raises ReaderError."""
        self._set_up()

    def _set_up(self) -> None:
        self._parser.resync()
        self._half = self._powered = False
        for _ in range(_OPEN_TRIES):
            with contextlib.suppress(_Silence):
                self._ask(Command.GET_SLOT_STATUS, within_s=_LOOK_WITHIN_S)
                return
        raise no_answer(self._line.device, WHAT)

    def poll(self) -> Found | None:
        """One look at the slot, and the activation of what is there; raises ReaderError."""
        if self._powered:
            # A phone that is asked anew begins anew. Readers whose power-off does nothing go on with the old link.
            self._powered = False
            with contextlib.suppress(_Silence):
                self._ask(Command.ICC_POWER_OFF, within_s=_LOOK_WITHIN_S)
        if not self._look():
            return None
        seen_at = self._clock.monotonic()
        self._wtx = 0
        try:
            answer = self._ask(Command.ICC_POWER_ON, within_s=_POWER_WITHIN_S)
            if answer.outcome is not Outcome.DONE:
                return None  # it left, or is no card that this reader knows
            self._powered = True
            kind = target_kind(answer.data)
            uid = self._uid() if kind is TargetKind.PLAIN or self._phone_uids else RawUid(b"")
        except _Silence:
            self._check_hearing()
            return None
        return Found(Target(kind, uid, sak=0x20 if kind is TargetKind.ISO_DEP else 0), seen_at)

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
        """One APDU to the card of the last poll; raises SessionLost, ReaderError."""
        if not self._powered:
            raise SessionLost(LostReason.VANISHED, "nothing is powered")
        started = self._clock.monotonic()
        try:
            answer = self._ask(Command.XFR_BLOCK, apdu, within_s=deadline - started)
        except _Silence:
            raise SessionLost(LostReason.TIMEOUT, f"cut off after {self._wtx} time extensions") from None
        except ValueError as error:
            raise SessionLost(LostReason.PROTOCOL, f"the reader takes no such APDU: {error}") from None
        if answer.outcome is not Outcome.DONE:
            vanished = not answer.card_there or answer.error == ICC_MUTE
            reason = LostReason.VANISHED if vanished else LostReason.PROTOCOL
            raise SessionLost(reason, f"{reason} (bError {answer.error:02X})")
        return Exchanged(answer.data, self._clock.monotonic() - started, self._wtx)

    def present(self) -> bool:
        """Whether anything is in the field; raises ReaderError."""
        return self._look()

    def abort(self) -> None:
        """End every wait; may be called from any thread."""
        self._aborted = True
        self._line.wake()

    def close(self) -> None:
        """Power the card off where the reader still listens, release the line. Idempotent."""
        powered, self._powered = self._powered, False
        if self._open and powered:
            self._aborted = False
            # Its answer is waited for: what the line has not sent yet is thrown away at its closing.
            with contextlib.suppress(ReaderError, _Silence):
                self._ask(Command.ICC_POWER_OFF, within_s=_LOOK_WITHIN_S)
        self._open = False
        self._line.close()

    def _look(self) -> bool:
        """Whether anything is in the field: by what the reader told of itself, else by asking. Raises ReaderError."""
        for event in reversed(self._receive(0.0)):
            if isinstance(event, SlotChange):
                return event.card_there
        try:
            return self._ask(Command.GET_SLOT_STATUS, within_s=_LOOK_WITHIN_S).card_there
        except _Silence:
            self._check_hearing()
            # It is busy with a phone that was cut off.
            return self._powered

    def _check_hearing(self) -> None:
        if self._clock.monotonic() - self._answered_at >= DEAF_AFTER_S:
            raise no_answer(self._line.device, WHAT)

    def _uid(self) -> RawUid:
        answer = self._ask(Command.XFR_BLOCK, _GET_UID, within_s=_POWER_WITHIN_S)
        if answer.outcome is Outcome.DONE and answer.data.endswith(_SW_OK):
            return RawUid(answer.data[:-2])
        return RawUid(b"")

    def _firmware(self) -> str:
        """What the reader calls itself; not every one does."""
        try:
            answer = self._ask(Command.ESCAPE, _GET_FIRMWARE, within_s=_FIRMWARE_WITHIN_S)
        except _Silence:
            return "firmware unknown"
        name = answer.data[_FIRMWARE_HEAD:].rstrip(b"\x00")
        return printable(name, 32) if answer.outcome is Outcome.DONE and name else "firmware unknown"

    def _ask(self, command: Command, data: bytes = b"", *, within_s: float) -> Message:
        """Send a command and return its answer; raises _Silence, ReaderError, ValueError (too long)."""
        self._seq = (self._seq + 1) & 0xFF
        now = self._clock.monotonic()
        until = now + within_s
        dialogue = Dialogue(command, self._seq, data, baud=self._baud, now=now)
        before = self._wtx
        self._line.write(dialogue.frame)
        while now < until and not self._aborted:
            events = self._receive(dialogue.due(until) - now)
            now = self._clock.monotonic()
            if more := dialogue.handle(events, now):
                self._line.write(more)
            self._wtx = before + dialogue.extensions
            if dialogue.answer is not None:
                return dialogue.answer
        raise _Silence

    def _receive(self, wait_s: float) -> list[Event]:
        if not self._open:
            raise ReaderError(ReaderFault.IO, "the reader is closed")
        data = self._line.read(min(wait_s, _SILENCE_S) if self._half else wait_s)
        events: list[Event] = []
        if data:
            self._half = True
            events = self._parser.feed(data)
        elif self._half and wait_s > 0:
            self._half = False
            events = self._parser.idle()
        for event in events:
            if isinstance(event, Fault):
                log.debug("serial_reader_noise", port=self._port, kind=event.kind.value)
            else:
                self._answered_at = self._clock.monotonic()
        return events
