"""The serial port of simulated hardware: a pseudo terminal behind a path that stays the same over unplug and replug.

It knows nothing of what is spoken on it. Not thread-safe: its owner has the lock.
"""

import contextlib
import os
import secrets
import tempfile
import termios
import tty
from pathlib import Path

_MAX_READ = 4096
_RATES = {getattr(termios, f"B{rate}"): rate for rate in (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)}


class PtyPort:
    """One port; ``path`` is a symbolic link in a private directory, there only while the port is plugged in."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._directory: Path | None = None
        self._slave = -1
        self.fd = -1
        """The hardware's end, -1 while pulled out."""

    @property
    def path(self) -> Path:
        """Path for the host. Raises RuntimeError before the first ``plug_in`` and after ``discard``."""
        if self._directory is None:
            raise RuntimeError("the simulated port was never started, or is closed")
        return self._directory / self._name

    @property
    def plugged(self) -> bool:
        """Whether a host can open the path."""
        return self.fd >= 0

    def plug_in(self) -> None:
        """Make the port appear. A port that is there stays as it is."""
        if self.plugged:
            return
        if self._directory is None:
            self._directory = _private_directory()
        self.fd, self._slave = os.openpty()
        os.set_blocking(self.fd, False)
        # The host's end stays open here too, so that a host may close and open it without a hang-up in between.
        tty.setraw(self._slave)
        mode = termios.tcgetattr(self._slave)
        mode[4] = mode[5] = termios.B115200
        termios.tcsetattr(self._slave, termios.TCSANOW, mode)
        self.path.symlink_to(os.ttyname(self._slave))

    def pull_out(self) -> None:
        """Make the port vanish: open descriptors of a host see a hang-up."""
        if not self.plugged:
            return
        self.path.unlink()
        for fd in (self.fd, self._slave):
            os.close(fd)
        self.fd = self._slave = -1

    def discard(self) -> None:
        """Pull out and remove the directory."""
        self.pull_out()
        if self._directory is not None:
            self._directory.rmdir()
            self._directory = None

    def host_rate(self) -> int | None:
        """Bits per second at which the host works now; None for a rate that no UART of ours has."""
        return _RATES.get(termios.tcgetattr(self.fd)[5])

    def read(self) -> bytes:
        """Return what the host wrote, empty if nothing."""
        try:
            return os.read(self.fd, _MAX_READ)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send to the host; what it does not read in time is lost, as on a UART."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.fd, data)


def _private_directory() -> Path:
    """Make a directory whose name is plain enough for a device path (letters, digits, hyphens)."""
    path = Path(tempfile.gettempdir()) / f"nfc-{secrets.token_hex(8)}"
    path.mkdir(mode=0o700)
    return path
