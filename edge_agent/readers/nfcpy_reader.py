"""PN532 on a serial line, by nfcpy: the only module that imports it.

nfcpy is used unmodified and never trusted: its serial set-up (a shell and 921600 baud), its poll loop, its ATS and
waiting-time handling are replaced or wrapped here, every call has a deadline, and every way in which it fails becomes a
ReaderError (open again) or a SessionLost (one tap). A card's UID must not leave this module but as a RawUid.
"""

import contextlib
import logging
import math
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import nfc.clf
import nfc.tag
import nfc.tag.tt4  # nfcpy would import it at the first phone, which would wait for it
from nfc.clf import pn532, transport

from edge_agent.clock import Clock
from edge_agent.errors import ConfigError, LostReason, ReaderFault, SessionLost
from edge_agent.readers import iso_dep, ports
from edge_agent.readers.base import RawUid, ReaderInfo, Target, TargetKind
from edge_agent.readers.line_faults import garbled, line_error, no_answer, open_error
from edge_agent.readers.pn532_care import SelfCheck, annotate, wake
from edge_agent.readers.port_names import check_port
from edge_agent.readers.presence import GONE_AFTER_S
from edge_agent.readers.threaded_reader import POLL_INTERVAL_S, Exchanged, Found, ResetUsb, ThreadedReader
from edge_agent.readers.usb_reset import UsbReset

_nfcpy_log = logging.getLogger("nfc")

CHIP_BAUD = 115200
"""UM0701-02, 6.2: the speed of the HSU link after power-up."""
BAUDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
PN532_IC = 0x32

_WAKE_SOURCES = ("I2C", "SPI", "HSU")  # PowerDown, 7.2.11: the lines on which it hears us
_WAKE_FOR_S = 1.5  # a USB serial converter may hold back the first answer for a second
_READ_S = 0.05  # as the library has it; it sets another one for each frame
_WRITE_TIMEOUT_S = 0.5
_PRESENCE_BUDGET_S = 0.3
_LEAST_S = 0.005  # less than this is not worth a frame
# The library waits so long for an ACK, and for the answer to a command that goes to no card; a loaded machine, or a USB
# converter on a busy hub, may need more.
_AT_ONCE_S = 0.1
_PATIENCE_S = 0.3
_GARBLED_LIMIT = 3

_THRU = 0x42  # InCommunicateThru (7.3.9)
_TYPE_A = 0  # BrTy of InListPassiveTarget: 106 kbit/s Type A (UM0701-02, 7.3.5)
_SAK_ISO_DEP = 0x20  # ISO/IEC 14443-3, 6.5.3; the other bits say nothing about ISO/IEC 14443-4
# What nfcpy raises on frames that it did not expect; from a card it is one lost tap, in a poll it is the line.
_ODD = (IndexError, ValueError, AssertionError, TypeError, struct.error, pn532.Chipset.Error)
_BAD_CARD = (nfc.tag.TagCommandError, nfc.clf.CommunicationError, *_ODD)


class _Line(transport.TTY):  # type: ignore[misc] # nfcpy has no types
    """nfcpy's serial transport that cannot block for ever on a write, and closes even where the device is gone."""

    tty: Any

    def open(self, port: str, baudrate: int = CHIP_BAUD) -> None:
        self.close()
        # Locked before its speed is set: whoever has the line goes on at his own.
        self.tty = transport.serial.Serial(
            port, baudrate, timeout=_READ_S, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
        )
        # Takes an FTDI converter's latency from 16 ms to 1 ms for each answer; other devices do not know it.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            self.tty.set_low_latency_mode(True)

    def close(self) -> None:
        tty, self.tty = self.tty, None
        if tty is not None:
            with contextlib.suppress(OSError, termios.error):
                tty.reset_output_buffer()
            with contextlib.suppress(OSError, termios.error):
                tty.close()


class _Chipset(pn532.Chipset):  # type: ignore[misc] # nfcpy has no types
    """Ends a wait for a card with the budget: the chip's own timer goes in powers of two, up to 3.3 s.

    ``patient``: the chip is there and its speed is known, so that what comes late is worth waiting for.
    """

    def __init__(self, line: _Line, left_s: Callable[[], float], annotation: bytes) -> None:
        super().__init__(line, logger=_nfcpy_log)
        self._left_s = left_s
        self._annotation = annotation
        self._ack_is_next = False
        self._gave_up = False
        self.patient = False

    def write_frame(self, frame: bytearray) -> None:
        self._ack_is_next = frame != self.ACK  # an ACK of ours ends a command, and nothing answers it
        self._gave_up |= frame == self.ACK
        super().write_frame(frame)

    def read_frame(self, timeout: int) -> bytearray | None:
        ack, self._ack_is_next = self._ack_is_next, False
        frame: bytearray | None = super().read_frame(round(1000 * self._patience_s()) if ack else timeout)
        if ack and self._gave_up:
            self._gave_up = False
            if frame is not None and frame.startswith(self.SOF) and not frame.startswith(self.ACK):
                # The answer to the command that was given up was on its way by then.
                frame = super().read_frame(round(1000 * self._patience_s()))
        return frame

    def command(self, cmd_code: int, cmd_data: bytes, timeout: float) -> bytearray | None:
        if cmd_code != _THRU:  # there the end of the time says something of the card, elsewhere it is a fault
            timeout = max(timeout, self._patience_s())
        answer: bytearray | None = super().command(cmd_code, cmd_data, timeout)
        return answer

    def _patience_s(self) -> float:
        return min(_PATIENCE_S, max(self._left_s(), _AT_ONCE_S)) if self.patient else _AT_ONCE_S

    def in_communicate_thru(self, data: bytes, timeout: float) -> bytearray:
        # When this time is over, the library aborts the command by an ACK (UM0701-02, 6.2.1.3).
        left_s = max(self._left_s(), _LEAST_S)
        received: bytearray = super().in_communicate_thru(data, min(timeout, left_s))
        return received

    def in_list_passive_target(self, max_tg: int, brty: int, initiator_data: bytes) -> bytearray | None:
        # A phone in Observe Mode answers REQA in the same field as the frame that it knows, or in one of the next.
        if self._annotation and brty == _TYPE_A:
            annotate(self, self._annotation)
        found: bytearray | None = super().in_list_passive_target(max_tg, brty, initiator_data)
        return found


class _Frontend(nfc.clf.ContactlessFrontend):  # type: ignore[misc] # nfcpy has no types
    """Frontend with a deadline, which also does what nfcpy's ISO-DEP cannot: any legal ATS, S(WTX) in any place."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.deadline = math.inf
        self.spent = False
        self.wtx = 0
        self.ats = b""
        self.pause: Callable[[float], None] = time.sleep
        """Lets a card have the guard time that its ATS asks for."""
        self._fwt_s = iso_dep.Ats().waiting_s

    def begin(self) -> None:
        """Forget the card before: nothing is known of the next one but the standard's defaults."""
        self.deadline = math.inf
        self.wtx = 0
        self.ats = b""
        self._fwt_s = iso_dep.Ats().waiting_s

    def exchange(self, send_data: bytes, timeout: float) -> bytearray:
        received = self._within_budget(send_data, timeout)
        if iso_dep.is_rats(send_data):
            return self._answer_to_select(received)
        while (multiplier := iso_dep.wtx_multiplier(bytes(received))) is not None:
            self.wtx += 1
            received = self._within_budget(iso_dep.wtx_answer(multiplier), multiplier * self._fwt_s)
        return received

    def left_s(self) -> float:
        """Seconds left of the budget; negative once it is over, without end outside of an exchange."""
        return self.deadline - self._clock.monotonic()

    def _within_budget(self, frame: bytes, timeout: float) -> bytearray:
        if self.left_s() < _LEAST_S:
            self.spent = True
            raise nfc.clf.ProtocolError("the budget is spent")
        received = super().exchange(frame, timeout)
        if not received:
            raise nfc.clf.TransmissionError("no target, or an empty frame")
        return bytearray(received)

    def _answer_to_select(self, frame: bytearray) -> bytearray:
        self.ats = bytes(frame)
        ats = iso_dep.parse_ats(bytes(frame))
        self._fwt_s = ats.waiting_s
        if ats.guard_s:
            self.pause(min(ats.guard_s, max(self.left_s(), 0.0)))
        return bytearray(ats.canonical())


class _Pn532:
    """Everything that blocks; lives on the owner thread."""

    def __init__(self, port: str, baud: int, clock: Clock, annotation: bytes = b"") -> None:
        self._port = port
        self._find_port = ports.resolve
        self._device = port
        """Where the port was when it was last opened."""
        self._baud = baud
        self.wakes_at: tuple[int, ...] = tuple(dict.fromkeys((CHIP_BAUD, baud)))
        """Speeds at which the chip may have been left."""
        self.woken_at = 0
        """The one of them at which it was."""
        self.wake_for_s: float | None = None
        """Seconds after which no further round of them begins; None for a reader's usual patience."""
        self._clock = clock
        self._annotation = annotation
        self._check = SelfCheck(clock, port)
        self._line: _Line | None = None
        self._frontend = _Frontend(clock)
        self._tag: Any = None
        self._held: Any = None  # what the last look found
        self._first: Any = None  # what the session began with
        self._garbled = 0

    def open(self) -> ReaderInfo:
        """Find the chip and set it up; raises ReaderError."""
        line = self._open_line()
        with self._garbled_is_a_fault():
            chip = self._bring_up(line)
        return ReaderInfo(driver="pn532", device=self._device, chip=chip)

    def look(self) -> str:
        """Say what the chip is and put it to sleep, at the speed at which it was; raises ReaderError."""
        line = self._open_line()
        with self._garbled_is_a_fault():
            chipset = _Chipset(line, self._frontend.left_s, b"")
            chip = self._meet(chipset, line)
            chipset.power_down(wakeup_enable=_WAKE_SOURCES)
        return chip

    def _open_line(self) -> _Line:
        self._device = self._find_port(self._port)
        try:
            self._line = _Line(self._device)
        except (OSError, termios.error) as error:
            raise open_error(error, self._device) from error
        return self._line

    def soft_reset(self) -> None:
        """Wake the chip and set it up as ``open`` does, on the open line, and see that it took; raises ReaderError."""
        if self._line is None or self._line.tty is None:
            raise no_answer(self._device)
        with self._garbled_is_a_fault():
            self._bring_up(self._line)
            self._check.look(self._frontend.device.chipset)

    def _bring_up(self, line: _Line) -> str:
        frontend = _Frontend(self._clock)
        chipset = _Chipset(line, frontend.left_s, self._annotation)
        chip = self._meet(chipset, line)
        if line.baudrate != self._baud:
            chipset.set_serial_baudrate(self._baud)
            line.baudrate = self._baud
        frontend.device = pn532.Device(chipset, logger=_nfcpy_log)
        self._check.begin(chipset)
        self._frontend = frontend
        self._tag = self._held = None
        self._garbled = 0
        return chip

    def _meet(self, chipset: _Chipset, line: _Line) -> str:
        """Wake the chip, at the speed at which it is, and return what it is."""
        patience_s = _WAKE_FOR_S if self.wake_for_s is None else self.wake_for_s
        wake(chipset, line, self.wakes_at, self._device, patience_s=patience_s, noise=_ODD)
        self.woken_at = int(line.baudrate)
        chipset.patient = True
        ic, version, revision, _support = chipset.get_firmware_version()
        if ic != PN532_IC:
            raise no_answer(self._device)
        return f"PN532 v{version}.{revision}"

    def poll(self) -> Found | None:
        """One look for Type A targets, about 30 ms; raises ReaderError."""
        self._first = self._look()
        if self._first is None:
            with self._garbled_is_a_fault():
                self._check.look_if_due(self._frontend.device.chipset)
            return None
        target = Target(_kind(self._first), RawUid(_uid(self._first)), _sak(self._first), _atqa(self._first))
        return Found(target, self._clock.monotonic())

    def _look(self) -> Any:
        self._tag = self._held = None
        self._frontend.begin()
        with self._line_faults():
            try:
                self._held = self._frontend.sense(nfc.clf.RemoteTarget("106A"), iterations=1)
            except _ODD as error:
                self._garbled += 1
                if self._garbled >= _GARBLED_LIMIT:
                    raise garbled(self._device, error) from error
                return None
        self._garbled = 0
        return self._held

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
        """One APDU, activating the card before the first; raises SessionLost, ReaderError."""
        frontend = self._frontend
        frontend.deadline, frontend.spent = deadline, False
        with self._line_faults():
            try:
                if self._tag is None:
                    self._tag = self._activate()
                started = self._clock.monotonic()
                response = self._tag.transceive(apdu)
            except _BAD_CARD as error:
                self._tag = None
                raise self._lost(error) from error
            except OSError as error:
                if not self._out_of_time(error):
                    raise
                self._tag, frontend.spent = None, True
                raise self._lost(error) from error
        return Exchanged(bytes(response), self._clock.monotonic() - started, frontend.wtx)

    def _activate(self) -> Any:
        if self._held is None or _kind(self._held) is not TargetKind.ISO_DEP:
            raise nfc.clf.BrokenLinkError("nothing that takes APDUs")
        tag = nfc.tag.activate(self._frontend, self._held)
        if tag is None:
            raise nfc.clf.BrokenLinkError("no answer to RATS")
        return tag

    def _out_of_time(self, error: OSError) -> bool:
        """Whether a chip that did not answer may only have been late: the next look tells."""
        # The wait was of whole milliseconds: a part of one may be left.
        return self._frontend.left_s() < _LEAST_S and line_error(error, self._device).fault is not ReaderFault.UNPLUGGED

    def _lost(self, error: Exception) -> SessionLost:
        wtx = self._frontend.wtx
        if self._frontend.spent or self._clock.monotonic() >= self._frontend.deadline:
            return SessionLost(LostReason.TIMEOUT, f"cut off after {wtx} waiting-time extensions")
        vanished = isinstance(error, nfc.clf.TimeoutError | nfc.clf.BrokenLinkError) or (
            isinstance(error, nfc.tag.TagCommandError) and error.errno == nfc.tag.TIMEOUT_ERROR
        )
        reason = LostReason.VANISHED if vanished else LostReason.PROTOCOL
        return SessionLost(reason, f"{reason} ({type(error).__name__})")

    def present(self) -> bool:
        """Whether the same phone or card is still there; raises ReaderError.

        By R(NAK) while its link is alive, else by another look: a card by its UID, a phone by being there at all, since
        its UID is a new one each time.
        """
        if self._tag is not None:
            self._frontend.deadline = self._clock.monotonic() + _PRESENCE_BUDGET_S
            with self._line_faults(), contextlib.suppress(*_BAD_CARD):
                try:
                    if self._tag.is_present:
                        return True
                except OSError as error:
                    if not self._out_of_time(error):
                        raise
        first, now_there = self._first, self._look()
        if first is None or now_there is None or _kind(now_there) is not _kind(first):
            return False
        return _kind(first) is TargetKind.ISO_DEP or _uid(now_there) == _uid(first)

    @property
    def ats(self) -> bytes:
        """What the phone of the moment answered to RATS; b"" before."""
        return self._frontend.ats

    def abort(self) -> None:
        """Let no further frame out; may be called from any thread."""
        self._frontend.deadline = 0.0

    def close(self) -> None:
        """Put the chip to sleep as far as it listens, release the line. Idempotent."""
        device, self._frontend.device = self._frontend.device, None
        line, self._line = self._line, None
        self._tag = self._held = None
        if device is not None:
            with contextlib.suppress(OSError, termios.error, *_ODD):
                device.close()
        if line is not None:
            line.close()

    @contextlib.contextmanager
    def _garbled_is_a_fault(self) -> Iterator[None]:
        with self._line_faults():
            try:
                yield
            except _ODD as error:
                raise garbled(self._device, error) from error

    @contextlib.contextmanager
    def _line_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error) as error:
            raise line_error(error, self._device) from error


class NfcpyReader(ThreadedReader):
    """A PN532 behind the Reader port.

    ``device`` is any path of a serial line (udev link, tty, pty), or a USB device (``port_names``). A ``baud`` other
    than 115200 is agreed with the chip once it was found at 115200. Raises ConfigError on a path or speed that cannot
    be used.

    ``annotation`` goes on the air before each poll, for phones in Observe Mode whose app waits for just these bytes.
    They are given as the app's polling loop filter has them, without CRC; the chip adds CRC_A, as Android's own reader
    does with its annotations.
    """

    def __init__(
        self,
        name: str,
        device: str,
        *,
        clock: Clock,
        baud: int = CHIP_BAUD,
        annotation: bytes = b"",
        poll_interval_s: float = POLL_INTERVAL_S,
        gone_after_s: float = GONE_AFTER_S,
        reset_usb: ResetUsb | None = None,
    ) -> None:
        try:
            check_port(device)
        except ValueError as error:
            raise ConfigError([f"readers: device {device!r}: {error}"]) from None
        if baud not in BAUDS:
            raise ConfigError([f"readers: baud {baud} is none of {', '.join(map(str, BAUDS))}"])
        # nfcpy logs frames, and with them UIDs; and as errors what is normal here.
        _nfcpy_log.setLevel(logging.CRITICAL + 1)
        super().__init__(
            name,
            _Pn532(device, baud, clock, annotation),
            clock=clock,
            poll_interval_s=poll_interval_s,
            gone_after_s=gone_after_s,
            reset_usb=reset_usb or UsbReset(device),
        )


def look_for_chip(device: str, *, clock: Clock, keep_speed: bool = False) -> tuple[str, int]:
    """Ask once at each speed for a PN532 and put it back to sleep, at 115200 from now on or, ``keep_speed``, as it was.

    Returns what it is, and the speed at which it was. Takes about a second where nothing answers. Blocks; raises
    ReaderError.
    """
    _nfcpy_log.setLevel(logging.CRITICAL + 1)
    driver = _Pn532(device, CHIP_BAUD, clock)
    driver.wakes_at, driver.wake_for_s = (CHIP_BAUD, *(baud for baud in BAUDS if baud != CHIP_BAUD), CHIP_BAUD), 0.0
    try:
        chip = driver.look() if keep_speed else driver.open().chip
        return chip, driver.woken_at
    finally:
        driver.close()


def _kind(target: Any) -> TargetKind:
    return TargetKind.ISO_DEP if _sak(target) & _SAK_ISO_DEP else TargetKind.PLAIN


def _sak(target: Any) -> int:
    return target.sel_res[0] if target.sel_res else 0


def _atqa(target: Any) -> int | None:
    return int.from_bytes(target.sens_res, "little") if target.sens_res else None


def _uid(target: Any) -> bytes:
    # A Type 1 tag has no anticollision; its identity is in the answer to RID, behind HR0 and HR1.
    return bytes(target.sdd_res or (target.rid_res or b"")[2:])
