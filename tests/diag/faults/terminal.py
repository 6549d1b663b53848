"""A healthy terminal of real parts, of which a fault breaks one: what `doctor` is tried on.

Real: agent, receiver, broker with TLS, client certificate and password, ledger, the page's HTTP, files and programs of
the operating system. Emulated: the chip of the reader, the MCU of the screen, the board's /proc and /sys.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.app import Agent
from edge_agent.clock import SystemClock
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.receiver import Receiver, ReceiverSettings
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.control_client import ask
from edge_agent.diag.check import all_checks
from edge_agent.diag.runner import Report, run_checks
from edge_agent.diag.site import Lookup, Site
from edge_agent.errors import ControlError
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file, load_key_file
from edge_agent.uplink.base import LinkSettings, TlsSettings
from firmware_bridge.simulator import McuSimulator
from tests.conftest import require_system
from tests.diag.faults.healthy_root import make_root, put, recorded, service
from tests.fakes.capabilities import respect_modes
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mosquitto import Mosquitto, free_port

FLEET, TERMINAL = "sh", "sh-000777-b"
USER, PASSWORD = "terminal", "s3cret"
DEADLINE_S = 60.0

CONFIG = """\
[terminal]
id = "{terminal}"
fleet = "{fleet}"

[[readers]]
name = "nfc0"
driver = "pn532"
device = "{reader}"
baud = 115200
poll_ms = 20

[keys]
path = "{folder}/state/tap.key"

[outbox]
path = "{folder}/state/outbox.db"
min_free_mb = 1

[uplink]
host = "localhost"
port = {port}
tls = true
ca = "{certificates.ca}"
cert = "{certificates.client_cert}"
key = "{certificates.client_key}"
username = "{user}"
password_file = "{folder}/password"
connect_timeout_s = 3
backoff_base_s = 0.1
backoff_cap_s = 0.3
health_s = 1

[[screens]]
driver = "serial"
device = "{screen}"

[[screens]]
driver = "web"
port = {page}

[control]
socket = "{folder}/control.sock"

[clock]
trust = "kernel"
"""

T = TypeVar("T")


class TurnedClock(SystemClock):
    """The real clocks, but for what a fault does to the wall clock."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.disciplined = True
        super().__init__()

    def wall(self) -> float:
        return time.time() + self.ahead_s

    def synced(self) -> bool:
        return self.disciplined


class Terminal:
    """One terminal; ``healthy_terminal`` starts it. Its parts may be broken at will: each is used for one fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.programs = folder / "bin"
        self.config = folder / "edge-agent.toml"
        self.state = folder / "state"
        self.clock = TurnedClock()
        self.reader = Pn532Emulator()
        self.screen = McuSimulator()
        self.certificates: Certificates = make_certificates(folder / "tls", client=TERMINAL)
        self.password = folder / "password"
        self.broker: Mosquitto
        self.receiver: Receiver
        self.lookup: Lookup | None = None
        """In place of this machine's resolver, for doctor."""
        self.page_port = free_port()
        self._loop = asyncio.new_event_loop()
        self._agent: Agent | None = None
        self._running: asyncio.Task[None] | None = None
        self._stack = ExitStack()

    # Life.

    def start(self) -> None:
        """All parts; returns as soon as the agent says that it is well."""
        self.state.mkdir(mode=0o700)
        make_root(self.root)
        self.systemctl()
        recorded(self.programs, "journalctl", {"": ""})
        recorded(self.programs, "timedatectl", {"": "NTP=yes\nNTPSynchronized=yes\nCanNTP=yes\n"})
        create_key_file(self.state / "tap.key")
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")
        self.password.chmod(0o600)
        users = self.folder / "broker-users"
        users.write_text(f"{USER}:{_hashed(PASSWORD)}\n", encoding="utf-8")
        users.chmod(0o600)
        self.broker = Mosquitto(
            require_system("mosquitto"),
            self.folder,
            tls=self.certificates,
            client_certificates=True,
            anonymous=False,
            lines=[f"password_file {users}"],
        )
        self._stack.enter_context(self.broker)
        self._stack.enter_context(self.reader)
        self._stack.enter_context(self.screen)
        self.write_config()
        thread = threading.Thread(target=self._loop.run_forever, name="terminal")
        thread.start()
        self._stack.callback(self._loop.close)
        self._stack.callback(thread.join)
        self._stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)
        self._stack.enter_context(self._receiving())
        self._stack.callback(self.stop_agent)
        self.start_agent()
        self._stack.enter_context(_open_page(self.page_port))
        self.until_well()
        self.reader.wait_for_polls(2)  # by then the driver has looked what the chip is like while it is well

    def close(self) -> None:
        """End everything that was started, in the reverse order. Idempotent."""
        self._stack.close()

    # Its agent.

    def start_agent(self) -> None:
        """Start it with the configuration of now; returns when it answers."""

        async def begin() -> None:
            self._agent = Agent(checked(load(self.config, {})), clock=self.clock)
            self._running = asyncio.create_task(self._agent.run())

        self._on_loop(begin())
        self.until(lambda: bool(self.status()), "an answer of the agent")

    def stop_agent(self) -> None:
        """End it as SIGTERM does. Idempotent."""
        running, self._running = self._running, None
        if running is None or self._agent is None:
            return
        self._loop.call_soon_threadsafe(self._agent.stop)
        self._on_loop(_end(running))

    def restart_agent(self) -> None:
        """Another one, with the configuration of now."""
        self.stop_agent()
        self.start_agent()

    def respect_modes(self) -> None:
        """From the next agent on, the modes of files hold for it although root may run this."""

        async def give_up() -> None:
            respect_modes()

        self._on_loop(give_up())

    def status(self) -> dict[str, Any]:
        """What it says of itself; empty while nobody answers."""
        try:
            return ask(self.folder / "control.sock", {"op": "status"}, DEADLINE_S)
        except ControlError:
            return {}

    def until_well(self) -> None:
        """Wait until all parts of the agent do their work and none says that it is not well."""

        def well() -> bool:
            status = self.status()
            return (
                bool(status)
                and all(part["state"] in ("ok", "starting") for part in status["health"]["components"])
                and all(reader["state"] == "polling" for reader in status["readers"])
                and status["uplink"]["up"] is True
                and all(screen["state"] == "up" for screen in status["screens"])
                and any("1 open" in screen["detail"] for screen in status["screens"])
            )

        self.until(well, "a healthy agent")

    def until_settled(self, *down: str, online: bool = True) -> None:
        """Wait until all screens but those are up, and so is the uplink; not ``online``: it says why it is not."""

        def settled() -> bool:
            status = self.status()
            screens = [screen for screen in status["screens"] if screen["name"] not in down]
            return (
                all(screen["state"] == "up" for screen in screens)
                and any(screen["name"] == "web1" and "1 open" in screen["detail"] for screen in screens)
                is ("web1" not in down)
                and (status["uplink"]["up"] is True if online else bool(status["uplink"].get("text")))
            )

        self.until(settled, "settled agent")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that another thread or process does."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if self._running is not None and self._running.done():
                self._running.result()
            assert time.monotonic() < deadline, f"no {what} in time: {self.status()}"
            time.sleep(0.02)

    # Its files.

    def write_config(self) -> None:
        """Write the configuration of a healthy terminal."""
        text = CONFIG.format(
            terminal=TERMINAL,
            fleet=FLEET,
            user=USER,
            folder=self.folder,
            reader=self.reader.device_path,
            screen=self.screen.device_path,
            certificates=self.certificates,
            port=self.broker.port,
            page=self.page_port,
        )
        self.config.write_text(text, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Change the configuration; the running agent learns of it at its next start only."""
        text = self.config.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the configuration"
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def put(self, name: str, text: str) -> None:
        """Write one file of its board, e.g. ``/sys/class/thermal/thermal_zone0/temp``."""
        put(self.root, name, text)

    def systemctl(self, kiosk: str | None = None, **agent: str) -> None:
        """Let systemd say so of the agent's service, and ``kiosk`` of the kiosk's; without arguments all is well."""
        recorded(self.programs, "systemctl", {"edge-kiosk.service": kiosk or service(), "": service(**agent)})

    def program(self, name: str, text: str) -> None:
        """Let a program of the system print this."""
        recorded(self.programs, name, {"": text})

    # Doctor.

    def site(self) -> Site:
        """What the checks get."""
        path = f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
        site = Site(self.config, root=self.root, env={"PATH": path}, clock=self.clock)
        site.lookup = self.lookup or site.lookup
        return site

    def doctor(self) -> Report:
        """All checks."""
        return run_checks(all_checks(), self.site())

    # Inside.

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        public = load_key_file(self.state / "tap.key").public
        registry = {public.kid: KeyRecord(public, FLEET, TERMINAL)}
        ledger = SqliteLedger(self.folder / "ledger.db")
        tls = TlsSettings(self.certificates.ca, self.certificates.client_cert, self.certificates.client_key)
        port = self.broker.port
        receiver = Receiver(
            lambda: LinkSettings("localhost", port, "receiver-1", tls=tls, username=USER, password=PASSWORD),
            ledger,
            registry.get,
            clock=SystemClock(assume_synced=True),
            settings=ReceiverSettings(),
        )

        self.receiver = receiver

        async def begin() -> asyncio.Task[None]:
            await ledger.open()
            return asyncio.create_task(receiver.run())

        async def end() -> None:
            receiver.stop()
            await _end(task)
            await ledger.close()

        task = self._on_loop(begin())
        self.until(lambda: receiver.is_up, "receiver at the broker")
        try:
            yield
        finally:
            self._on_loop(end())

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)


@contextmanager
def healthy_terminal(folder: Path) -> Iterator[Terminal]:
    """One that is well, and gone afterwards."""
    terminal = Terminal(folder)
    try:
        terminal.start()
        yield terminal
    finally:
        terminal.close()


async def _end(task: asyncio.Task[None]) -> None:
    """Give it time to end by itself; how it ends is of no interest: a fault may have broken it."""
    await asyncio.wait({task}, timeout=DEADLINE_S / 6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextmanager
def _open_page(port: int) -> Iterator[None]:
    """A browser that shows the page, as far as the agent can tell: it reads the stream of cues and lets them fall."""
    stop = threading.Event()

    def show() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as page:
                page.settimeout(0.2)
                page.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not page.recv(4096):
                            break
            stop.wait(0.1)

    thread = threading.Thread(target=show, name="page")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _hashed(password: str) -> str:
    """As mosquitto_passwd writes it: $6$, salt, SHA-512 of password and salt."""
    salt = os.urandom(12)
    digest = hashlib.sha512(password.encode() + salt).digest()
    return f"$6${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
