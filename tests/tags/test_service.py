import asyncio
import io
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from edge_agent import logs
from edge_agent.backoff import Backoff
from edge_agent.clock import FakeClock
from edge_agent.errors import EdgeAgentError, OutboxError, ReaderError, ReaderFault, TapRefused
from edge_agent.models import ClockTrust, ComponentState, Cue, StoredTap, TapFacts, TapMode
from edge_agent.tags import service
from edge_agent.tags.base import FieldGone, FieldSeen, SurfaceEvent, TicketRead
from edge_agent.tags.service import RECENT_TICKETS, Issuing, SurfaceState, TagService
from edge_agent.tags.ticket import Ticket, parse, parse_link
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.fake_surface import FakeSurface
from tests.fakes.waiting import eventually

KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
HOST, TTL = "t.example.net", 120
NAK = ReaderError(ReaderFault.NO_ANSWER, "no answer at 0x55", remedy="see to the wires")
UNPLUGGED = ReaderError(ReaderFault.UNPLUGGED, "gone")


class RealSeconds(FakeClock):
    """Elapsed time is real, so that the service's pauses end; the wall clock goes with it and is set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def monotonic(self) -> float:
        now = time.monotonic() + self._ahead
        if self.mono:
            self.unix += now - self.mono
        self.mono = now
        return now

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


@dataclass
class Bench:
    """A service at work on a fake surface, and everything that it told."""

    surface: FakeSurface = field(default_factory=FakeSurface)
    every_s: float | None = None
    cues: list[Cue] = field(default_factory=list)
    issued: list[TapFacts] = field(default_factory=list)
    issue_results: deque[Exception | asyncio.Event] = field(default_factory=deque)
    committed: int = 0

    def __post_init__(self) -> None:
        self.clock = RealSeconds()
        self.clock.mono = time.monotonic()
        self.service = TagService(
            self.surface,
            issuing=Issuing(HOST, TTL, KEY.kid, KEY.sign),
            issue=self._issue,
            show=self.cues.append,
            clock=self.clock,
            every_s=self.every_s,
            backoff=Backoff(base=0.01, cap=0.04, stable_after=60.0),
        )

    async def _issue(self, facts: TapFacts) -> StoredTap:
        self.issued.append(facts)
        result = self.issue_results.popleft() if self.issue_results else None
        if isinstance(result, Exception):
            raise result
        if result is not None:
            await result.wait()
        self.committed += 1
        return StoredTap(b"chain-id", self.committed, b"token", exp=0, committed_at=time.monotonic())

    @property
    def state(self) -> SurfaceState:
        return self.service.snapshot().state

    async def has_shown(self, count: int) -> str:
        await eventually(lambda: len(self.surface.shown) >= count and self.surface.listeners)
        return self.surface.shown[count - 1]

    async def look_again(self) -> None:
        """Something without meaning happens at the surface: the service comes by."""
        self.surface.tell(FieldGone(self.clock.monotonic()))
        await eventually(lambda: self.surface._told.empty() and self.surface.listeners)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            yield
        finally:
            done = task.done()
            task.cancel()
            await asyncio.wait({task})
            if done:
                task.result()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(autouse=True)
def _on_a_machine_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who read has not left because this machine had no time for seconds."""
    monkeypatch.setattr(service, "_THANKS_WITHIN_S", 30.0)


def ticket(url: str) -> Ticket:
    host, text = parse_link(url)
    assert host == HOST
    parsed = parse(text)
    assert parsed.verified_by(KEY.public.verify)
    return parsed.ticket


async def read_works(bench: Bench) -> None:
    """The next phone is served as if nothing had happened before."""
    await eventually(lambda: bench.state is SurfaceState.SHOWING and bench.surface.listeners)
    shown, taps = len(bench.surface.shown), bench.service.snapshot().taps
    bench.surface.read()
    await eventually(lambda: bench.service.snapshot().taps == taps + 1)
    await bench.has_shown(shown + 1)
    assert bench.cues[-2:] == [Cue.READING, Cue.THANKS]


async def test_a_sealed_ticket_of_now_is_shown(bench: Bench) -> None:
    begun = int(bench.clock.unix)
    async with bench.running():
        url = await bench.has_shown(1)
        found = ticket(url)
        assert (found.kid, found.ttl) == (KEY.kid, TTL)
        bench.clock.monotonic()
        assert begun <= found.iat <= bench.clock.unix
        snapshot = bench.service.snapshot()
        assert (snapshot.state, snapshot.condition) == (SurfaceState.SHOWING, ComponentState.OK)
        assert (snapshot.rotations, snapshot.reads, snapshot.detail) == (1, 0, "")
    assert bench.state is SurfaceState.STOPPED
    assert (bench.surface.face, bench.surface.is_open) == (None, False)


async def test_a_read_becomes_a_tap_with_the_nonce_of_that_ticket_and_a_new_ticket(bench: Bench) -> None:
    async with bench.running():
        first = await bench.has_shown(1)
        bench.surface.tell(FieldSeen(11.0))
        bench.surface.tell(TicketRead(first, field_at=11.0, at=bench.clock.monotonic()))
        second = await bench.has_shown(2)
        await eventually(lambda: bench.cues == [Cue.READING, Cue.THANKS])
        bench.surface.tell(FieldGone(12.0))
        await bench.look_again()
        assert bench.cues == [Cue.READING, Cue.THANKS], "no invitation over the thanks"
    assert bench.issued == [TapFacts(mode=TapMode.TAG_READ, reader="tag0", nonce=ticket(first).nonce, seen_at=11.0)]
    assert ticket(first).nonce != ticket(second).nonce
    snapshot = bench.service.snapshot()
    assert (snapshot.taps, snapshot.reads, snapshot.rotations) == (1, 1, 2)


async def test_the_next_ticket_does_not_wait_for_the_commit_of_the_last_one(bench: Bench) -> None:
    disk = asyncio.Event()
    bench.issue_results.append(disk)
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.read()
        await bench.has_shown(2)
        bench.surface.read()
        await bench.has_shown(3)
        await eventually(lambda: bench.service.snapshot().taps == 1)
        disk.set()
        await eventually(lambda: bench.service.snapshot().taps == 2)
    assert len({facts.nonce for facts in bench.issued}) == 2


async def test_the_commit_does_not_wait_for_a_slow_surface(bench: Bench) -> None:
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.show_takes_s = 600.0
        bench.surface.read()
        await eventually(lambda: bench.service.snapshot().taps == 1)
        assert len(bench.surface.shown) == 1


async def test_stopping_lets_a_commit_end_that_has_begun(bench: Bench) -> None:
    disk = asyncio.Event()
    bench.issue_results.append(disk)
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.read()
        await eventually(lambda: bench.issued)
        asyncio.get_running_loop().call_later(0.05, disk.set)
    assert bench.committed == 1
    assert bench.service.snapshot().taps == 1


async def test_two_phones_at_one_ticket_are_one_tap_of_the_issuer(bench: Bench) -> None:
    stored = StoredTap(b"chain-id", 7, b"token", exp=0)

    async def same(_facts: TapFacts) -> StoredTap:
        return stored

    bench.service._issue = same
    async with bench.running():
        url = await bench.has_shown(1)
        for _ in range(2):
            bench.surface.tell(TicketRead(url, field_at=1.0, at=bench.clock.monotonic()))
        await eventually(lambda: bench.service.snapshot().reads == 2 and not bench.service._taps_under_way)
        await bench.look_again()
        assert bench.service.snapshot().taps == 1
        assert len(bench.surface.shown) == 2, "the ticket that was read was replaced already"


async def test_a_ticket_that_somebody_read_beside_the_tap_stands_no_longer(bench: Bench) -> None:
    async with bench.running():
        bench.surface.read(await bench.has_shown(1))
        second = await bench.has_shown(2)
        bench.surface.tell(FieldGone(bench.clock.monotonic(), also_read=second))
        assert await bench.has_shown(3) != second
        assert [facts.nonce for facts in bench.issued] == [ticket(bench.surface.shown[0]).nonce]


async def test_a_field_that_leaves_without_a_read_gets_the_invitation_back(bench: Bench) -> None:
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.tell(FieldSeen(1.0))
        bench.surface.tell(FieldGone(2.0))
        await eventually(lambda: bench.cues == [Cue.READING, Cue.INVITE])
        await read_works(bench)
    assert bench.service.snapshot().taps == 1


@pytest.mark.parametrize("error", [TapRefused("too many taps", remedy="wait"), OutboxError("disk full")])
async def test_a_refused_tap_rests_the_screen_and_the_next_is_taken(bench: Bench, error: EdgeAgentError) -> None:
    bench.issue_results.extend([error, error])
    async with bench.running():
        with capture_logs() as told:
            await bench.has_shown(1)
            bench.surface.read()
            await bench.has_shown(2)
            bench.surface.read()
            await eventually(lambda: bench.cues.count(Cue.RESTING) == 2)
            await bench.look_again()
        assert bench.cues == [Cue.READING, Cue.RESTING] * 2
        assert [entry["log_level"] for entry in told if entry["event"] == "tap_refused"] == ["warning", "debug"]
        assert bench.service.snapshot().last_refusal == str(error)
        await bench.has_shown(3)
        await read_works(bench)
    assert (bench.service.snapshot().taps, bench.service.snapshot().reads) == (1, 3)


async def test_nobody_is_thanked_long_after_he_has_left(bench: Bench) -> None:
    disk = asyncio.Event()
    bench.issue_results.append(disk)
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.read()
        await eventually(lambda: bench.issued)
        bench.clock.advance(31)
        disk.set()
        await eventually(lambda: bench.service.snapshot().taps == 1)
        assert bench.cues == [Cue.READING]


async def test_a_read_told_by_the_next_show_is_a_tap_too(bench: Bench) -> None:
    async with bench.running():
        first = await bench.has_shown(1)
        bench.surface.untold = TicketRead(first, field_at=3.0, at=bench.clock.monotonic())
        bench.clock.advance(TTL / 2 + 1)
        await bench.look_again()
        await bench.has_shown(2)
        await eventually(lambda: bench.service.snapshot().taps == 1)
        await bench.look_again()
        assert len(bench.surface.shown) == 2
    assert [facts.nonce for facts in bench.issued] == [ticket(first).nonce]


async def test_what_is_told_in_the_moment_of_a_rotation_is_not_lost() -> None:
    class Late(FakeSurface):
        """Answers its cancellation with an event, as a driver may that had just found it."""

        late: SurfaceEvent | None = None

        async def next_event(self) -> SurfaceEvent:
            try:
                return await super().next_event()
            except asyncio.CancelledError:
                if self.late is None:
                    raise
                late, self.late = self.late, None
                return late

    surface = Late()
    bench = Bench(surface)
    async with bench.running():
        first = await bench.has_shown(1)
        surface.late = TicketRead(first, field_at=3.0, at=bench.clock.monotonic())
        bench.clock.advance(TTL / 2 + 1)
        second = await asyncio.wait_for(bench.has_shown(2), 10)
        await eventually(lambda: len(bench.issued) == 1)
        surface.late = TicketRead(second, field_at=4.0, at=bench.clock.monotonic())
    assert [facts.nonce for facts in bench.issued] == [ticket(first).nonce, ticket(second).nonce], "at the stop as well"
    assert bench.service.snapshot().taps == 2


async def test_reads_of_the_last_few_tickets_count_and_older_or_foreign_ones_are_never_invented(bench: Bench) -> None:
    async with bench.running():
        for count in range(1, RECENT_TICKETS + 2):
            await bench.has_shown(count)
            if count <= RECENT_TICKETS:
                bench.clock.advance(TTL / 2 + 1)
                await bench.look_again()
        oldest, *recent = bench.surface.shown
        with capture_logs() as told:
            bench.surface.read(oldest)
            bench.surface.read("https://evil.example/k/" + "A" * 115)
            bench.surface.read(recent[0])
            await eventually(lambda: bench.service.snapshot().taps == 1)
    snapshot = bench.service.snapshot()
    assert (snapshot.strays, snapshot.reads) == (2, 1)
    assert [facts.nonce for facts in bench.issued] == [ticket(recent[0]).nonce]
    strays = [(entry["log_level"], entry["count"]) for entry in told if entry["event"] == "unknown_ticket_read"]
    assert strays == [("warning", 1), ("debug", 2)]


async def test_a_ticket_is_replaced_in_time_though_nothing_happens() -> None:
    bench = Bench(every_s=0.1)
    async with bench.running():
        await bench.has_shown(4)
    assert len(set(bench.surface.shown)) == len(bench.surface.shown)


async def test_no_ticket_while_the_clock_is_unset_and_nobody_is_told_to_hold_still(bench: Bench) -> None:
    bench.clock.trust = ClockTrust.UNSET
    async with bench.running():
        await eventually(lambda: bench.state is SurfaceState.HIDDEN)
        assert (bench.surface.face, bench.surface.shown) == (None, [])
        snapshot = bench.service.snapshot()
        assert (snapshot.condition, "clock" in snapshot.detail) == (ComponentState.DEGRADED, True)
        bench.surface.tell(FieldSeen(1.0))
        await bench.look_again()
        assert bench.cues == []
        bench.clock.trust = ClockTrust.SYNCED
        await bench.has_shown(1)  # without any event: it looks by itself
        await read_works(bench)
        bench.clock.trust = ClockTrust.UNSET
        await eventually(lambda: bench.state is SurfaceState.HIDDEN)
        assert bench.surface.face is None


async def test_a_ticket_of_before_a_step_of_the_wall_clock_is_replaced(bench: Bench) -> None:
    async with bench.running():
        first = await bench.has_shown(1)
        bench.clock.step_wall(-3600)
        second = await bench.has_shown(2)
        bench.clock.monotonic()
        assert ticket(first).iat - 3600 - 1 <= ticket(second).iat <= bench.clock.unix


async def test_a_lost_surface_withdraws_the_invitation_until_it_shows_a_ticket_again(bench: Bench) -> None:
    async with bench.running():
        first = await bench.has_shown(1)
        bench.surface.open_errors.extend([NAK, NAK])
        bench.surface.show_errors.append(NAK)
        with capture_logs() as told:
            bench.surface.tell(UNPLUGGED)
            second = await bench.has_shown(2)
        assert first != second
        assert bench.cues == [Cue.FAULT, Cue.INVITE]
        events = [(entry["event"], entry["log_level"]) for entry in told]
        assert events == [
            ("surface_lost", "warning"),
            ("surface_lost", "debug"),
            ("surface_lost", "debug"),
            ("surface_lost", "debug"),
            ("surface_back", "info"),
        ]
        assert told[1]["remedy"] == "see to the wires"
        await read_works(bench)
    snapshot = bench.service.snapshot()
    assert (snapshot.reopens, snapshot.last_error) == (1, str(NAK))
    assert bench.surface.closed >= 5, "closed before each attempt"


async def test_a_surface_lost_at_the_start_says_why(bench: Bench) -> None:
    bench.surface.open_errors.extend([ReaderError(ReaderFault.NOT_FOUND, "no bus /dev/i2c-7")] * 3)
    async with bench.running():
        await eventually(lambda: bench.state is SurfaceState.LOST)
        snapshot = bench.service.snapshot()
        assert (snapshot.condition, snapshot.detail) == (ComponentState.FAILED, "no bus /dev/i2c-7")
        await read_works(bench)


async def test_a_ticket_that_may_have_come_up_though_showing_it_failed_is_known(bench: Bench) -> None:
    seen: list[str] = []

    class Torn(FakeSurface):
        """The write arrives, its acknowledgement does not."""

        async def show(self, url: str) -> TicketRead | None:
            seen.append(url)
            return await super().show(url)

    bench = Bench(Torn(show_errors=deque([NAK])))
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.read(seen[0])
        await eventually(lambda: bench.service.snapshot().taps == 1)
    assert bench.service.snapshot().rotations == 1, "and counts as shown only where it was"


async def test_hiding_that_fails_is_tried_again(bench: Bench) -> None:
    bench.clock.trust = ClockTrust.UNSET
    bench.surface.hide_errors.extend([NAK, NAK])
    async with bench.running():
        await eventually(lambda: bench.surface.hides == 1)
        await eventually(lambda: bench.state is SurfaceState.HIDDEN)
    assert bench.surface.opened == 3


async def test_a_driver_that_hangs_is_told_until_it_returns(bench: Bench) -> None:
    bench.surface.open_errors.extend([ReaderError(ReaderFault.HANGS, "it hangs")] * 3)
    async with bench.running():
        await eventually(lambda: bench.service.snapshot().hangs)
        await eventually(lambda: bench.state is SurfaceState.SHOWING)
        assert not bench.service.snapshot().hangs


async def test_an_announced_pause_is_a_sign_of_life_and_an_open_that_hangs_is_none() -> None:
    class Held(FakeSurface):
        async def open(self) -> object:  # type: ignore[override]  # it never gets that far
            await asyncio.Event().wait()
            raise AssertionError

    bench = Bench(Held())
    async with bench.running():
        await eventually(lambda: bench.state is SurfaceState.OPENING)
        sign = bench.service.snapshot().last_sign
        bench.clock.advance(60)
        assert bench.service.snapshot().last_sign == sign
    paused = Bench()
    paused.service._sign(100.0)
    before = paused.service.snapshot().last_sign
    paused.clock.advance(60)
    assert paused.service.snapshot().last_sign >= before + 60


async def test_stopping_is_not_hidden_by_a_surface_that_fails_at_that_moment() -> None:
    class Dying(FakeSurface):
        async def next_event(self) -> SurfaceEvent:
            try:
                return await super().next_event()
            except asyncio.CancelledError:
                raise UNPLUGGED from None

    bench = Bench(Dying())
    task = asyncio.create_task(bench.service.run())
    await bench.has_shown(1)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=10)
    assert done
    assert task.cancelled()


async def test_an_error_of_our_own_is_not_hidden(bench: Bench) -> None:
    bench.issue_results.append(KeyError("bug"))
    task = asyncio.create_task(bench.service.run())
    await bench.has_shown(1)
    bench.surface.read()
    async with asyncio.timeout(10):
        with pytest.raises(KeyError, match="bug"):
            await task
    assert not bench.surface.is_open


@pytest.fixture
def log_stream() -> io.StringIO:
    return io.StringIO()


async def test_no_ticket_is_ever_logged(bench: Bench, log_stream: io.StringIO) -> None:
    logs.configure("debug", "json", stream=log_stream, env={})
    async with bench.running():
        first = await bench.has_shown(1)
        # An adapter or library that is careless with what it was given is no way out either.
        bench.surface.tell(ReaderError(ReaderFault.IO, f"cannot write {first}", remedy=f"write {first}"))
        await bench.has_shown(2)
        bench.issue_results.append(OutboxError(f"no place for {first}"))
        bench.surface.read()
        bench.surface.read("https://evil.example/k/" + "A" * 115)
        await bench.has_shown(3)
        await eventually(lambda: bench.service.snapshot().strays == 1)
    written = log_stream.getvalue()
    events = [json.loads(line)["event"] for line in written.splitlines()]
    assert {"surface_open", "surface_lost", "surface_back", "tap_refused", "unknown_ticket_read"} <= set(events)
    assert not re.search(r"[A-Za-z0-9_-]{60}", written)
    for url in bench.surface.shown:
        assert parse_link(url)[1] not in written
        assert ticket(url).nonce.hex() not in written


def test_a_read_does_not_tell_its_ticket() -> None:
    assert "secret" not in repr(TicketRead("https://t.example.net/k/secret", 1.0, 2.0))
