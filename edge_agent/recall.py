"""What a new process takes up from the outbox of the one before: the last good time, and tokens to give again."""

import asyncio

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, TokenError
from edge_agent.issuer import Issuer, life_left
from edge_agent.models import ClockReading, ClockTrust, TapMode
from edge_agent.outbox.base import Outbox
from edge_agent.tokens.tap_token import parse

log = structlog.get_logger(__name__)

RECENT_TOKENS = 64
_KEEP_WITHIN_S = 0.5


async def recall_clock(outbox: Outbox, clock: Clock) -> None:
    """Let the clock know before which time no undisciplined wall clock is right; raises OutboxError."""
    good = await outbox.last_wall()
    if good is not None:
        clock.recall(good)


async def keep_clock(outbox: Outbox, clock: Clock) -> None:
    """At the end: keep the time for the process after this one; a disk that does not take it costs half a second."""
    good = clock.read()
    if good.trust is ClockTrust.UNSET:
        return
    try:
        async with asyncio.timeout(_KEEP_WITHIN_S):
            await outbox.remember_wall(good, at_once=True)
    except (OutboxError, TimeoutError) as error:
        log.warning("last_time_not_kept", error=str(error) or "the storage hangs")


async def recall_tokens(outbox: Outbox, issuer: Issuer, clock: Clock, ttl: int) -> None:
    """A phone that comes back after our restart gets the token that it was given before; raises OutboxError."""
    now = clock.read()
    for stored in await outbox.tail(RECENT_TOKENS):
        try:
            claims = parse(stored.token).claims
        except TokenError as error:
            log.warning("stored_token_unreadable", seq=stored.seq, error=error.text)
            continue
        if claims.nonce is not None and claims.mode == TapMode.PHONE_APP:
            issued = ClockReading(claims.iat, ClockTrust(claims.clk), claims.boot, claims.up)
            key = (TapMode.PHONE_APP, claims.nonce, claims.sub)
            issuer.remember(key, stored, life_s=life_left(issued, now, ttl))
