"""One broker and what a receiver needs beside it; the ledger can be told to misbehave."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.clock import Clock, FakeClock, SystemClock
from edge_agent.cloud.base import (
    ChainAudit,
    Evidence,
    LedgerError,
    LedgerStats,
    Place,
    RecordRow,
    Redemption,
    Row,
    Settled,
    Standing,
    StoreReport,
    Stream,
    TicketAsked,
)
from edge_agent.cloud.ingest import TapEvent
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.receiver import Receiver, ReceiverSettings
from edge_agent.cloud.rewards import RewardPolicy
from edge_agent.cloud.stream_events import StreamEvent
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.cloud.witness import Answer, WitnessPolicy
from edge_agent.models import ClockReading
from edge_agent.uplink.base import LinkSettings
from edge_agent.uplink.wire import Ack, Topics
from tests.fakes.mqtt_terminal import MqttTerminal
from tests.fakes.tapping_terminal import NOW, TappingTerminal
from tests.fakes.waiting import eventually


class SiteClock:
    """Real durations, a wall clock that stands still at the moment of the taps."""

    def __init__(self) -> None:
        self._real = SystemClock(assume_synced=True)
        self._fake = FakeClock(unix=NOW)
        self.ahead_s = 0.0
        """What durations are ahead of the real ones."""

    def monotonic(self) -> float:
        return self._real.monotonic() + self.ahead_s

    def read(self) -> ClockReading:
        return self._fake.read()

    def recall(self, good: ClockReading) -> None:
        self._fake.recall(good)


class MoodyLedger:
    """A real ledger that fails, or never returns from a commit that it made, as often as it is told to."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.real = ledger
        self.fail_stores = 0
        self.hang_after_commit = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.committed = asyncio.Event()
        self.stores = 0

    async def open(self) -> None:
        await self.real.open()

    async def store(
        self, rows: Sequence[Row], evidence: Sequence[Evidence] = (), records: Sequence[RecordRow] = ()
    ) -> StoreReport:
        self.stores += 1
        await self.gate.wait()
        if self.fail_stores:
            self.fail_stores -= 1
            raise LedgerError("the disk is full")
        report = await self.real.store(rows, evidence, records)
        self.committed.set()
        if self.hang_after_commit:
            await asyncio.Event().wait()
        return report

    async def tokens(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        return await self.real.tokens(places)

    async def acks(self, streams: Collection[Stream]) -> list[Ack]:
        return await self.real.acks(streams)

    async def standings(self, streams: Collection[Stream]) -> list[Standing]:
        return await self.real.standings(streams)

    async def unfinished(self, terminals: Collection[tuple[str, str]]) -> list[Stream]:
        return await self.real.unfinished(terminals)

    async def redeem(self, *, now: float, cti: bytes | None = None, nonce: bytes | None = None) -> Redemption:
        return await self.real.redeem(now=now, cti=cti, nonce=nonce)

    async def redeem_ticket(self, asked: TicketAsked, *, now: float, policy: WitnessPolicy) -> Answer:
        return await self.real.redeem_ticket(asked, now=now, policy=policy)

    async def settle_tickets(self, *, now: float, policy: WitnessPolicy) -> list[Settled]:
        return await self.real.settle_tickets(now=now, policy=policy)

    async def audit(self) -> list[ChainAudit]:
        return await self.real.audit()

    async def stats(self) -> LedgerStats:
        return await self.real.stats()

    async def close(self) -> None:
        await self.real.close()


@dataclass
class CloudSite:
    """A broker's address, a key registry, a ledger, and what the receivers on it said."""

    host: str
    port: int
    folder: Path
    settings: ReceiverSettings = field(default_factory=ReceiverSettings)
    keys: dict[bytes, KeyRecord] = field(default_factory=dict)
    events: list[TapEvent] = field(default_factory=list)
    told: list[StreamEvent] = field(default_factory=list)
    rewards: RewardPolicy | None = None
    clock: Clock = field(default_factory=SiteClock)

    def __post_init__(self) -> None:
        self.ledger = MoodyLedger(SqliteLedger(self.folder / "ledger.db"))

    def register(self, terminal: TappingTerminal, **validity: int) -> TappingTerminal:
        """Put a terminal's key into the registry."""
        record = KeyRecord(terminal.key.public, terminal.fleet, terminal.terminal, **validity)
        self.keys[terminal.key.kid] = record
        return terminal

    def wire(self, terminal: TappingTerminal) -> MqttTerminal:
        """The terminal's connection to the broker."""
        return MqttTerminal(self.host, self.port, Topics(terminal.fleet, terminal.terminal))

    def receiver(self, name: str = "receiver-1", ledger: MoodyLedger | None = None, **changes: object) -> Receiver:
        """Build a receiver; keyword arguments replace single settings."""
        return Receiver(
            lambda: LinkSettings(self.host, self.port, name),
            ledger or self.ledger,
            self.keys.get,
            clock=self.clock,
            settings=replace(self.settings, **changes),  # type: ignore[arg-type]  # names are checked by replace
            on_event=self.events.append,
            on_stream=self.told.append,
            rewards=self.rewards,
        )

    @asynccontextmanager
    async def receiving(self, name: str = "receiver-1", **changes: object) -> AsyncIterator[Receiver]:
        """Run a receiver that is connected, and stop it cleanly."""
        async with running(self.receiver(name, **changes)) as receiver:
            yield receiver

    @property
    def verdicts(self) -> list[str]:
        """Verdicts in order."""
        return [event.verdict.value for event in self.events]

    def words(self, word: str) -> list[StreamEvent]:
        """Stream events of one kind, in order."""
        return [event for event in self.told if event.word.value == word]

    async def heard(self, count: int) -> None:
        """Wait for this many events."""
        await eventually(lambda: len(self.events) >= count)


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Run a receiver until it is connected, and stop it cleanly at the end."""
    task = asyncio.create_task(receiver.run())
    try:
        await eventually(lambda: receiver.is_up or task.done())
        yield receiver
        receiver.stop()
        async with asyncio.timeout(30):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kill(task: asyncio.Task[None]) -> None:
    """End a receiver as a crash would: nothing is said and nothing is acknowledged any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
