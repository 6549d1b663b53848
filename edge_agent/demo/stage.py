"""The main job on this machine: embedded broker, receiver, agent, emulated PN532 and phones, emulated display, page.

A second composition root beside ``app``. Only the hardware is emulated: the driver, the broker, the database, the
receiver and the page are the real ones, and the agent is configured by a real file.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from edge_agent.app import Agent
from edge_agent.clock import SystemClock
from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.cloud.ingest import TapEvent
from edge_agent.cloud.keyset import KeySet, entry_from_show
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.receiver import Receiver, ReceiverSettings
from edge_agent.cloud.rewards import CampaignRewards, Reward
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.simulation.field import SimulatedField
from edge_agent.simulation.pn532_chip import REALISTIC
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file
from edge_agent.tokens.tap_token import parse
from edge_agent.trace import TapTimes
from edge_agent.uplink.base import LinkSettings
from firmware_bridge.simulator import McuSimulator

FLEET, TERMINAL, CAMPAIGN = "demo", "demo-000001-a", "c-1"
BAUD = 115_200
STARTED_WITHIN_S = 10.0
STORED_WITHIN_S = 10.0

CONFIG = """\
[terminal]
id = "{terminal}"
fleet = "{fleet}"
campaign = "{campaign}"

[[campaigns]]
name = "{campaign}"
text_zh = "碰一碰 领红包"
text_en = "Tap for a red packet"
colours = ["#ff6a4d", "#ffb84d"]

[[readers]]
driver = "pn532"
device = "{reader}"

[[screens]]
driver = "serial"
device = "{screen}"

[[screens]]
driver = "web"
port = {page_port}

[keys]
path = "{folder}/tap.key"

[outbox]
path = "{folder}/outbox.db"

[uplink]
host = "{broker_host}"
port = {broker_port}

[control]
socket = "{folder}/control.sock"

[clock]
trust = "assume-synced"  # both ends are this machine: whatever its clock says, they agree
"""


def config_text(folder: Path, *, reader: str, screen: str, page_port: int, broker: tuple[str, int]) -> str:
    """The configuration of the demo's terminal, all of whose files are in ``folder``."""
    return CONFIG.format(
        terminal=TERMINAL,
        fleet=FLEET,
        campaign=CAMPAIGN,
        reader=reader,
        screen=screen,
        page_port=page_port,
        folder=folder,
        broker_host=broker[0],
        broker_port=broker[1],
    )


class Stage:
    """All parts of the demo, started by ``raised``, and what they report of each tap."""

    def __init__(self, folder: Path, page_port: int) -> None:
        self.folder = folder
        self._page_port = page_port
        self._times: dict[tuple[bytes, int], TapTimes] = {}
        self._events: dict[tuple[bytes, int], TapEvent] = {}
        self._changed = asyncio.Event()
        self.display: McuSimulator | None = None
        self.page = ""
        self.broker = ""

    @contextlib.asynccontextmanager
    async def raised(self) -> AsyncIterator[SimulatedField]:
        """Start everything; yields the antenna with its people. Ends everything, the broker last."""
        async with AsyncExitStack() as stack:
            broker = stack.enter_context(EmbeddedBroker())
            emulator = stack.enter_context(Pn532Emulator(baud_model=BAUD, timing=REALISTIC))
            display = stack.enter_context(McuSimulator())
            self.display = display
            self.broker = f"mqtt://{broker.host}:{broker.port}"
            self.page = f"http://127.0.0.1:{self._page_port}/?bg=1"
            config = self.folder / "edge-agent.toml"
            config.write_text(
                config_text(
                    self.folder,
                    reader=emulator.device_path,
                    screen=display.device_path,
                    page_port=self._page_port,
                    broker=(broker.host, broker.port),
                ),
                encoding="utf-8",
            )
            public = create_key_file(self.folder / "tap.key").public
            keys = KeySet([entry_from_show(public.registration(), fleet=FLEET, terminal=TERMINAL)])
            ledger = SqliteLedger(self.folder / "ledger.db")
            await ledger.open()
            stack.push_async_callback(ledger.close)
            receiver = Receiver(
                lambda: LinkSettings(broker.host, broker.port, client_id="demo-receiver"),
                ledger,
                keys.lookup,
                clock=SystemClock(assume_synced=True),
                settings=ReceiverSettings(group="demo", session_expiry_s=0),
                on_event=self._verified,
                rewards=CampaignRewards({CAMPAIGN: Reward("Red packet", 188)}),
            )
            agent = Agent(checked(load(config, {})), on_tap=self._stepped)
            async with asyncio.TaskGroup() as group:
                group.create_task(receiver.run())
                group.create_task(agent.run())
                try:
                    await self._until(lambda: receiver.is_up and agent.takes_taps, STARTED_WITHIN_S, "start")
                    yield SimulatedField(emulator)
                finally:
                    agent.stop()
                    receiver.stop()

    async def outcome_of(self, token: bytes) -> tuple[TapTimes, TapEvent]:
        """Wait until this token is stored and the agent knows it; raises TimeoutError."""
        claims = parse(token).claims
        key = (claims.chain, claims.seq)
        await self._until(
            lambda: key in self._events and key in self._times and self._times[key].stored is not None,
            STORED_WITHIN_S,
            "store the tap",
        )
        return self._times.pop(key), self._events.pop(key)

    def _verified(self, event: TapEvent) -> None:
        if event.chain is not None and event.seq is not None:
            self._events[event.chain, event.seq] = event
        self._changed.set()

    def _stepped(self, times: TapTimes) -> None:
        self._times[times.chain, times.seq] = times
        self._changed.set()

    async def _until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), 0.05)
        except TimeoutError:
            raise TimeoutError(f"could not {what} within {within_s:g} s") from None
