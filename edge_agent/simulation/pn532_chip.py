"""A PN532 without its line: command bytes in, response bytes and a delay out (NXP UM0701-02, chapter 7).

Pure: it has no clock, no thread and no I/O; time is the ``delay_s`` of a reply, to be waited by whoever owns the line.
Modelled is what an initiator for ISO/IEC 14443 Type A needs; Type B and F are never found. Target mode and the
firmware's own ISO-DEP (InDataExchange) are absent: like an unknown command they are answered by an error frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from edge_agent.simulation.antenna import Antenna
from edge_agent.simulation.picc import SAK_ISO_DEP, Answer, Picc

FIRMWARE = bytes.fromhex("32010607")
"""IC PN532, firmware 1.6, supports ISO/IEC 14443 A, B and ISO 18092 (7.2.2)."""

BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1288000)
DEFAULT_BAUD = 115200

_RATS = b"\xe0\x50"  # FSDI 5: the firmware's own RATS offers 64 bytes
_AUTOMATIC_RATS = 0x10  # SetParameters, bit 4
_POWER_UP_PARAMETERS = 0x14  # 7.2.9: fAutomaticATR_RES and fAutomaticRATS are set after reset
_WAKE_BY_HSU = 0x10  # PowerDown, WakeUpEnable bit 4
_RETRY_FOR_EVER = 0xFF

_TX_MODE, _RX_MODE, _TX_CONTROL = 0x6302, 0x6303, 0x6304
_FIFO_DATA, _FIFO_LEVEL = 0x6339, 0x633A
_BIT_FRAMING = 0x633D
_TX_LAST_BITS = 0x07
_FIFO_BYTES = 64
_CRC_ENABLED = 0x80
_SPEED = 0x70
_RF_ON = 0x03


class Status(IntEnum):
    """Status byte of the RF commands (7.1, table 15)."""

    OK = 0x00
    TIMEOUT = 0x01
    CRC = 0x02
    TOO_HOT = 0x0D
    CONTEXT = 0x27


@dataclass(frozen=True, slots=True)
class ChipTiming:
    """How long the chip and the air take, in seconds; all zero is the default: as fast as the machine."""

    command_s: float = 0.0
    """Firmware time for any command."""
    poll_s: float = 0.0
    """REQA and its wait, or REQA to SELECT, in InListPassiveTarget."""
    air_byte_s: float = 0.0
    """One byte with parity on the air."""


INSTANT = ChipTiming()
REALISTIC = ChipTiming(command_s=0.0005, poll_s=0.005, air_byte_s=9 * 128 / 13.56e6)
"""Order of magnitude of a PN532 at 106 kbit/s: 9 bits of 128 carrier periods a byte."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the chip does after it acknowledged a command.

    ``payload`` starts with the response code; None: it answers nothing until the host aborts. ``if_lost`` replaces this
    reply when the card is taken away before ``delay_s`` is over.
    """

    payload: bytes | None
    delay_s: float = 0.0
    if_lost: "Reply | None" = None


class SyntaxFault(Exception):
    """The command is not known or its parameters are impossible: the chip answers the error frame (6.2.1.5)."""


class Pn532Chip:
    """State of one chip: parameters, registers, field, and the target that it selected."""

    def __init__(self, timing: ChipTiming = INSTANT) -> None:
        self.timing = timing
        self.antenna = Antenna()
        self._commands: dict[int, Callable[[bytes], Reply]] = {
            0x00: self._diagnose,
            0x02: self._get_firmware_version,
            0x04: self._get_general_status,
            0x06: self._read_register,
            0x08: self._write_register,
            0x10: self._set_serial_baudrate,
            0x12: self._set_parameters,
            0x14: self._sam_configuration,
            0x16: self._power_down,
            0x32: self._rf_configuration,
            0x42: self._in_communicate_thru,
            0x4A: self._in_list_passive_target,
            0x52: self._in_release,
        }
        self._registers: dict[int, int] = {}
        self.power_up()

    def power_up(self) -> None:
        """Reset to the state after power-up; the chip sleeps until its line wakes it."""
        self.asleep = True
        self.baud = DEFAULT_BAUD
        self.next_baud: int | None = None
        """Agreed by SetSerialBaudrate, in force once the host acknowledged the response."""
        self._wakeable = True
        self._edges = 0
        self._parameters = _POWER_UP_PARAMETERS
        self._answer_timeout = 0x0A
        self._poll_retries = _RETRY_FOR_EVER
        self._last_error = Status.OK
        self._registers.clear()
        self._fifo = bytearray()
        self._endless_poll: bytes | None = None
        self._detuned = False
        self.antenna.switch(on=False)

    def brown_out(self) -> None:
        """Lose all settings, as after a dip of the supply that was too short for the line to notice: it stays awake."""
        baud = self.baud
        self.power_up()
        self.asleep, self.baud = False, baud

    def upset(self) -> None:
        """Lose the registers of the UART alone, as by a discharge: polls go on, and find nothing until it is set up."""
        self._registers.clear()
        self._detuned = True

    # -- the line -----------------------------------------------------------------------------------------------------

    def wake(self, data: bytes) -> bytes:
        """Return the bytes that an awake chip sees: all of them, or what follows the wake-up.

        A sleeping chip wakes at the fifth rising edge on its receive line (UM0701-02, 7.2.11, HSU); bytes before it
        are lost.
        """
        for index, byte in enumerate(data):
            if not self.asleep:
                return data[index:]
            self._edges += _rising_edges(byte)
            if self._wakeable and self._edges >= 5:
                self.asleep = False
        return b"" if self.asleep else data[len(data) :]

    def execute(self, data: bytes) -> Reply:
        """Run one command: code and parameters without TFI. Raises SyntaxFault."""
        self._endless_poll = None
        command = self._commands.get(data[0])
        if command is None:
            raise SyntaxFault(f"command {data[0]:02x}")
        return command(data[1:])

    def acknowledged(self) -> None:
        """The host acknowledged: an agreed baud rate comes into force, a running command is given up (6.2.1.3)."""
        self._endless_poll = None
        if self.next_baud is not None:
            self.baud, self.next_baud = self.next_baud, None

    # -- the antenna --------------------------------------------------------------------------------------------------

    def place(self, card: Picc) -> Reply | None:
        """Put a card on the antenna; returns the reply of a poll that was waiting for one."""
        self.antenna.cards.append(card)
        if self._endless_poll is None:
            return None
        reply = self._in_list_passive_target(self._endless_poll)
        return reply if reply.payload is not None else None

    # -- miscellaneous commands (7.2) ---------------------------------------------------------------------------------

    def _done(self, payload: bytes, *, extra_s: float = 0.0) -> Reply:
        return Reply(payload, self.timing.command_s + extra_s)

    def _diagnose(self, data: bytes) -> Reply:
        match data[:1]:
            case b"\x00":  # communication line test: everything comes back
                return self._done(b"\x01" + data)
            case b"\x01" | b"\x02":  # ROM and RAM test
                return self._done(b"\x01\x00")
        raise SyntaxFault("Diagnose")

    def _get_firmware_version(self, _data: bytes) -> Reply:
        return self._done(b"\x03" + FIRMWARE)

    def _get_general_status(self, _data: bytes) -> Reply:
        # Err, external field, NbTg, [Tg, BrRx, BrTx, Type], SAM status
        targets = b"\x01\x01\x00\x00\x00" if self.antenna.target else b"\x00"
        error = Status.TOO_HOT if self.antenna.broken else self._last_error
        return self._done(bytes([0x05, error, 0x00]) + targets + b"\x00")

    def _read_register(self, data: bytes) -> Reply:
        if not data or len(data) % 2:
            raise SyntaxFault("ReadRegister")
        addresses = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        return self._done(b"\x07" + bytes(map(self._register, addresses)))

    def _register(self, address: int) -> int:
        if address == _FIFO_DATA:
            return self._fifo.pop(0) if self._fifo else 0
        if address == _FIFO_LEVEL:
            return len(self._fifo)
        if address == _TX_CONTROL:
            return self._registers.get(address, 0x80) & ~_RF_ON | (_RF_ON if self.antenna.powered else 0)
        return self._registers.get(address, 0)

    def _write_register(self, data: bytes) -> Reply:
        if not data or len(data) % 3:
            raise SyntaxFault("WriteRegister")
        for i in range(0, len(data), 3):
            address, value = int.from_bytes(data[i : i + 2], "big"), data[i + 2]
            if address == _FIFO_DATA:
                self._fifo = (self._fifo + bytes([value]))[:_FIFO_BYTES]
            elif address == _FIFO_LEVEL:
                if value & 0x80:  # FlushBuffer
                    self._fifo.clear()
            else:
                self._registers[address] = value
        return self._done(b"\x09")

    def _set_serial_baudrate(self, data: bytes) -> Reply:
        if len(data) != 1 or data[0] >= len(BAUD_RATES):
            raise SyntaxFault("SetSerialBaudrate")
        self.next_baud = BAUD_RATES[data[0]]
        return self._done(b"\x11")

    def _set_parameters(self, data: bytes) -> Reply:
        if len(data) != 1:
            raise SyntaxFault("SetParameters")
        self._parameters = data[0]
        return self._done(b"\x13")

    def _sam_configuration(self, data: bytes) -> Reply:
        if not 1 <= len(data) <= 3 or not 1 <= data[0] <= 4:
            raise SyntaxFault("SAMConfiguration")
        return self._done(b"\x15")

    def _power_down(self, data: bytes) -> Reply:
        if not 1 <= len(data) <= 2:
            raise SyntaxFault("PowerDown")
        self.antenna.switch(on=False)
        self.asleep, self._edges = True, 0
        self._wakeable = bool(data[0] & _WAKE_BY_HSU)
        return self._done(b"\x17\x00")

    # -- RF commands (7.3) --------------------------------------------------------------------------------------------

    def _rf_configuration(self, data: bytes) -> Reply:
        match data[:1], len(data):
            case b"\x01", 2:  # RF field: bit 1 automatic RFCA, bit 0 on
                self.antenna.switch(on=bool(data[1] & 0x01))
            case b"\x02", 4:  # various timings: RFU, ATR_RES, answer time-out of InCommunicateThru
                if data[3] > 0x10:
                    raise SyntaxFault("RFConfiguration")
                self._answer_timeout = data[3]
            case b"\x0a", 12:  # analog settings for Type A
                self._detuned = False
            case b"\x05", 4:  # retries: ATR, PSL, passive activation
                self._poll_retries = data[3]
            case (b"\x04", 2) | (b"\x0b", 9) | (b"\x0c", 4) | (b"\x0d", 10):
                pass  # retries of InCommunicateThru and analog settings: nothing to model
            case _:
                raise SyntaxFault("RFConfiguration")
        return self._done(b"\x33")

    def _in_release(self, data: bytes) -> Reply:
        if len(data) != 1:
            raise SyntaxFault("InRelease")
        known = data[0] in (0, 1) and self.antenna.target is not None
        self.antenna.target = None
        return self._done(bytes([0x53, Status.OK if known else Status.CONTEXT]))

    def _in_list_passive_target(self, data: bytes) -> Reply:
        if len(data) < 2 or not 1 <= data[0] <= 2 or data[1] > 4:
            raise SyntaxFault("InListPassiveTarget")
        self.antenna.switch(on=True)
        if data[1] != 0:  # only Type A at 106 kbit/s lives in this field
            return self._done(b"\x4b\x00", extra_s=self.timing.poll_s)
        poll = self.antenna.poll(_without_cascade_tags(data[2:]), hears=not self._detuned)
        self._fifo = bytearray(poll.left_in_fifo)
        # Set for SELECT, or left as REQA needed it: seven bits, no CRC.
        self._registers[_TX_MODE] = self._registers[_RX_MODE] = 0 if poll.found is None else _CRC_ENABLED
        self._registers[_BIT_FRAMING] = _TX_LAST_BITS if poll.found is None else 0
        if poll.found is None:
            if self._poll_retries == _RETRY_FOR_EVER:
                self._endless_poll = data
                return Reply(None)
            return self._done(b"\x4b\x00", extra_s=self.timing.poll_s * (1 + self._poll_retries))
        found = poll.found
        target = b"\x01" + found.atqa[::-1] + bytes([found.sak, len(found.uid)]) + found.uid
        if found.sak & SAK_ISO_DEP and self._parameters & _AUTOMATIC_RATS:
            ats = self.antenna.exchange(_RATS)
            target += ats.frame if ats else b""
        none = self._done(b"\x4b\x00", extra_s=self.timing.poll_s)
        return Reply(b"\x4b\x01" + target, none.delay_s, if_lost=none)

    def _in_communicate_thru(self, data: bytes) -> Reply:
        if not data:
            raise SyntaxFault("InCommunicateThru")
        # RFConfiguration item 2: T = 100 us * 2^(n-1), n = 0 waits for ever
        n = self._answer_timeout
        limit = 100e-6 * 2 ** (n - 1) if n else None
        sent_s = self.timing.command_s + self.timing.air_byte_s * (len(data) + 2)
        silence = Reply(None) if limit is None else Reply(self._thru(Status.TIMEOUT), sent_s + limit)
        answer = self._exchange(data)
        if answer is None or (limit is not None and answer.delay_s > limit):
            self._last_error = Status.TIMEOUT
            return silence
        payload = self._thru_answer(answer)
        return Reply(payload, sent_s + answer.delay_s + self.timing.air_byte_s * (len(answer.frame) + 2), silence)

    def _exchange(self, data: bytes) -> Answer | None:
        modes = self._registers.get(_TX_MODE, 0), self._registers.get(_RX_MODE, 0)
        if modes[0] & _SPEED or modes[1] & _SPEED or self._registers.get(_BIT_FRAMING, 0) & _TX_LAST_BITS:
            return None  # a bit rate that was never agreed with the card, or half a byte
        if not modes[0] & _CRC_ENABLED:
            if len(data) < 3 or crc_a(data[:-2]) != data[-2:]:
                return None  # a card stays mute on a wrong CRC
            data = data[:-2]
        return self.antenna.exchange(data)

    def _thru_answer(self, answer: Answer) -> bytes:
        if not self._registers.get(_RX_MODE, 0) & _CRC_ENABLED:
            if answer.bits != 8:
                return self._thru(Status.OK) + answer.frame
            return self._thru(Status.OK) + answer.frame + crc_a(answer.frame if answer.intact else answer.frame + b"?")
        if answer.bits != 8 or not answer.intact:
            return self._thru(Status.CRC)
        return self._thru(Status.OK) + answer.frame

    def _thru(self, status: Status) -> bytes:
        self._last_error = status
        return bytes([0x43, status])


def crc_a(data: bytes) -> bytes:
    """CRC_A of ISO/IEC 14443-3, 6.2.4, in the order on the air."""
    crc = 0x6363
    for byte in data:
        octet = (byte ^ crc) & 0xFF
        octet ^= (octet << 4) & 0xFF
        crc = (crc >> 8) ^ (octet << 8) ^ (octet << 3) ^ (octet >> 4)
    return crc.to_bytes(2, "little")


def _without_cascade_tags(uid: bytes) -> bytes:
    """Initiator data of InListPassiveTarget is a UID with its cascade tags (88); raises SyntaxFault otherwise."""
    match len(uid):
        case 0 | 4:
            return uid
        case 8 if uid[0] == 0x88:
            return uid[1:]
        case 12 if uid[0] == uid[4] == 0x88:
            return uid[1:4] + uid[5:]
    raise SyntaxFault("InListPassiveTarget: UID")


def _rising_edges(byte: int) -> int:
    """Rising edges of one character, 8N1: start bit 0, data bits from b0, stop bit 1."""
    bits = "0" + f"{byte:08b}"[::-1] + "1"
    return bits.count("01")
