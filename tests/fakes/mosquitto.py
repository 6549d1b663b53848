"""A real mosquitto for tests: own configuration, free loopback port, own log; ended by its handle."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.fakes.certificates import Certificates
from tests.fakes.waiting import eventually

_MOST_HELD = 32
_held: deque[int] = deque()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on.

    It stays bound for the time of a test: else whoever asks the kernel for any port, in this process or another, may be
    given it before its server begins, or while that is down. A server that sets SO_REUSEADDR gets it all the same.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    port = int(sock.getsockname()[1])
    _held.append(sock.detach())
    if len(_held) > _MOST_HELD:
        os.close(_held.popleft())
    return port


class Mosquitto:
    """One broker. ``tls`` are certificates of the listener; ``lines`` are added to its configuration;
    ``quiet``: it logs errors only.

    Messages and sessions live in memory: a restart is a broker that forgot everything, which is the harder case.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        tls: Certificates | None = None,
        client_certificates: bool = False,
        nodelay: bool = True,
        port: int | None = None,
        lines: Sequence[str] = (),
        anonymous: bool = True,
        quiet: bool = False,
    ) -> None:
        self.binary = binary
        self.host = "localhost"
        self.port = port or free_port()
        self.tls = tls
        self._folder = folder
        self._log_path = folder / f"mosquitto-{self.port}.log"
        self._config_path = folder / f"mosquitto-{self.port}.conf"
        self._lines = [
            f"set_tcp_nodelay {'true' if nodelay else 'false'}",
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'true' if anonymous else 'false'}",
            "persistence false",
            "log_dest stderr",
            f"log_type {'error' if quiet else 'all'}",
            "connection_messages true",
            *lines,
        ]
        if os.geteuid() == 0:
            self._lines.append("user root")  # else it drops to a user who cannot read the test's folder
        if tls is not None:
            self._lines += [f"cafile {tls.ca}", f"certfile {tls.server_cert}", f"keyfile {tls.server_key}"]
            if client_certificates:
                self._lines.append("require_certificate true")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that the broker logged so far, over restarts."""
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.exists() else ""

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Start and wait until it listens."""
        self._config_path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen([self.binary, "-c", str(self._config_path)], stdout=log, stderr=log)
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=0.5):
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"mosquitto did not start:\n{self.log}")

    def stop(self) -> None:
        """End it cleanly. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would. Idempotent."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._signal(signal.SIGCONT)

    async def wait_for_log(self, text: str, *, deadline_s: float = 30.0) -> None:
        """Wait until the broker has logged ``text``."""
        await eventually(lambda: text in self.log, deadline_s=deadline_s)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
