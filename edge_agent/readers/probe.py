"""Finds readers on serial ports, and in pcscd: asks each port, then listens on it. Blocks; nothing here is the agent's.

A port that another process has is left as it is. A number that a reader tells is counted and never kept or shown.
"""

import concurrent.futures
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.acs_driver import AcsDriver
from edge_agent.readers.nfcpy_reader import CHIP_BAUD, look_for_chip
from edge_agent.readers.pcsc_status import choose_reader
from edge_agent.readers.probe_plan import CCID_BAUDS, Candidate, HoldAgain, Listening, Speed, Verdict
from edge_agent.readers.profiles.acs_ccid import AcsCcidParser, Answer, Command, Message, encode
from edge_agent.readers.profiles.base import ProfileSettings
from edge_agent.readers.serial_line import SerialLine

ASK_WITHIN_S = 3
"""What asking takes at most where nothing answers: a second for a PN532 at nine speeds, the rest for CCID at five."""
_ANSWER_WITHIN_S = 0.3  # a reader answers in milliseconds; a USB converter may hold that back
_READ_S = 0.05
_WHAT = "reader"
_ACS = ProfileSettings("acs_ccid")
_NUMBERS = re.compile(r" [0-9A-F]{2} [0-9A-F]{2}\Z")
_LONGEST_PART = 128
_LEFT_ALONE = {ReaderFault.TAKEN: "taken", ReaderFault.NO_PERMISSION: "forbidden"}


class PortState(StrEnum):
    """What became of one port."""

    FOUND = "found"
    SILENT = "silent"
    NOT_UNDERSTOOD = "not_understood"
    """It says something, in none of the profiles."""
    TAKEN = "taken"
    FORBIDDEN = "forbidden"
    FAILED = "failed"


class Hint(StrEnum):
    """What the person is asked for while a port is listened on."""

    HOLD_AGAIN = "hold_again"


@dataclass(frozen=True, slots=True)
class FoundReader:
    """A reader on a serial port; ``about`` is what it says of itself, ``also`` are profiles that fit as well."""

    driver: str
    about: str
    baud: int
    settings: ProfileSettings | None = None
    also: tuple[Candidate, ...] = ()
    was_at: int = 0
    """Speed at which a PN532 was found, ``baud`` is what it is to be set to; 0 for other readers."""

    @property
    def sees_phones(self) -> bool:
        """Whether it speaks APDUs to a phone, or only tells numbers of cards."""
        return self.settings is None or self.settings.profile == _ACS.profile


@dataclass(frozen=True, slots=True)
class PortReport:
    """One port; ``text`` and ``remedy`` are the error's, where there was one."""

    device: str
    state: PortState
    reader: FoundReader | None = None
    text: str = ""
    remedy: str = ""
    heard: tuple[tuple[int, int], ...] = ()
    """Speeds at which something was heard that made no sense, and how many bytes."""


class Probe:
    """One look at some ports; ``stop`` may be called from any thread and ends it within a second.

    A PN532 that was left at another speed is set back to ``CHIP_BAUD`` unless it is to ``keep_speed``.
    """

    def __init__(self, devices: Sequence[str], *, clock: Clock, keep_speed: bool = False) -> None:
        self._devices = tuple(devices)
        self._clock = clock
        self._keep_speed = keep_speed
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End early; what was found until then is reported."""
        self._stopped.set()

    def ask(self) -> list[PortReport]:
        """Ask all ports at once for what answers by itself; ``ASK_WITHIN_S`` at most."""
        return self._at_once(self._devices, self._ask)

    def listen(
        self, reports: Sequence[PortReport], wait_s: float, hint: Callable[[str, Hint], None]
    ) -> list[PortReport]:
        """Listen on all silent ports at once until one says what is understood, ``wait_s`` at most.

        Returns the reports, those of the silent ports renewed; ``hint`` is called from their threads.
        """
        silent = [report.device for report in reports if report.state is PortState.SILENT]
        until = self._clock.monotonic() + wait_s
        heard = self._at_once(silent, lambda device: self._listen(device, until, hint))
        renewed = {report.device: report for report in heard}
        return [renewed.get(report.device, report) for report in reports]

    def _at_once(self, devices: Sequence[str], job: Callable[[str], PortReport]) -> list[PortReport]:
        if not devices:
            return []
        with concurrent.futures.ThreadPoolExecutor(len(devices), thread_name_prefix="probe") as pool:
            try:
                return list(pool.map(lambda device: _reported(device, job), devices))
            except KeyboardInterrupt:
                self.stop()  # else leaving the pool would wait for all the rest
                raise

    def _ask(self, device: str) -> PortReport:
        # Opened once for itself alone before anything else: nfcpy sets the speed before it could see that it may not.
        line = SerialLine(device, baud=CHIP_BAUD, what=_WHAT)
        line.open()
        line.close()
        try:
            chip, was_at = look_for_chip(device, clock=self._clock, keep_speed=self._keep_speed)
        except ReaderError as error:
            if error.fault not in (ReaderFault.NO_ANSWER, ReaderFault.IO):
                raise
        else:
            return PortReport(device, PortState.FOUND, FoundReader("pn532", chip, CHIP_BAUD, was_at=was_at))
        baud = self._ccid_baud(device)
        if baud is None:
            return PortReport(device, PortState.SILENT)
        driver = AcsDriver(device, baud=baud, clock=self._clock, phone_uids=False)
        try:
            about = driver.open().chip
        finally:
            driver.close()
        return PortReport(device, PortState.FOUND, FoundReader("serial", about, baud, _ACS))

    def _ccid_baud(self, device: str) -> int | None:
        line = SerialLine(device, baud=CCID_BAUDS[0], what=_WHAT)
        line.open()
        try:
            for seq, baud in enumerate(CCID_BAUDS):
                if self._stopped.is_set():
                    return None
                line.change_speed(baud)
                line.write(encode(Command.GET_SLOT_STATUS, seq))
                if self._answers(line, seq):
                    return baud
        finally:
            line.close()
        return None

    def _answers(self, line: SerialLine, seq: int) -> bool:
        parser = AcsCcidParser()
        until = self._clock.monotonic() + _ANSWER_WITHIN_S
        while (left := until - self._clock.monotonic()) > 0:
            for event in parser.feed(line.read(left)):
                if isinstance(event, Message) and event.kind is Answer.SLOT_STATUS and event.seq == seq:
                    return True
        return False

    def _listen(self, device: str, until: float, hint: Callable[[str, Hint], None]) -> PortReport:
        listening = Listening()
        line = SerialLine(device, baud=listening.baud, what=_WHAT)
        line.open()
        try:
            while not self._stopped.is_set() and (now := self._clock.monotonic()) < until:
                data = line.read(min(_READ_S, until - now))
                now = self._clock.monotonic()
                for effect in listening.heard(data, now) if data else listening.quiet(now):
                    match effect:
                        case Verdict():
                            self.stop()  # the others are not waited for
                            return PortReport(device, PortState.FOUND, _told(effect))
                        case Speed(baud):
                            line.change_speed(baud)
                        case HoldAgain():
                            hint(device, Hint.HOLD_AGAIN)
        finally:
            line.close()
        state = PortState.NOT_UNDERSTOOD if listening.heard_at else PortState.SILENT
        return PortReport(device, state, heard=tuple(sorted(listening.heard_at.items())))


def _told(verdict: Verdict) -> FoundReader:
    return FoundReader("serial", str(verdict.candidate), verdict.baud, verdict.candidate.settings, verdict.also)


def _reported(device: str, job: Callable[[str], PortReport]) -> PortReport:
    try:
        return job(device)
    except ReaderError as error:
        state = PortState(_LEFT_ALONE.get(error.fault, "failed"))
        return PortReport(device, state, text=error.text, remedy=error.remedy)


def pcsc_readers(within_s: float = ASK_WITHIN_S) -> tuple[str, ...]:
    """Return the readers that pcscd knows and that a phone can be held to; raises ReaderError.

    Empty where this machine has no PC/SC library: it has no such readers either.
    """
    try:
        from edge_agent.readers.pcsc_reader import list_contactless  # noqa: PLC0415 - a terminal may lack pyscard
    except ImportError:
        return ()
    # Its library waits for a pcscd that hangs, and cannot be told not to.
    answer: concurrent.futures.Future[tuple[str, ...]] = concurrent.futures.Future()

    def look() -> None:
        try:
            answer.set_result(list_contactless())
        except ReaderError as error:
            answer.set_exception(error)

    threading.Thread(target=look, name="probe-pcsc", daemon=True).start()
    try:
        return answer.result(within_s)
    except TimeoutError:
        raise ReaderError(ReaderFault.HANGS, "pcscd does not answer", remedy="see `journalctl -u pcscd`") from None


def pcsc_part(name: str, names: Sequence[str]) -> str | None:
    """Return the part of a reader's name for the configuration that leads to it alone; None where none can be written.

    The number that pcscd puts at the end is left out where that is possible: it counts what was plugged in before.
    """
    for part in (_NUMBERS.sub("", name), name):
        if not (0 < len(part) <= _LONGEST_PART and part.isascii() and part.isprintable()):
            continue
        try:
            if choose_reader(names, part) == name:
                return part
        except ReaderError:
            continue
    return None
