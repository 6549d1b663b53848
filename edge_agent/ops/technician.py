"""What a technician asks of the running agent: live steps, a simulated tap, the last 24 hours. Served on the socket.

It must never slow a tap: the tap path appends to a ring, everything else is worked out when somebody asks.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_agent.clock import Clock
from edge_agent.control import Op
from edge_agent.errors import ControlError, EdgeAgentError
from edge_agent.limits import NewTap, Refuse, TapLimits
from edge_agent.live.history import History, Totals, Working
from edge_agent.live.history_file import KEEP_EVERY_S, HistoryFile
from edge_agent.live.steps import StepName, StepRing
from edge_agent.models import ComponentState, Cue, StoredTap, Tap, TapFacts, TapMode
from edge_agent.outbox.base import OutboxStats
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.reports import reader_state
from edge_agent.sanitize import printable
from edge_agent.screen import ScreenCues
from edge_agent.screen_events import ScreenEvents
from edge_agent.tap_gate import TapGate
from edge_agent.trace import TapTimes
from edge_agent.uplink.wire import Result
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkState

if TYPE_CHECKING:
    from edge_agent.tags.service import TagService

MAX_WAIT_S = 4.0
"""Less than the control server gives an op."""
MAX_FOLLOWERS = 4
"""Of the eight connections that the control server takes; whoever comes later is answered at once."""
TESTS_PER_MINUTE, TESTS_AT_ONCE = 60, 20
TESTS_KNOWN = 256
_NONCE_BYTES = 16
_RUN_BYTES = 4


class IssueTap(Protocol):
    """The issuer, as far as tests need it."""

    async def __call__(self, facts: TapFacts, *, test: bool = False) -> StoredTap:
        """Store one tap; raises OutboxError."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the technician looks at; all of it is made later than the first step could be told."""

    readers: tuple[ReaderService, ...]
    surfaces: "tuple[TagService, ...]"
    bridge: Bridge
    cues: ScreenCues
    gate: TapGate
    screen_events: ScreenEvents
    issue: IssueTap
    uplink_up: Callable[[], bool]

    def names(self) -> list[str]:
        """Readers and tags, as the configuration names them."""
        return [reader.snapshot().name for reader in self.readers] + [tag.snapshot().name for tag in self.surfaces]


class Technician:
    """One for each agent; ``tell_tap`` hears what ``on_tap`` hears."""

    def __init__(self, clock: Clock, file: HistoryFile, tell_tap: Callable[[TapTimes], None] | None = None) -> None:
        self._clock = clock
        self._file = file
        self._tell_tap = tell_tap
        self._run = os.urandom(_RUN_BYTES).hex()
        self._waiting: set[asyncio.Event] = set()
        self._limits = TapLimits(taps_per_minute=TESTS_PER_MINUTE, burst=TESTS_AT_ONCE, cooldown_s=0)
        self._tests: deque[bytes] = deque(maxlen=TESTS_KNOWN)
        self._queue: int | None = None
        self._keep_at = clock.monotonic() + KEEP_EVERY_S
        now = clock.read()
        self._history: History = file.load(now)
        self._history.started(now.up)
        self.steps = StepRing(on_new=self._wake)
        self._parts: Parts | None = None

    def attend(self, parts: Parts) -> None:
        """These are the parts; before they run."""
        self._parts = parts
        for reader in parts.readers:
            reader.follow(self.steps)
        for surface in parts.surfaces:
            surface.follow(self.steps)

    def ops(self) -> dict[str, Op]:
        """Names and handlers for the control server."""
        return {"steps": self._steps_op, "simulate-tap": self._simulate_op, "history": self._history_op}

    # What the parts tell.

    def committed(self, tap: Tap, stored: StoredTap) -> None:
        """A new tap is on disk."""
        facts = tap.facts
        if tap.test:
            self._tests.append(stored.cti)
            return
        # A phone that reads a tag takes as long as it likes: what it took says nothing of the terminal.
        latency_s = None if facts.mode is TapMode.TAG_READ else stored.committed_at - facts.seen_at
        self._history.tap(tap.at.up, latency_s)

    def on_tap(self, times: TapTimes) -> None:
        """A tap went one step further (``Trace``)."""
        for name, at in ((StepName.SENT, times.sent), (StepName.STORED, times.stored)):
            if at is not None:
                self.steps.went_on(times.chain, times.seq, name, at)
        if self._tell_tap is not None:
            self._tell_tap(times)

    def on_wire(self, screen: str, cue: CueName, at: float) -> None:
        """A cue left for a screen."""
        self.steps.cue(screen, cue.value, at)

    def on_stats(self, stats: OutboxStats) -> None:
        """The outbox said how it is."""
        self._queue = stats.pending + stats.leased

    def for_people(self, result: Result) -> bool:
        """Whether the cloud's word on a tap is for a passenger: a test earns nothing."""
        return result.cti not in self._tests

    def look(self) -> None:
        """Once a second: take down how things are; every five minutes, keep it."""
        parts = self._parts
        if parts is None:
            return
        readers = [reader.snapshot() for reader in parts.readers]
        tags = [tag.snapshot() for tag in parts.surfaces]
        links = parts.bridge.snapshot()
        totals = Totals(
            refused=sum(parts.gate.refused.values()),
            lost=sum(snap.lost for snap in readers),
            reopens=sum(snap.reopens for snap in readers) + sum(tag.reopens for tag in tags),
            resets=sum(parts.screen_events.of(link.name).resets for link in links),
        )
        states = [reader_state(snap.state) for snap in readers] + [tag.condition for tag in tags]
        working = Working(
            uplink=parts.uplink_up(),
            screens=all(link.state is LinkState.UP for link in links),
            readers=all(state is ComponentState.OK for state in states),
            queue=self._queue,
        )
        self._queue = None  # an outbox that says nothing more is not known, whatever it said before
        self._history.look(self._clock.read().up, totals, working)
        if self._clock.monotonic() >= self._keep_at:
            self.keep()

    def keep(self) -> None:
        """Write the history down, for the next process of this boot."""
        self._keep_at = self._clock.monotonic() + KEEP_EVERY_S
        self._file.save(self._history)

    # What a technician asks.

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def _steps_op(self, request: Mapping[str, object]) -> dict[str, object]:
        """``after``: the last step that is known (left out: from now on), of the ``run`` that told it; ``wait_s``.

        Answers ``steps`` (`Step.as_json`), ``next`` to ask with, ``run``, and how many were ``missed`` in between.
        """
        run, after = request.get("run"), request.get("after")
        if after is not None and (type(after) is not int or after < 0):
            raise ControlError("after is no number of a step")
        wait_s = request.get("wait_s", 0)
        if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s <= MAX_WAIT_S:
            raise ControlError(f"wait_s is no number from 0 to {MAX_WAIT_S:g}")
        known = self.steps.newest if not isinstance(after, int) else after
        if (run is not None and run != self._run) or known > self.steps.newest:
            known = 0  # another process told of it
        if known == self.steps.newest and wait_s and after is not None:
            await self._until_news(wait_s)
        steps = self.steps.after(known)
        now = self._clock.monotonic()
        return {
            "run": self._run,
            "next": self.steps.newest,
            "missed": self.steps.newest - known - len(steps),
            "steps": [step.as_json(now) for step in steps],
        }

    async def _until_news(self, wait_s: float) -> None:
        if len(self._waiting) >= MAX_FOLLOWERS:
            return
        news = asyncio.Event()
        self._waiting.add(news)
        try:
            async with asyncio.timeout(wait_s):
                await news.wait()
        except TimeoutError:
            pass  # nothing happened, and that is the answer
        finally:
            self._waiting.discard(news)

    async def _history_op(self, _request: Mapping[str, object]) -> dict[str, object]:
        """`History.as_json`."""
        return self._history.as_json(self._clock.read())

    async def _simulate_op(self, request: Mapping[str, object]) -> dict[str, object]:
        """One tap, flagged test, as if a phone were at ``reader`` (the first one by default); answers its place.

        The screens show it as any tap, without a reward. Never while a phone is there. Raises ControlError.
        """
        parts = self._parts
        if parts is None:
            raise ControlError("the agent is starting", remedy="ask again in a second")
        names = parts.names()
        name = request.get("reader", names[0] if names else None)
        if name not in names:
            known = ", ".join(names) or "none"
            raise ControlError(f"no such reader: {printable(str(name))}; there are {known}")
        if _somebody_is_there(parts):
            raise ControlError("a phone is being served", remedy="try again when it has left")
        now = self._clock.monotonic()
        if any(isinstance(effect, Refuse) for effect in self._limits.handle(NewTap(None, None), now)):
            raise ControlError(f"more than {TESTS_PER_MINUTE} tests a minute", remedy="wait a little")
        before = self.steps.newest
        visit = self.steps.begin(str(name), now, technology="simulated")
        stored = await self._issue(parts, str(name), visit, now)
        return {
            "run": self._run,
            "after": before,
            "visit": visit,
            "reader": name,
            "chain": stored.chain.hex(),
            "seq": stored.seq,
        }

    async def _issue(self, parts: Parts, name: str, visit: int, seen_at: float) -> StoredTap:
        show = parts.cues.for_reader(name)
        show(Cue.READING)
        facts = TapFacts(mode=TapMode.PHONE_APP, reader=name, nonce=os.urandom(_NONCE_BYTES), seen_at=seen_at)
        try:
            stored = await parts.issue(facts, test=True)
        except EdgeAgentError as error:
            show(Cue.RESTING)
            why = printable(error.text, 120)
            self.steps.tell(visit, StepName.ENDED, self._clock.monotonic(), outcome="refused", why=why)
            raise
        now = self._clock.monotonic()
        self.steps.token(visit, now, stored.chain, stored.seq)
        show(Cue.THANKS)
        self.steps.tell(visit, StepName.ENDED, now, outcome="accepted", why="")
        return stored


def _somebody_is_there(parts: Parts) -> bool:
    serving = any(reader.snapshot().state is ReaderState.SERVING for reader in parts.readers)
    return serving or parts.bridge.current is CueName.READING
