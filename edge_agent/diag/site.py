"""The terminal as the checks see it: its configuration, the running agent's answer, its files, its system's commands.

Each is asked once for all checks, which run side by side. Nothing here changes the terminal.
"""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edge_agent.control_client import NotAllowed, NotRunning, ask
from edge_agent.diag.finding import CannotLook
from edge_agent.errors import ConfigError, ControlError, EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.config import Loaded, Settings

CONFIG_INVALID = "config-invalid"
"""Id of the finding that tells why no check can read the settings."""
CHECK_TIMED_OUT = "check-timed-out"
"""Id of the finding that tells which check hangs."""
AGENT = "agent"
"""Id of the check that says that nobody may ask the agent but root and its group."""
AGENT_DOWN = "agent-down"
"""Id of the finding that tells why nobody answers at the control socket."""
AGENT_SILENT = "agent-silent"
"""Id of the finding that tells that an agent runs but does not answer us."""

DEFAULT_SOCKET = Path("/run/edge-agent/control.sock")
STATUS_TIMEOUT_S = 3.0
HANGS_S = 4.5
"""Less than one check has, more than anything takes that is asked once for all of them."""

T = TypeVar("T")
Lookup = Callable[[str], list[str]]
"""Addresses of a host name; raises OSError (socket.gaierror). May hang."""


def look_up(host: str) -> list[str]:
    """Ask the resolver of this machine: /etc/hosts, then its name servers (getaddrinfo(3))."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Once(Generic[T]):
    """The outcome of a call, made once, for all threads that want it.

    Where it hangs, one check hangs with it and is told so; the others do not wait, or each would be told.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error: EdgeAgentError | None = None
        self._done = False
        self._ends = time.monotonic() + HANGS_S

    def __call__(self) -> T:
        if self._done:
            return self._outcome()
        if not self._lock.acquire(timeout=max(0.0, self._ends - time.monotonic())):
            raise CannotLook("another check waits for the same, and it hangs", because=CHECK_TIMED_OUT)
        try:
            if not self._done:
                self._ends = time.monotonic() + HANGS_S
                try:
                    self._value = self._call()
                except EdgeAgentError as error:
                    self._error = error
                self._done = True
        finally:
            self._lock.release()
        return self._outcome()

    def _outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value] # done without an error: it is a T


@dataclass(frozen=True, slots=True)
class Output:
    """What a command of the system said."""

    status: int
    out: str
    err: str


class Site:
    """One terminal; ``root`` is where its /proc, /sys, /dev and /etc are looked for (tests have one of their own)."""

    def __init__(
        self,
        config: Path,
        *,
        root: Path = Path("/"),
        socket: Path | None = None,
        env: Mapping[str, str] = os.environ,
        clock: "Clock | None" = None,
    ) -> None:
        self.config_path = config
        self.root = root
        self.env = env
        self._socket = socket
        self._clock = clock
        self._load = _Once(self._load_config)
        self._ask = _Once(lambda: self.ask({"op": "status"}, STATUS_TIMEOUT_S))
        self._lock = threading.Lock()
        self._made: dict[str, _Once[Any]] = {}
        self.lookup: Lookup = look_up
        """Asks the resolver; what hangs there is left behind."""

    def path(self, absolute: str | Path) -> Path:
        """Return where a system path of this terminal is: ``/proc/mounts`` below ``root``."""
        return self.root / str(absolute).lstrip("/")

    def read(self, absolute: str | Path) -> str | None:
        """Return the text of a small system file without the blanks around it; None if it is not there or not ours."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
        except OSError:
            return None

    @property
    def loaded(self) -> "Loaded":
        """The configuration; raises ConfigError (the check of the configuration catches it)."""
        return self._load()

    @property
    def settings(self) -> "Settings":
        """The settings, for every other check; raises CannotLook while the configuration is wrong."""
        try:
            return self.loaded.settings
        except ConfigError:
            raise CannotLook("the configuration cannot be read", because=CONFIG_INVALID) from None

    @property
    def clock(self) -> "Clock":
        """The clocks of this machine, as the kernel tells them whatever the configuration assumes."""
        if self._clock is None:
            from edge_agent.clock import SystemClock  # noqa: PLC0415 -- for the checks that ask for the time

            self._clock = SystemClock()
        return self._clock

    @property
    def socket(self) -> Path:
        """Control socket; the default one while the configuration cannot be read."""
        if self._socket is not None:
            return self._socket
        try:
            return self.loaded.settings.control.socket
        except ConfigError:
            return DEFAULT_SOCKET

    def ask(self, request: dict[str, object], timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, object]:
        """Ask the running agent; raises ControlError, NotRunning if there is none."""
        return ask(self.socket, request, timeout_s)

    @property
    def answer(self) -> Mapping[str, Any]:
        """The agent's answer to ``status``; raises ControlError (the check of the agent catches it)."""
        return self._ask()

    @property
    def status(self) -> Mapping[str, Any]:
        """The same for every other check; raises CannotLook while nobody answers."""
        try:
            return self.answer
        except NotRunning:
            raise CannotLook("the agent does not run", because=AGENT_DOWN) from None
        except NotAllowed as error:
            raise CannotLook(error.text, because=AGENT, remedy=error.remedy) from None
        except ControlError as error:
            raise CannotLook(error.text, because=AGENT_SILENT, remedy=error.remedy) from None

    @property
    def runs(self) -> bool:
        """Whether an agent answers; raises CannotLook where one may run that we cannot ask."""
        try:
            return bool(self.answer)
        except NotRunning:
            return False
        except ControlError:
            return bool(self.status)

    @property
    def running(self) -> Mapping[str, Any] | None:
        """The agent's answer, or None: for checks that look by themselves while no agent runs."""
        try:
            return self.answer
        except ControlError:
            return None

    def once(self, name: str, call: Callable[[], T]) -> T:
        """Return the outcome of ``call``, made by the first check that asks for ``name``, for all of them.

        It should return what went wrong as a value: only an EdgeAgentError is kept and raised again.
        """
        with self._lock:
            made: _Once[T] = self._made.setdefault(name, _Once(call))
        return made()

    def run(self, command: Sequence[str], timeout_s: float = 3.0) -> Output:
        """Run a command of the system, its messages in English; raises CannotLook if it is missing or hangs.

        It gets no input, and is killed after ``timeout_s``.
        """
        found = shutil.which(command[0], path=f"{self.env.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin")
        if found is None:
            raise CannotLook(f"this machine has no `{command[0]}`")
        try:
            done = subprocess.run(  # noqa: S603 -- the words are ours, and no shell reads them
                [found, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env={**self.env, "LC_ALL": "C"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotLook(f"`{' '.join(command)}` did not end within {timeout_s:.0f} s") from None
        return Output(done.returncode, done.stdout, done.stderr)

    def _load_config(self) -> "Loaded":
        from edge_agent.config import load  # noqa: PLC0415 -- pydantic is half the start-up time of a command

        return load(self.config_path, self.env)
