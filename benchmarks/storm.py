"""A broker restarts under its whole fleet: how far jitter spreads the terminals when they come back.

First 1,000 of the agent's own state machines (session and back-off, with the settings that ship) on a simulated clock:
all lose their connection at once, the broker is back after a while and answers so many CONNECTs a second, in order;
who waits too long for it runs into the connect timeout. Then real connections of the agent, whose mosquitto is killed.
Each prints a histogram of CONNECTs over time, from the moment at which the broker is back.
"""

import asyncio
import heapq
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure
from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.uplink.base import Acked, DownReason, LinkDown, LinkUp, Received
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.session import (
    CancelTimer,
    CloseLink,
    Connect,
    Effect,
    Session,
    SessionEvent,
    SetTimer,
    Start,
    Subscribe,
    TellUp,
    TimerFired,
)
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.system_parts import PARTS

TERMINALS = 1000
OUTAGES_S = (1.0, 60.0)
CONNECTS_PER_S = 100
CONNECT_TIMEOUT_S = 10.0
LATENCY_S = 0.02
REFUSED_S = 0.001
SEED = 11
REAL = 150
REAL_OUTAGE_S = 3.0
BUCKETS, BAR = 16, 60


@dataclass
class _Machine:
    """One terminal and the timer that it has set last."""

    session: Session
    timer: int = 0
    attempt: int = 0
    answered: bool = True
    connected_at: float | None = None


@dataclass
class _Broker:
    """Down until ``up_at``, then it answers ``rate`` CONNECTs a second in the order of their arrival."""

    up_at: float
    rate: float
    free_at: float = 0.0

    def answers_at(self, now: float) -> float:
        """When a CONNECT that arrives at ``now`` is answered."""
        self.free_at = max(now, self.free_at) + 1 / self.rate
        return self.free_at


class Storm:
    """Simulates until every terminal is connected again; the broker dies at 0 s."""

    def __init__(self, broker: _Broker, make_backoff: Callable[[random.Random], Backoff]) -> None:
        rng = random.Random(SEED)  # noqa: S311 - the same storm each time
        self.attempts: list[float] = []
        """When CONNECTs arrived at the broker that was up again."""
        self.refused = 0
        self.timed_out = 0
        self._broker = broker
        self._due: list[tuple[float, int, int, str, int]] = []
        self._order = itertools.count()
        self.machines = [
            _Machine(Session(filters=(), backoff=make_backoff(random.Random(rng.random()))))  # noqa: S311 - as above
            for _ in range(TERMINALS)
        ]

    def run(self) -> None:
        """All were connected for long, and all lose their connection at 0 s."""
        for number, machine in enumerate(self.machines):
            machine.session.step(Start(), -600.0)
            machine.session.step(LinkUp(session_present=False, receive_maximum=100), -600.0)
            self._carry_out(number, machine.session.step(LinkDown(DownReason.NETWORK, "the broker died"), 0.0), 0.0)
        while self._due and any(machine.connected_at is None for machine in self.machines):
            now, _, number, what, tag = heapq.heappop(self._due)
            machine = self.machines[number]
            event: SessionEvent
            if what == "timer":
                if tag != machine.timer:
                    continue  # cancelled or replaced
                event = TimerFired()
            elif tag != machine.attempt or machine.answered:
                continue  # the answer to an attempt that was given up
            else:
                machine.answered = True
                refused = LinkDown(DownReason.REFUSED, "nobody listens")
                event = refused if what == "refused" else LinkUp(session_present=False, receive_maximum=100)
            self._carry_out(number, machine.session.step(event, now), now)

    def _carry_out(self, number: int, effects: Sequence[Effect], now: float) -> None:
        machine = self.machines[number]
        for effect in effects:
            match effect:
                case Connect():
                    machine.attempt += 1
                    machine.answered = False
                    self._set_timer(number, now + CONNECT_TIMEOUT_S)
                    self._connect(number, now)
                case SetTimer(delay):
                    self._set_timer(number, now + delay)
                case CancelTimer():
                    machine.timer += 1
                case CloseLink():
                    self.timed_out += 1
                    machine.answered = True
                    down = LinkDown(DownReason.STOPPED, "closed")
                    self._carry_out(number, machine.session.step(down, now), now)
                case TellUp():
                    machine.connected_at = now
                case Subscribe():
                    raise AssertionError("these machines subscribe to nothing")

    def _connect(self, number: int, now: float) -> None:
        if now < self._broker.up_at:
            self.refused += 1
            self._push(now + REFUSED_S, number, "refused", self.machines[number].attempt)
        else:
            self.attempts.append(now)
            answered = self._broker.answers_at(now) + LATENCY_S
            self._push(answered, number, "up", self.machines[number].attempt)

    def _set_timer(self, number: int, at: float) -> None:
        self.machines[number].timer += 1
        self._push(at, number, "timer", self.machines[number].timer)

    def _push(self, at: float, number: int, what: str, tag: int) -> None:
        heapq.heappush(self._due, (at, next(self._order), number, what, tag))


class _NoJitter(Backoff):
    """Doubles like the real one, and that is all: what many clients do."""

    def next_delay(self, now: float) -> float:
        super().next_delay(now)
        return min(300.0, 2.0 ** (self.failures - 1))


def histogram(times: Sequence[float], title: str) -> None:
    """Print how many fell into each of some equal spans of time, and into the rest of it."""
    print(f"  {title}")
    width = next(step for step in (0.25, 0.5, 1, 2, 5, 10) if sorted(times)[len(times) * 95 // 100] < step * BUCKETS)
    counts = Counter(min(BUCKETS, int(at // width)) for at in times)
    for bucket in range(BUCKETS + 1):
        count = counts[bucket]
        until = f"{(bucket + 1) * width:5g} s" if bucket < BUCKETS else f"{max(times):5.1f} s"
        print(
            f"    {bucket * width:6g} to {until} {count:5d} {'#' * round(count / max(counts.values()) * BAR)}".rstrip()
        )


def _peak_and_mean(times: Sequence[float]) -> tuple[int, float]:
    """Connects in the busiest second, and the mean over the time from the first to the last."""
    return max(Counter(int(at) for at in times).values()), len(times) / (max(times) - min(times))


def _simulated(outage_s: float) -> list[Figure]:
    storm, naive = (
        Storm(_Broker(outage_s, CONNECTS_PER_S), make)
        for make in (lambda rng: Backoff(rng=rng), lambda rng: _NoJitter(rng=rng))
    )
    storm.run()
    naive.run()
    after = [at - outage_s for at in storm.attempts]
    title = f"an outage of {outage_s:g} s"
    histogram(after, f"{TERMINALS:,} simulated terminals after {title}, CONNECTs:")
    peak, mean = _peak_and_mean(after)
    naive_peak, _ = _peak_and_mean([at - outage_s for at in naive.attempts])
    up = sorted(machine.connected_at - outage_s for machine in storm.machines if machine.connected_at is not None)
    spread = peak <= naive_peak / 2
    return [
        Figure(f"simulated, {title}: connected again", len(up), "terminals", f"= {TERMINALS:,}", len(up) == TERMINALS),
        Figure("  ... CONNECTs a second, mean", mean, "1/s"),
        Figure("  ... CONNECTs in the busiest second", peak, "1/s", f"<= {naive_peak // 2}", spread),
        Figure("  ... the same without jitter", naive_peak, "1/s"),
        Figure("  ... connected after, median", up[len(up) // 2], "s"),
        Figure("  ... connected after, the last", up[-1], "s"),
        Figure("  ... CONNECTs per terminal after the outage", len(storm.attempts) / TERMINALS, ""),
        Figure("  ... attempts per terminal in the outage", storm.refused / TERMINALS, ""),
    ]


class _Owner:
    """Notes when its connection is up."""

    def __init__(self) -> None:
        self.up_at: list[float] = []

    def on_up(self, up: LinkUp) -> None:  # noqa: ARG002 - what the broker allows is of no interest here
        self.up_at.append(time.monotonic())

    def on_down(self, down: LinkDown) -> None: ...

    def on_ack(self, acked: Acked) -> None: ...

    def on_message(self, received: Received) -> None: ...


async def _real(binary: str, folder: Path) -> list[Figure]:
    broker = Mosquitto(binary, folder, quiet=True)
    owners = [_Owner() for _ in range(REAL)]
    with broker:
        connections = [
            Connection(
                partial(link_settings, broker.port, client_id=f"storm-{number}"),
                subscriptions=(),
                handler=owner,
                clock=SystemClock(assume_synced=True),
                backoff=Backoff(stable_after=1.0),
            )
            for number, owner in enumerate(owners)
        ]
        running = [asyncio.create_task(connection.run()) for connection in connections]
        try:
            await eventually(lambda: all(owner.up_at for owner in owners), deadline_s=60)
            await asyncio.sleep(1.5)  # stable
            broker.kill()
            await asyncio.sleep(REAL_OUTAGE_S)
            broker.start()
            began = time.monotonic()
            await eventually(lambda: all(len(owner.up_at) > 1 for owner in owners), deadline_s=120)
        finally:
            await asyncio.gather(*(connection.stop() for connection in connections))
            await asyncio.gather(*running)
    times = [owner.up_at[1] - began for owner in owners]
    histogram(times, f"{REAL} real connections after {REAL_OUTAGE_S:g} s without mosquitto, up again:")
    peak, mean = _peak_and_mean(times)
    return [
        Figure("real connections, up in a second, mean", mean, "1/s"),
        Figure("  ... in the busiest second", peak, "1/s", f"<= {REAL // 2}", ok=peak <= REAL // 2),
        Figure("  ... up after, the last", max(times), "s"),
    ]


def run() -> list[Figure]:
    """Measure; without mosquitto the simulation only."""
    figures = [figure for outage_s in OUTAGES_S for figure in _simulated(outage_s)]
    binary = PARTS["mosquitto"].find()
    if binary is None:
        print(f"  no real connections, no mosquitto: {PARTS['mosquitto'].how_to}")
        return figures
    with tempfile.TemporaryDirectory(prefix="bench-storm-") as name:
        return [*figures, *asyncio.run(_real(binary, Path(name)))]
