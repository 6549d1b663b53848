"""A whole terminal on emulated hardware: the real agent and its drivers, a PN532 emulator, an MCU simulator.

The configuration is a real file; `setting__name=value` overrides it as EDGE_AGENT__SETTING__NAME does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent.app import Agent
from edge_agent.clock import Clock, SystemClock
from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.cloud.receiver import ReceiverSettings
from edge_agent.cloud.rewards import RewardPolicy
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.control_client import ask
from edge_agent.models import StoredTap
from edge_agent.readers.service import ReaderSnapshot, ReaderState
from edge_agent.settings import Checked
from edge_agent.simulation.field import SimulatedField, TapOutcome
from edge_agent.simulation.odd_phones import Vanishing
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.picc import Picc
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file, load_key_file
from edge_agent.tokens.keys import PublicKey
from edge_agent.tokens.tap_token import parse
from edge_agent.trace import TapTimes
from firmware_bridge.cues import CueName
from firmware_bridge.simulator import McuSimulator
from tests.fakes.cloud_site import CloudSite
from tests.fakes.ledger_rows import LedgerRow, ledger_rows
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import eventually

FLEET, TERMINAL = "sh", "sh-000123-a"

CONFIG = """\
[terminal]
id = "{terminal}"
fleet = "{fleet}"
campaign = "c-1"

[[readers]]
driver = "pn532"
device = "{reader}"
poll_ms = 20
cards = "{cards}"
{screens}
[limits]  # people here tap faster than any real ones
taps_per_minute = 6000
burst = 1000
cooldown_s = 0

[keys]
path = "{folder}/tap.key"

[outbox]
path = "{folder}/outbox.db"

[uplink]
host = "{host}"
port = {port}
backoff_base_s = 0.1
backoff_cap_s = 0.3

[control]
socket = "{folder}/control.sock"

[clock]
trust = "assume-synced"
"""
SERIAL_SCREEN = '\n[[screens]]\ndriver = "serial"\ndevice = "{device}"\n'
WEB_SCREEN = '\n[[screens]]\ndriver = "web"\nport = {port}\n'

PATIENCE_S = 30.0
"""A tap takes a moment, but on a loaded machine a reader may be in the middle of its reset."""
# A tap needs less than 50 ms here; what odd phones do with the rest of the budget is only waited for.
QUICK = {"exchange__budget_ms": 400}


def write_config(
    folder: Path, *, reader: str, host: str, port: int, cards: str = "ignore", screens: Sequence[str] = ()
) -> Path:
    """Write the configuration of one terminal, all of whose files are in ``folder``, and its key if it has none."""
    path = folder / "edge-agent.toml"
    values = {"terminal": TERMINAL, "fleet": FLEET, "reader": reader, "cards": cards, "folder": folder}
    text = CONFIG.format(**values, screens="".join(screens), host=host, port=port)
    path.write_text(text, encoding="utf-8")
    if not (folder / "tap.key").exists():
        create_key_file(folder / "tap.key")
    return path


def replace_reader(path: Path, tables: str) -> None:
    """Write other tables where the configuration has its only [[readers]] table."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition("[[readers]]")
    path.write_text(before + tables + rest[rest.index("\n[") :], encoding="utf-8")


class WholeAgent:
    """One terminal; ``agent`` is the one of the moment, each ``start`` makes another on the same files.

    Without ``port`` nobody listens where the broker should be. ``gone_after_s``: people here step up sooner than the
    reader's debounce allows outside; None leaves it as it is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        cards: str = "ignore",
        screens: Sequence[str] = (),
        clock: Clock | None = None,
        gone_after_s: float | None = 0.08,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.emulator = Pn532Emulator()
        self.display = McuSimulator()
        self.steps: list[TapTimes] = []
        self.agent: Agent
        self._clock = clock
        self._gone_after_s = gone_after_s
        self._where = {"host": host, "port": port or free_port(), "cards": cards}
        self._screens = screens
        self._env = {f"EDGE_AGENT__{name.upper()}": str(value) for name, value in settings.items()}
        self._task: asyncio.Task[None] | None = None

    # Life.

    def configured(self) -> Checked:
        """The settings as the agent gets them."""
        screens = (SERIAL_SCREEN.format(device=self.display.device_path), *self._screens)
        where: dict[str, Any] = self._where
        path = write_config(self.folder, reader=self.emulator.device_path, screens=screens, **where)
        return checked(load(path, self._env))

    def built(self, agent: Agent) -> None:
        """A new agent, before it runs."""

    async def start(self) -> None:
        """Start an agent and wait until its reader polls."""
        self.agent = Agent(self.configured(), clock=self._clock, on_tap=self.steps.append)
        self.built(self.agent)
        store = self.agent.outbox.store
        store._settings = replace(store._settings, close_s=30.0)  # a machine that pauses is no storage that hangs
        if self._gone_after_s is not None:
            for service in self.agent._readers:
                vars(service._reader)["_gone_after_s"] = self._gone_after_s
        self._task = asyncio.create_task(self.agent.run())
        await self.until(lambda: self.reader.state is ReaderState.POLLING)

    async def stop(self) -> None:
        """Stop the agent as SIGTERM does, and see that it ends without an error. Idempotent."""
        if self._task is not None:
            self.agent.stop()
            task, self._task = self._task, None
            async with asyncio.timeout(60):
                await task

    async def restart(self) -> None:
        """Another process, as far as the files know."""
        await self.stop()
        await self.start()

    async def until(self, condition: Callable[[], object], *, deadline_s: float = 30.0) -> None:
        """Wait for a condition; an agent that ended meanwhile says why."""
        task = self._task
        assert task is not None
        met = False

        def met_or_over() -> bool:
            nonlocal met  # looked at once more, it may be over: hardware changes in threads of its own
            met = met or bool(condition())
            return met or task.done()

        await eventually(met_or_over, deadline_s=deadline_s)
        if not met:
            task.result()
            raise AssertionError("the agent ended before that")

    async def connected(self) -> None:
        """Wait until the uplink is up."""
        await self.until(lambda: self.agent.takes_taps)

    # What it says.

    @property
    def public(self) -> PublicKey:
        """The terminal's public key."""
        return load_key_file(self.folder / "tap.key").public

    @property
    def reader(self) -> ReaderSnapshot:
        """The only reader."""
        (reader,) = self.agent._readers
        return reader.snapshot()

    @property
    def cues(self) -> list[CueName]:
        """What the display showed so far, but for repetitions of the same cue."""
        shown = [cue for _, cue, _ in self.display.cues]
        return [cue for index, cue in enumerate(shown) if index == 0 or shown[index - 1] is not cue]

    async def status(self) -> dict[str, Any]:
        """What `edge-agent status --json` prints, asked over the real socket."""
        return await self.ask("status")

    async def started(self) -> dict[str, Any]:
        """Wait until every part has said how it is; returns the status."""
        async with asyncio.timeout(30):
            # The answer comes over a socket; there is no event to wait for.
            while (status := await self.status())["health"]["state"] == "starting":  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.05)
        return status

    async def ask(self, op: str, **members: object) -> dict[str, Any]:
        """One request over the control socket."""
        return await asyncio.to_thread(ask, self.folder / "control.sock", {"op": op, **members}, 45.0)

    async def component(self, name: str) -> dict[str, Any]:
        """One part of the health in the status."""
        status = await self.status()
        return next(part for part in status["health"]["components"] if part["name"] == name)

    async def has_component(self, name: str, state: str, *, deadline_s: float = 30.0) -> dict[str, Any]:
        """Wait until the status says this of a part; returns all that it says."""
        async with asyncio.timeout(deadline_s):
            # The answer comes over a socket; there is no event to wait for.
            while (part := await self.component(name))["state"] != state:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.05)
        return part

    async def uplink_fails(self, reason: str) -> dict[str, Any]:
        """Wait until the status says that the uplink is down for this reason; returns all that it says of it."""
        async with asyncio.timeout(30):
            while True:
                uplink: dict[str, Any] = (await self.status())["uplink"]
                if (uplink["up"], uplink["reason"]) == (False, reason):
                    return uplink
                await asyncio.sleep(0.05)

    def showed_tap(self, since: int, *wanted: CueName) -> bool:
        """Whether the display showed just this of the last tap, after the first ``since`` of its ``cues``.

        Invitations come and go by time, the end of the tap before may be late, and a `reading` that the next cue
        overtakes on the way to the display is never sent.
        """
        shown = [cue for cue in self.cues[since:] if cue is not CueName.INVITE]
        if CueName.READING in shown:
            return shown[shown.index(CueName.READING) :] == [CueName.READING, *wanted]
        return shown[-len(wanted) :] == list(wanted)

    async def issued(self) -> list[StoredTap]:
        """The newest rows of the outbox."""
        return await self.agent.outbox.tail(64)

    # What people do.

    async def tap(self, card: Picc | None = None, *, patience_s: float | None = None) -> TapOutcome:
        """Hold a phone (a new one without ``card``) to the reader until it is served, and let it go.

        Whoever is never served goes after ``patience_s``; without it a phone is, so it stays as long as that takes.
        """
        served = card is None or isinstance(card, SimulatedPhone)
        patience_s = patience_s or (PATIENCE_S if served else 3.0)
        field = SimulatedField(self.emulator, dwell_s=0.02, patience_s=patience_s)
        outcome = await field.tap(card)
        await self.field_clear()
        return outcome

    async def good_tap(self) -> bytes:
        """One tap by a new phone that must be served; returns the token that the phone has."""
        outcome = await self.tap()
        assert isinstance(outcome.card, SimulatedPhone)
        assert len(outcome.card.tokens) == 1, f"the phone was not served: {outcome.end}, {self.reader}"
        return outcome.card.tokens[0]

    async def next_seq(self) -> int:
        """Where the chain is now, found out by one more tap."""
        return parse(await self.good_tap()).claims.seq

    async def hold_until_done_with(self, card: Picc, *, patience_s: float = PATIENCE_S) -> None:
        """Hold anything until the agent waits for it to leave, or it left by itself, or for the whole patience.

        The agent waits for whoever was served or refused to leave.
        """

        def over() -> bool:
            return self.reader.state is ReaderState.OCCUPIED or (isinstance(card, Vanishing) and card.gone)

        self.emulator.place(card)
        with contextlib.suppress(TimeoutError):
            await self.until(over, deadline_s=patience_s)
        self.emulator.remove(card)
        await self.field_clear()

    async def hold_until_gone(self, phone: Vanishing) -> None:
        """Hold a phone that leaves by itself."""
        self.emulator.place(phone)
        await self.until(lambda: phone.gone)
        self.emulator.remove(phone)
        await self.field_clear()

    async def field_clear(self) -> None:
        """Wait until the reader takes whoever comes next for somebody new."""
        await self.until(lambda: self.reader.state is ReaderState.POLLING)
        await asyncio.to_thread(self.emulator.wait_idle, 45.0)


@asynccontextmanager
async def whole_agent(folder: Path, **options: Any) -> AsyncIterator[WholeAgent]:
    """A running agent and its hardware; ends cleanly, or the test fails."""
    terminal = WholeAgent(folder, **options)
    with ExitStack() as hardware:
        hardware.enter_context(terminal.emulator)
        hardware.enter_context(terminal.display)
        await terminal.start()
        try:
            yield terminal
        finally:
            await terminal.stop()


def cloud_site(folder: Path, host: str, port: int, **settings: Any) -> CloudSite:
    """A receiver's site on this machine's clock; a broker is expected at ``host:port``."""
    wanted = ReceiverSettings(group="test", session_expiry_s=0, **settings)
    return CloudSite(host, port, folder, wanted, clock=SystemClock(assume_synced=True))


def register(site: CloudSite, public: PublicKey) -> None:
    """Let the cloud know the terminal's key."""
    site.keys[public.kid] = KeyRecord(public, FLEET, TERMINAL)


@dataclass
class WholePath:
    """A terminal, a broker's port and the cloud behind it."""

    terminal: WholeAgent
    site: CloudSite

    @property
    def port(self) -> int:
        """The broker's."""
        return self.site.port

    @property
    def rows(self) -> list[LedgerRow]:
        """What the ledger holds."""
        return ledger_rows(self.site.folder / "ledger.db")

    async def last_seq(self) -> int:
        """The highest seq that was ever given out."""
        return (await self.terminal.agent.outbox.stats()).next_seq - 1

    async def all_stored(self) -> None:
        """Wait until the agent knows that all it issued is stored."""
        outbox = self.terminal.agent.outbox
        async with asyncio.timeout(60):
            # The answer comes from the writer thread; there is no event to wait for.
            while (stats := await outbox.stats()).pending + stats.leased + stats.sent:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    async def audit(self) -> None:
        """The ledger is a complete, unbroken chain that nobody edited, and nothing was refused."""
        audits = await self.site.ledger.audit()
        assert [(audit.holes, audit.breaks, audit.index_agrees) for audit in audits] == [((), (), True)]
        assert audits[0].through == audits[0].count == len(self.rows)
        stats = await self.site.ledger.stats()
        assert set(stats.verdicts) <= {"fresh", "late"}


@asynccontextmanager
async def whole_path(folder: Path, *, rewards: RewardPolicy | None = None, **options: Any) -> AsyncIterator[WholePath]:
    """A terminal and the cloud on an embedded broker, connected."""
    with EmbeddedBroker() as broker:
        site = cloud_site(folder, broker.host, broker.port)
        site.rewards = rewards
        await site.ledger.open()
        async with site.receiving(), whole_agent(folder, host=broker.host, port=broker.port, **options) as terminal:
            register(site, terminal.public)
            await terminal.connected()
            yield WholePath(terminal, site)
        await site.ledger.close()
