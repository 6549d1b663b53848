"""A real pcscd for tests: own socket, own configuration, one virtual reader (vpcd) of two slots; ended by its handle.

The socket is handed over as systemd does it, so that it may lie anywhere; a client finds it by an environment variable
that its library reads once in a process, so there is one path for all tests of a run. As root it gets a mount
namespace of its own besides: it neither writes over the pid file of the system's pcscd nor touches a USB reader.
vpcd listens on all addresses and cannot be told otherwise; nor can its reader be unplugged while pcscd runs.
"""

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.conftest import require_system, skip_or_fail
from tests.fakes.claims import claim

DRIVER_DIRS = ("/usr/lib/pcsc/drivers/serial", "/usr/lib64/pcsc/drivers/serial")
SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"

_CONFIG = 'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:{port:#x}\nLIBPATH {driver}\nCHANNELID {port:#x}\n'
_OUR_PAIRS: set[int] = set()
_HIDE = """
mkdir -p /run/pcscd
mount -t tmpfs tmpfs /run/pcscd || true
for bundle in /usr/lib/pcsc/drivers/*.bundle; do mount -t tmpfs tmpfs "$bundle" || true; done
"""
# systemd's protocol: the first socket is descriptor 3, and LISTEN_PID is the pid of whom it is meant for.
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def vpcd_driver() -> Path | None:
    """The driver of the virtual reader, or None where it is not installed."""
    found = [path for folder in DRIVER_DIRS for path in sorted(Path(folder).glob("libifdvpcd.so*"))]
    return found[0] if found else None


def free_pair() -> int:
    """A TCP port on which nobody listens now, nor on the next one; outside the range that clients get theirs from.

    No other test of this machine gets the same pair, until this process ends.
    """
    for port in range(20000 + os.getpid() % 5000 * 2, 32000, 2):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in (port, port + 1):
                stack.enter_context(socket.socket()).bind(("0.0.0.0", number))  # noqa: S104 - as the driver will
            if port in _OUR_PAIRS or claim(f"ports-{port}"):
                _OUR_PAIRS.add(port)
                return port
    raise AssertionError("no free ports")


def virtual_reader(folder: Path, *, name: str = "Virtual PCD") -> "Pcscd":
    """A daemon, not started; skips where the machine or the Python environment lacks a part."""
    binary = require_system("pcscd")
    require_system("vpcd")
    driver = vpcd_driver()
    if driver is None:
        skip_or_fail(f"no libifdvpcd.so in {' or '.join(DRIVER_DIRS)}; to run this test: reinstall vsmartcard-vpcd")
    if importlib.util.find_spec("smartcard") is None:
        skip_or_fail("no pyscard in this environment; to run this test: pip install 'edge-agent[pcsc]'")
    if os.geteuid() != 0 and not Path("/run/pcscd").is_dir():
        skip_or_fail("pcscd needs /run/pcscd, which only root can make; to run this test: run as root")
    return Pcscd(binary, driver, folder, name=name)


def _socket_path() -> Path:
    """One for the whole run: libpcsclite reads the variable at its first call and never again."""
    known = os.environ.get(SOCKET_VARIABLE)
    if known is None:
        folder = Path(tempfile.mkdtemp(prefix="pcscd-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        known = os.environ[SOCKET_VARIABLE] = str(folder / "pcscd.comm")
    return Path(known)


class Pcscd:
    """One daemon; ``name`` is the reader's, to which pcscd adds its numbers; ``port`` belongs to its first slot."""

    def __init__(self, binary: str, driver: Path, folder: Path, *, name: str = "Virtual PCD") -> None:
        self.socket = _socket_path()
        self.port = free_pair()
        self.reader = f"{name} 00 00"
        self._command = [binary, "--foreground", "--info", "--config", str(folder / "reader.conf.d")]
        if "--disable-polkit" in subprocess.run([binary, "--help"], capture_output=True, text=True, check=False).stdout:
            self._command.append("--disable-polkit")
        self._config = folder / "reader.conf.d" / "vpcd"
        self._config.parent.mkdir(exist_ok=True)
        self._config.write_text(_CONFIG.format(name=name, port=self.port, driver=driver), encoding="utf-8")
        self._log_path = folder / "pcscd.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it logged so far, over restarts."""
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.exists() else ""

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Start and wait until it knows its reader."""
        ready = self.log.count("daemon ready")
        self.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening, self._log_path.open("ab") as log:
            listening.bind(str(self.socket))
            listening.listen(16)
            command = [sys.executable, "-c", _HAND_OVER, str(listening.fileno()), *self._command]
            if os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0:
                command = ["unshare", "--mount", "sh", "-c", _HIDE + 'exec "$@"', "sh", *command]
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"LISTEN_FDS": "1"},
                pass_fds=[listening.fileno()],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.log.count("daemon ready") > ready:
                return
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"pcscd did not start:\n{self.log}")

    def stop(self) -> None:
        """End it cleanly. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would. Idempotent."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
