"""From what a reader learnt to a token on disk; a phone that comes again gets its token again.

A phone that lost the field after the commit comes back with the same nonce: it must get the same token, not a second
tap (contract, section 2). The memory of nonces is bounded in number and, by the monotonic clock, to the token's life.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import ClockReading, ClockTrust, StoredTap, Tap, TapFacts, TapMode
from edge_agent.tap_gate import TapGate

MEMO_LIMIT = 1024
STALLED_S = 2.0
"""A commit that takes longer: the phone that comes again is not kept waiting once more."""

_Key = tuple[TapMode, bytes, bytes | None]
"""Mode, nonce and, where the app gives one, its pseudonym: a phone that shows a ticket's nonce is no read of it."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    since: float
    until: float
    result: asyncio.Future[StoredTap]


class Issuer:
    """Issues one token per tap; ``on_new`` hears of each new one right after its commit, never of a repetition.

    ``campaign`` tells which one was showing at a moment (CLOCK_MONOTONIC): a tap is of the advert that its phone saw.
    """

    def __init__(
        self,
        *,
        append: Callable[[Tap], Awaitable[StoredTap]],
        clock: Clock,
        ttl: int,
        campaign: Callable[[float], str | None],
        on_new: Callable[[Tap, StoredTap], None],
        gate: TapGate,
    ) -> None:
        self._append = append
        self._clock = clock
        self._ttl = ttl
        self._campaign = campaign
        self._on_new = on_new
        self._gate = gate
        self._memo: OrderedDict[_Key, _Remembered] = OrderedDict()
        self.repeated = 0

    async def issue(self, facts: TapFacts, *, test: bool = False) -> StoredTap:
        """Store one tap and return its token, or the one that this nonce already has. Raises OutboxError, TapRefused.

        A technician's ``test`` neither asks the limits nor counts for them: whoever makes it has limits of its own.
        Cancelling the caller does not cancel the commit: a token that may be on disk must be remembered.
        """
        now = self._clock.monotonic()
        self._forget(now)
        key = (facts.mode, facts.nonce, facts.sub) if facts.nonce is not None else None
        if key is not None and (known := self._memo.get(key)) is not None and known.until > now:
            if not known.result.done() and now - known.since > STALLED_S:
                raise OutboxError("the tap still waits for the storage", fault=OutboxFault.BUSY)
            self.repeated += 1
            self._gate.repeated(*key[1:])
            return await asyncio.shield(known.result)
        admitted = None if test else self._gate.admit(facts)
        campaign = self._campaign(facts.seen_at)
        tap = Tap(facts=facts, at=self._clock.read(), ttl=self._ttl, campaign=campaign, test=test)
        commit = asyncio.ensure_future(self._append(tap))
        if key is not None:
            self._memo.pop(key, None)  # the newest is the last
            self._memo[key] = _Remembered(now, now + self._ttl, commit)
        commit.add_done_callback(partial(self._settled, key, tap, admitted))
        return await asyncio.shield(commit)

    def remember(self, facts_key: _Key, stored: StoredTap, *, life_s: float) -> None:
        """Take up a token of an earlier run (read from the outbox at start) for the rest of its life."""
        if life_s <= 0:
            return
        result: asyncio.Future[StoredTap] = asyncio.get_running_loop().create_future()
        result.set_result(stored)
        now = self._clock.monotonic()
        self._memo[facts_key] = _Remembered(now, now + min(life_s, self._ttl), result)

    def _settled(self, key: _Key | None, tap: Tap, admitted: float | None, commit: asyncio.Future[StoredTap]) -> None:
        if commit.cancelled() or commit.exception() is not None:
            if key is not None and (known := self._memo.get(key)) is not None and known.result is commit:
                del self._memo[key]
            if admitted is not None:
                self._gate.failed(tap.facts, admitted)
        else:
            if admitted is not None:
                self._gate.kept(admitted)
            self._on_new(tap, commit.result())

    def _forget(self, now: float) -> None:
        while self._memo:
            oldest = next(iter(self._memo))
            if self._memo[oldest].until > now and len(self._memo) <= MEMO_LIMIT:
                return
            del self._memo[oldest]


def life_left(issued: ClockReading, now: ClockReading, ttl: int) -> float:
    """Seconds for which a token of an earlier run is still given to its phone again; at most ``ttl``, none if <= 0.

    Within one boot the uptime tells, whatever was done to the wall clock; after a reboot a trusted wall clock must.
    """
    if issued.boot == now.boot:
        return min(float(issued.up + ttl - now.up), float(ttl))
    if ClockTrust.UNSET in {issued.trust, now.trust}:
        return 0.0
    return min(float(issued.unix + ttl - now.unix), float(ttl))
