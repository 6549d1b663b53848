"""`edge-agent run` as a process of its own, with a notify socket that a service manager would have."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 40.0


def edge_agent(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "edge_agent", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(env or {})}
    )


class AgentProcess:
    """A running agent; its log goes to a file, or to the descriptor ``log_to``.

    ``prelude`` is Python that the process runs before anything else: for faults that no emulated part can have.
    """

    def __init__(
        self, config: Path, folder: Path, env: Mapping[str, str], log_to: int | None = None, prelude: str = ""
    ) -> None:
        self.config = config
        self._log = folder / "agent.log"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (folder / "notify").unlink(missing_ok=True)
        self._notify.bind(str(folder / "notify"))
        # The kernel keeps ten datagrams for whoever does not read, and the agent drops what it cannot send.
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listening = threading.Thread(target=self._listen, name="notify-socket", daemon=True)
        self._listening.start()
        program = f"{prelude}\nfrom edge_agent.cli.main import main\nraise SystemExit(main())"
        start = ["-c", program] if prelude else ["-m", "edge_agent"]
        command = [sys.executable, *start, "run", "--config", str(config)]
        manager = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "900000"}
        with self._log.open("ab") as log:
            out = log if log_to is None else log_to
            self.process = subprocess.Popen(command, stderr=out, stdout=out, env={**os.environ, **manager, **env})

    @property
    def log(self) -> str:
        """All that it printed."""
        return self._log.read_text(encoding="utf-8")

    def told(self, word: str) -> str:
        """Wait for a notification with this word; returns it whole."""
        while True:
            message = self._told.get(timeout=DEADLINE_S)
            if word in message:
                return message

    def _listen(self) -> None:
        while message := self._notify.recv(4096):
            self._told.put(message.decode())

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; returns the exit status and how long the end took, in seconds."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S), time.monotonic() - begun

    def close(self) -> None:
        """Nothing is left behind."""
        self.process.kill()
        self.process.wait()
        self._notify.shutdown(socket.SHUT_RDWR)
        self._listening.join()
        self._notify.close()


@contextmanager
def agent_process(
    config: Path,
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    log_to: int | None = None,
    prelude: str = "",
) -> Iterator[AgentProcess]:
    """An agent that has said READY=1."""
    running = AgentProcess(config, folder, env or {}, log_to, prelude)
    try:
        running.told("READY=1")
        yield running
    finally:
        running.close()
