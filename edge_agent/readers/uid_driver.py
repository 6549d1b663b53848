"""Listens to a reader that only says numbers; blocks, and so lives on a ThreadedReader's thread.

Idle, it waits for a byte and costs nothing. Damaged bytes are counted and told, never shown: they are mostly a number.
"""

import math

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.readers import ports
from edge_agent.readers.base import RawUid, ReaderInfo, Target, TargetKind
from edge_agent.readers.noise import TELL_EVERY_S, NoiseWatch, Verdict
from edge_agent.readers.profiles.base import Event, Fault, Parser, Reading
from edge_agent.readers.serial_line import SerialLine
from edge_agent.readers.stays import Stays
from edge_agent.readers.threaded_reader import Exchanged, Found

log = structlog.get_logger(__name__)

LISTEN_S = 1.0
"""How long one poll waits for a byte."""
SILENCE_S = 0.25
"""A frame is over when nothing came for so long: a character takes 1 ms at 9600, USB converters hold 16 ms back."""
_SETTLE_S = 0.03
_READS_AT_ONCE = 16


class UidDriver:
    """A BlockingDriver over a parser of numbers."""

    def __init__(self, port: str, *, baud: int, profile: str, parser: Parser, stays: Stays, clock: Clock) -> None:
        self._port = port
        self._baud = baud
        self._profile = profile
        self._parser = parser
        self._stays = stays
        self._clock = clock
        self._noise = NoiseWatch()
        self._line: SerialLine | None = None
        self._current: RawUid | None = None
        self._half_since: float | None = None
        self._crowd_told_at = -math.inf
        self._aborted = False

    def open(self) -> ReaderInfo:
        """Open the port; a reader that is silent or not there at all looks the same. Raises ReaderError."""
        device = ports.resolve(self._port)
        self._line = SerialLine(device, baud=self._baud, what=f"{self._profile} reader")
        self._line.open()
        self._aborted = False
        self._current = None
        self._noise.opened(self._clock.monotonic())
        # Whatever comes at once was under way before: its first half is lost, and half a number reads like another one.
        self._parser.resync()
        self._half_since = None
        self._take(self._line.read(_SETTLE_S))
        if self._half_since is None:
            self._parser.idle()
        return ReaderInfo(driver="serial", device=device, chip=f"{self._profile} at {self._baud} baud, listening")

    def poll(self) -> Found | None:
        """Wait up to a second for a number that is new; raises ReaderError."""
        if self._current is not None:  # its session ended, but it never left
            self._stays.forget(self._current)
            self._current = None
        until = self._clock.monotonic() + LISTEN_S
        while not self._stays.waiting and not self._aborted:
            if (left := until - self._clock.monotonic()) <= 0:
                break
            self._listen(left)
        self._current = self._stays.next()
        if self._current is None:
            return None
        return Found(Target(TargetKind.PLAIN, self._current, sak=0), self._clock.monotonic())

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:  # noqa: ARG002 - the port has them
        """Such a reader takes no APDUs: raises SessionLost."""
        raise SessionLost(LostReason.PROTOCOL, f"an {self._profile} reader takes no APDUs")

    def present(self) -> bool:
        """Whether the card of the last poll was heard lately, and no other one waits; raises ReaderError."""
        for _ in range(_READS_AT_ONCE):
            if not self._listen(0.0):
                break
        if self._current is not None and not self._stays.there(self._current, self._clock.monotonic()):
            self._current = None
        return self._current is not None

    def abort(self) -> None:
        """End a poll that waits; may be called from any thread."""
        self._aborted = True
        if (line := self._line) is not None:
            line.wake()

    def close(self) -> None:
        """Release the line. Idempotent."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _listen(self, wait_s: float) -> bool:
        """Read once; tells whether anything came."""
        if self._line is None:
            raise ReaderError(ReaderFault.IO, "the reader is closed")
        data = self._line.read(wait_s if self._half_since is None else min(wait_s, SILENCE_S))
        self._take(data)
        return bool(data)

    def _take(self, data: bytes) -> None:
        now = self._clock.monotonic()
        events: list[Event] = []
        if data:
            events = self._parser.feed(data)
            self._half_since = now
        elif self._half_since is not None and now - self._half_since >= SILENCE_S:
            events = self._parser.idle()
            self._half_since = None
        if events:
            self._judge(events, now)

    def _judge(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, Reading):
                if event.proof:
                    self._noise.read()
                # Whoever holds an emulator to the reader says as many as the line carries, for as long as it pleases.
                if not self._stays.hear(event.uid, now) and now - self._crowd_told_at >= TELL_EVERY_S:
                    self._crowd_told_at = now
                    log.warning("serial_reader_crowded", port=self._port)
        verdict = self._noise.faults([event.kind for event in events if isinstance(event, Fault)], now)
        if verdict is Verdict.TELL:
            counts = {kind.value: count for kind, count in self._noise.counts.items()}
            log.warning("serial_reader_noise", port=self._port, profile=self._profile, counts=counts)
        elif verdict is Verdict.GIVE_UP:
            raise ReaderError(
                # Only of a reader that was understood once it can be the hardware, which a reset may heal.
                ReaderFault.IO if self._noise.works else ReaderFault.NOT_UNDERSTOOD,
                f"nothing but damaged bytes at {self._port} for the profile {self._profile} at {self._baud} baud",
                remedy="correct `baud` and `profile` (`edge-agent reader probe` tries them), check the wiring",
            )
