"""The clocks: monotonic for durations, wall time with an honest trust, boot id and uptime for re-basing.

Trust comes from the kernel, not from guesswork: adjtimex(2) answers TIME_ERROR while nothing disciplines the clock. The
sandbox of the service forbids that call; there ``clock_witness``, a process of its own, passes the answer on.
What an undisciplined clock is worth is judged in ``holdover``.
"""

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge_agent.holdover import Holdover
from edge_agent.models import ClockReading, ClockTrust

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
# "1" where the kernel set the system time from this clock at boot (Documentation/ABI, sysfs-class-rtc).
RTC_SET_THE_CLOCK_FILE = Path("/sys/class/rtc/rtc0/hctosys")

# In the service /proc is without it (ProcSubset=pid); the manager tells the boot id (systemd.unit(5), %b).
BOOT_ID_VARIABLE = "EDGE_AGENT_BOOT_ID"
# Where clock_witness tells, and how old its word may be.
WITNESS_FILE = Path("/run/edge-agent-clock/kernel")
WITNESS_FRESH_S = 10.0

# adjtimex(2): "TIME_ERROR: The system clock is not synchronized to a reliable server."
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040

_LIBC = ctypes.CDLL(None)


class Clock(Protocol):
    """Seam for tests: a clock that can be set, stepped and distrusted."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC in seconds: for every duration."""

    def read(self) -> ClockReading:
        """Wall time, its trust, boot id and seconds since boot, taken together."""

    def recall(self, good: ClockReading) -> None:
        """Take up the last good time of an earlier run, before which no clock that nobody disciplines is trusted."""


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2); only ``modes`` and ``status`` are used, the rest gives the size."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def ask_kernel() -> bool | None:
    """Whether adjtimex(2) says that the wall clock is disciplined now; None where a sandbox forbids the question."""
    timex = _Timex(modes=0)
    state = int(_LIBC.adjtimex(ctypes.byref(timex)))
    if state < 0:
        return None
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC


def kernel_clock_synced() -> bool:
    """What the kernel says, or passed on by the witness; no answer at all is a no."""
    answer = ask_kernel()
    return _witnessed() if answer is None else answer


def _witnessed() -> bool:
    """Whether the witness told "synced" a moment ago; a missing, old or odd word is a no."""
    try:
        word, _, told = WITNESS_FILE.read_text(encoding="ascii").partition(" ")
        age_s = time.monotonic() - float(told)
    except (OSError, ValueError):
        return False
    return word == "synced" and 0 <= age_s <= WITNESS_FRESH_S


def boot_id(env: Mapping[str, str] = os.environ) -> bytes:
    """The 16 bytes of the kernel's boot id. Raises OSError where neither /proc nor the manager tells it."""
    try:
        text = BOOT_ID_FILE.read_text(encoding="ascii")
    except OSError:
        if (text := env.get(BOOT_ID_VARIABLE, "")) == "":
            raise
    return bytes.fromhex(text.strip().replace("-", ""))


class SystemClock:
    """The kernel's clocks. Trust is re-read at most once a second: adjtimex is a system call on the tap path.

    ``assume_synced`` is for machines whose host keeps the time (containers, virtual machines, the demo): there the
    guest's kernel reports an undisciplined clock although it is right.
    """

    def __init__(self, *, assume_synced: bool = False) -> None:
        self._boot = boot_id()[:8]
        self._assume_synced = assume_synced
        self._holdover = Holdover(rtc=_rtc_set_the_clock())
        self._synced = False
        self._synced_until = 0.0

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC in seconds."""
        return time.monotonic()

    def read(self) -> ClockReading:
        """Look at all clocks at once."""
        # Trust first: a step between the two may cost trust, but never lends it to the time before the step.
        synced = self._kernel_synced()
        unix, up = int(self.wall()), int(time.clock_gettime(time.CLOCK_BOOTTIME))
        if synced and self._holdover.stepped(unix, self._boot, up):
            self._synced_until = 0.0  # settimeofday(2) ends the discipline: the answer of a moment ago is void
            synced = self._kernel_synced()
        return self._holdover.judge(unix, self._boot, up, synced=synced)

    def recall(self, good: ClockReading) -> None:
        """See the port."""
        self._holdover.recall(good)

    def wall(self) -> float:
        """CLOCK_REALTIME in seconds; what simulations step."""
        return time.time()

    def synced(self) -> bool:
        """What the kernel says now; what simulations unset."""
        return self._assume_synced or kernel_clock_synced()

    def _kernel_synced(self) -> bool:
        tick = time.monotonic()
        if tick >= self._synced_until:
            self._synced_until = tick + 1.0
            self._synced = self.synced()
        return self._synced


def _rtc_set_the_clock() -> bool:
    try:
        return RTC_SET_THE_CLOCK_FILE.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False  # no RTC at all


class FakeClock:
    """A clock that tests and simulations turn by hand."""

    def __init__(
        self,
        *,
        unix: int = 1_790_000_000,
        trust: ClockTrust = ClockTrust.SYNCED,
        boot: bytes = b"bootbyte",
        up: int = 100,
    ) -> None:
        self.unix = float(unix)
        self.trust = trust
        self.boot = boot
        self.up = float(up)
        self.mono = 1000.0
        self.recalled: ClockReading | None = None

    def monotonic(self) -> float:
        """Current fake CLOCK_MONOTONIC."""
        return self.mono

    def read(self) -> ClockReading:
        """Current fake reading."""
        return ClockReading(unix=int(self.unix), trust=self.trust, boot=self.boot, up=int(self.up))

    def recall(self, good: ClockReading) -> None:
        """A fake's trust is what the test says."""
        self.recalled = good

    def advance(self, seconds: float) -> None:
        """Let time pass on every clock."""
        self.mono += seconds
        self.unix += seconds
        self.up += seconds

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator does."""
        self.unix += seconds
