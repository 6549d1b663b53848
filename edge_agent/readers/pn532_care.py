"""What a PN532 needs and nfcpy does not do: being woken at any speed, frames for Observe Mode, a look at its health.

All by commands of UM0701-02 over a chipset that is handed in. A look never takes a reader down by what it only
believes: a sign counts from the moment that this chip was once seen to give it.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.line_faults import line_error, no_answer

log = structlog.get_logger(__name__)

_WAKE_UP = bytearray(b"\x55\x55" + bytes(14))  # rising edges to wake the chip, then time for its oscillator
_WAKE_PAUSE_S = 0.05
LOOK_EVERY_S = 60.0
FIELD_GUARD_S = 0.005
"""ISO/IEC 14443-3, 5.1: a PICC must be ready for a frame after 5 ms of unmodulated field."""

_GET_STATUS, _READ, _WRITE, _RF, _THRU = 0x04, 0x06, 0x08, 0x32, 0x42
_WITHIN_S = 0.1

_FIELD_ON = b"\x01\x01"  # RFConfiguration item 1
_FIELD_OFF = b"\x01\x02"
_NO_ANSWER_EXPECTED = b"\x02\x00\x0b\x02"  # item 2: InCommunicateThru waits 100 us * 2^(n-1) = 0.2 ms

_TX_MODE, _RX_MODE, _TX_CONTROL = b"\x63\x02", b"\x63\x03", b"\x63\x04"
_BIT_FRAMING = b"\x63\x3d"
_MARK_AT = b"\x63\x29"  # CIU_TestDAC1: without effect while no test signal is switched to a pin
_MARK = 0x2A
_RF_ON = 0x03  # CIU_TxControl: Tx1RFEn, Tx2RFEn
_WHY_OFF = {0x0D: "it is too hot", 0x2D: "the antenna draws too much current"}  # 7.1, the chip's last error


class Chip(Protocol):
    """A chipset of nfcpy."""

    def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> bytearray | None:
        """Return what follows the response code; raises OSError, or the library's error for an error frame."""

    def send_ack(self) -> None:
        """Give up the command that runs (6.2.1.3)."""

    def sam_configuration(self, mode: str) -> None:
        """Set the mode of the SAM; raises as ``command``."""


class Line(Protocol):
    """The line below it."""

    baudrate: int

    def write(self, frame: bytearray) -> None:
        """Send bytes; raises OSError."""


def wake(
    chip: Chip, line: Line, speeds: Sequence[int], device: str, *, patience_s: float, noise: tuple[type[Exception], ...]
) -> None:
    """Wake the chip and set its SAM to normal mode (7.2.10), at the speed of these at which it was left.

    Rounds begin for ``patience_s`` seconds. ``noise`` is what answers at a wrong speed raise. Raises ReaderError.
    """
    until = time.monotonic() + patience_s
    while True:
        for baud in speeds:
            line.baudrate = baud
            try:
                chip.send_ack()  # gives up what an earlier process may have begun
                line.write(_WAKE_UP)
                chip.sam_configuration("normal")
            except OSError as error:
                if (fault := line_error(error, device)).fault is ReaderFault.UNPLUGGED:
                    raise fault from error
            except noise:
                pass
            else:
                return
        if time.monotonic() >= until:
            raise no_answer(device)
        time.sleep(_WAKE_PAUSE_S)


def annotate(chip: Chip, frame: bytes) -> None:
    """Put a frame on the air that nobody needs to answer, in a field that stays on for the poll that follows.

    The bytes are sent as Android describes an annotation: a Type A frame at 106 kbit/s, to which CRC_A is added
    (ISO/IEC 14443-3, 6.2.4). A card in the idle state takes no notice of it (6.3.3). A poll without an answer leaves
    the UART of the chip as REQA needs it, with seven bits and no CRC, so that both are set here.
    """
    chip.command(_RF, _FIELD_ON, _WITHIN_S)
    ready_at = time.monotonic() + FIELD_GUARD_S
    chip.command(_WRITE, _TX_MODE + b"\x80" + _RX_MODE + b"\x80" + _BIT_FRAMING + b"\x00", _WITHIN_S)
    chip.command(_RF, _NO_ANSWER_EXPECTED, _WITHIN_S)
    time.sleep(max(0.0, ready_at - time.monotonic()))
    chip.command(_THRU, frame, _WITHIN_S)  # whoever answers was not asked: the status is a time-out, and no matter


class SelfCheck:
    """Looks at one chip, at most every ``every_s`` seconds; outlives its being opened again."""

    def __init__(self, clock: Clock, device: str, every_s: float = LOOK_EVERY_S) -> None:
        self._clock = clock
        self._device = device
        self._every_s = every_s
        self._due = 0.0
        self._keeps_marks = False
        self._tells_field = False

    def begin(self, chip: Chip) -> None:
        """The chip was set up: put a mark where only a reset wipes it out; the next look is due at once."""
        chip.command(_WRITE, _MARK_AT + bytes([_MARK]), _WITHIN_S)
        self._due = self._clock.monotonic()

    def look_if_due(self, chip: Chip) -> None:
        """See ``look``; costs nothing while none is due."""
        if self._clock.monotonic() >= self._due:
            self.look(chip)

    def look(self, chip: Chip) -> None:
        """Ask whether the settings are still there and the field comes on; the field is off afterwards.

        Raises ReaderError (IO): a chip that has reset itself, or whose antenna stays off, finds no phone and says
        nothing of it.
        """
        self._due = self._clock.monotonic() + self._every_s
        chip.command(_RF, _FIELD_ON, _WITHIN_S)
        values = chip.command(_READ, _TX_CONTROL + _MARK_AT, _WITHIN_S) or b""
        chip.command(_RF, _FIELD_OFF, _WITHIN_S)
        tx_control, mark = (*values, 0, 0)[:2]
        field = tx_control & _RF_ON == _RF_ON
        if self._keeps_marks and mark != _MARK:
            raise self._fault("has reset itself and lost its settings", "if it happens again, check its supply")
        if self._tells_field and not field:
            status = chip.command(_GET_STATUS, b"", _WITHIN_S) or b"\x00"
            why = _WHY_OFF.get(status[0], f"last error {status[0]:02x}")
            raise self._fault(f"cannot switch its field on ({why})", "power-cycle the reader, check its antenna")
        self._learn(keeps_marks=mark == _MARK, tells_field=field)

    def _learn(self, *, keeps_marks: bool, tells_field: bool) -> None:
        if not (keeps_marks and tells_field):
            log.debug("pn532_tells_little", device=self._device, keeps_marks=keeps_marks, tells_field=tells_field)
        self._keeps_marks |= keeps_marks
        self._tells_field |= tells_field

    def _fault(self, what: str, remedy: str) -> ReaderError:
        return ReaderError(ReaderFault.IO, f"the PN532 at {self._device} {what}", remedy=remedy)
