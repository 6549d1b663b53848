"""Keeps the agent alive: heals parts that give no sign of life, and restarts the agent where that is futile.

It decides nothing itself (``healing`` does). What it does is logged and told in `evt/alarm`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError
from edge_agent.logs import Repeats
from edge_agent.monitor import GUARDIAN, LOOK_EVERY_S, MONITOR, OUTBOX, Monitor
from edge_agent.outbox.base import Notice
from edge_agent.supervision.healing import GiveUp, Heal, Healing
from edge_agent.supervision.health import Health
from edge_agent.supervision.restart import RestartFile
from edge_agent.supervision.supervisor import Supervisor
from edge_agent.supervision.systemd import Notifier, feed_watchdog

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Guardian:
    """``restart_agent`` ends the process in order, so that the service manager starts another one."""

    clock: Clock
    monitor: Monitor
    supervisors: tuple[Supervisor, ...]
    reopen_outbox: Callable[[], Awaitable[bool]]
    """Opens it again if its thread has ended; False if it runs, or hangs. Raises OutboxError."""
    restarts: RestartFile
    tell: Callable[[Notice], None]
    restart_agent: Callable[[], None]
    _healing: Healing = field(default_factory=Healing)
    _ill: dict[str, str] = field(default_factory=dict)
    _reopening: asyncio.Task[None] | None = None
    _held_back: Repeats = field(default_factory=lambda: Repeats(log, "restart_held_back", "restart_not_needed"))

    async def watch(self) -> None:
        """For ever."""
        while True:
            self.monitor.board.check_in(GUARDIAN, self.clock.monotonic())
            ill, spared = self._ill_for_longer(), self.monitor.replaceable()
            for todo in self._healing.look(ill, self.clock.monotonic(), spared):
                if isinstance(todo, Heal):
                    self._heal(todo)
                else:
                    self._give_up(todo)
            await asyncio.sleep(LOOK_EVERY_S)

    async def feed(self, notifier: Notifier) -> None:
        """For ever: the watchdog lives by the same board."""
        board = self.monitor.board.snapshot
        await feed_watchdog(notifier, board, self.clock, starving=self._starving, saved=self.restarts.withdraw)

    def _starving(self, health: Health) -> None:
        self.restarts.save("watchdog", f"no sign of life from {', '.join(health.late)}", health.late)

    def _ill_for_longer(self) -> dict[str, str]:
        """Ill in two looks in a row: after a pause of the whole process everybody is late until he came by once."""
        before, self._ill = self._ill, self.monitor.ill()
        if MONITOR in self._ill:  # without it nobody else is seen
            self._ill = {MONITOR: self._ill[MONITOR]}
        if not self._ill:
            self._held_back.recovered()
        return {name: why for name, why in self._ill.items() if name in before}

    def _heal(self, todo: Heal) -> None:
        text = f"{todo.name} is started anew: {todo.why}"
        if todo.attempt == 1:
            self.tell(Notice("part_hangs", text, {"part": todo.name}))
        else:
            log.warning("part_still_hangs", part=todo.name, why=todo.why, attempt=todo.attempt)
        if todo.name == OUTBOX:
            if self._reopening is None or self._reopening.done():
                self._reopening = asyncio.ensure_future(self._reopen())
        else:
            for supervisor in self.supervisors:
                supervisor.restart(todo.name, todo.why)

    async def _reopen(self) -> None:
        try:
            if await self.reopen_outbox():
                log.info("outbox_opened_again")
        except OutboxError as error:
            log.warning("outbox_not_opened_again", error=str(error))

    def _give_up(self, todo: GiveUp) -> None:
        if not self.restarts.allows():
            self._held_back.failed(f"{todo.name}: {todo.why}", remedy="find out why restarts do not heal it")
            return
        reason = self.restarts.save("part_hangs", f"{todo.name}: {todo.why}", [todo.name])
        if not self.restarts.allows():
            self._held_back.failed(f"{todo.name}: {todo.why}", remedy="nothing can be written: see to the disk first")
            return
        log.error("agent_restarts_itself", part=todo.name, why=todo.why, count=reason.count)
        self.restart_agent()
