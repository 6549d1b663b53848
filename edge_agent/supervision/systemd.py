"""sd_notify(3) without a library: READY, STATUS, STOPPING, and a WATCHDOG that is fed only while the agent is alive.

Outside systemd (no $NOTIFY_SOCKET) every call does nothing.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

from edge_agent.clock import Clock
from edge_agent.logs import Repeats
from edge_agent.models import ComponentState
from edge_agent.sanitize import printable
from edge_agent.supervision.health import Health

log = structlog.get_logger(__name__)


class Notifier:
    """Sends datagrams to $NOTIFY_SOCKET; a path, or an abstract name that begins with @."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._repeats = Repeats(log, "notify_failed", "notify_recovered")
        self.watchdog_s = _watchdog_s(env)

    def ready(self, status: str) -> None:
        """The agent takes taps."""
        self._send("READY=1", f"STATUS={printable(status, 200)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={printable(text, 200)}")

    def stopping(self) -> None:
        """The agent drains and ends."""
        self._send("STOPPING=1", "STATUS=stopping")

    def watchdog(self) -> None:
        """Feed the watchdog once."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._repeats.failed(error.strerror or "unknown")
        else:
            self._repeats.recovered()


def _watchdog_s(env: Mapping[str, str]) -> float | None:
    """Return the watchdog's timeout in seconds, None if there is none for this process (sd_watchdog_enabled(3))."""
    microseconds = env.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    if env.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6


LOOK_EVERY_S = 1.0


async def feed_watchdog(
    notifier: Notifier,
    health: Callable[[float], Health],
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    starving: Callable[[Health], None] = lambda _: None,
    saved: Callable[[], None] = lambda: None,
) -> None:
    """Feed the watchdog, for ever, three times as often as needed, while no critical part is late.

    While one is late the watchdog goes hungry and systemd restarts the agent; ``starving`` is called once, in the last
    third of its patience, to keep the reason, and ``saved`` if all is well again after that. STATUS= follows every
    change within a second, with or without watchdog.
    """
    patience_s = notifier.watchdog_s
    interval = patience_s / 3 if patience_s else LOOK_EVERY_S
    shown, told = "", False
    fed = due = clock.monotonic()
    while True:
        now = clock.monotonic()
        seen = health(now)
        if seen.alive:
            if patience_s and now >= due:
                notifier.watchdog()
                fed, due = now, now + interval
            if told:
                told = False
                saved()
            text = _status(seen)
        else:
            text = f"no sign of life from {', '.join(seen.late)}; waiting for the watchdog"
            due = now  # it is hungry: feed it as soon as all is well
            if patience_s and not told and now - fed >= 2 * interval:
                told = True
                starving(seen)
        if text != shown:
            if not seen.alive:
                log.error("watchdog_starved", late=list(seen.late))
            notifier.status(text)
            shown = text
        await sleep(min(interval, LOOK_EVERY_S))


def _status(seen: Health) -> str:
    """The state, and who is to blame for it."""
    unwell = [part.name for part in seen.components if part.state in {ComponentState.FAILED, ComponentState.DEGRADED}]
    return f"{seen.state.value}: {', '.join(unwell)}" if unwell else seen.state.value
