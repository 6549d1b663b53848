"""An outbox as lines for a person and as JSON for a program: counts and rows."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.cli.outbox_agent import Facts
from edge_agent.cli.render import Paper, ago, counted
from edge_agent.errors import TokenError
from edge_agent.models import ClockTrust, TapMode
from edge_agent.outbox.base import OutboxStats, StoredRow
from edge_agent.sanitize import printable
from edge_agent.tokens.tap_token import parse

_MODES = {TapMode.PHONE_APP: "phone", TapMode.TAG_READ: "tag", TapMode.CARD: "card"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One row and what its token says; None where it says nothing readable."""

    row: StoredRow
    iat: int | None
    mode: str

    def as_json(self) -> dict[str, object]:
        """Return the machine-readable form."""
        row = self.row
        known = {"chain": row.chain.hex(), "seq": row.seq, "state": row.state, "note": row.note, "exp": row.exp}
        return {**known, "iat": self.iat, "mode": self.mode, "bytes": len(row.token)}


def seen(row: StoredRow) -> Seen:
    """Read the token of a row; ``iat`` is None if the clock was not set, or there is no token to read."""
    try:
        claims = parse(row.token).claims
    except TokenError:
        return Seen(row, None, "unreadable" if row.token else "missing")
    return Seen(row, None if claims.clk is ClockTrust.UNSET else claims.iat, _MODES[claims.mode])


def troubles(stats: OutboxStats) -> list[str]:
    """What a person should hear of first; empty if all is well."""
    found = []
    if stats.fault:
        found.append(f"TAPS CANNOT BE KEPT ({printable(stats.fault)})")
    if stats.parked:
        found.append(f"{counted(stats.parked, 'tap')} refused for good")
    if stats.gaps:
        found.append(f"TAPS WERE GIVEN UP, {counted(stats.gaps, 'gap record')} not confirmed yet")
    if stats.quarantined:
        found.append(f"{counted(len(stats.quarantined), 'damaged file')} set aside")
    return found


def print_stats(paper: Paper, facts: Facts, waits_since: int | None, where: str, now: float, *, live: bool) -> None:
    """Verdict, counts, next step."""
    stats = facts.stats
    found = troubles(stats)
    waiting = stats.pending + stats.leased
    wait = f"{counted(waiting, 'tap')} wait{'s' if waiting == 1 else ''}" if waiting else "no tap waits"
    verdict = "; ".join(found) if found else f"OK, {wait}"
    paper.wrapped(
        f"{printable(facts.terminal)}: {verdict}", kind=("bad" if stats.fault else "warn") if found else "good"
    )
    paper.print()
    paper.fields([*_stats_lines(facts, waits_since, now), ("read from", where)])
    paper.print()
    paper.wrapped(f"Next: {_next_step(stats, live=live)}")


def _stats_lines(facts: Facts, waits_since: int | None, now: float) -> Iterator[tuple[str, str]]:
    stats, bounds = facts.stats, facts.bounds
    waiting = f"{stats.pending + stats.leased:,}"
    if stats.leased:
        waiting += f", {stats.leased:,} of them on their way"
    if waits_since is not None:
        waiting += f", the oldest for {ago(max(0.0, now - waits_since))}"
    yield "waiting", waiting
    yield "sent", f"{stats.sent:,}" + (", not confirmed by the receiver yet" if facts.confirm == "receiver" else "")
    yield "stored", f"{stats.stored:,}, kept for phones that come back"
    yield "parked", f"{stats.parked:,}, refused for good"
    yield "given up", f"{stats.evicted:,} since this outbox began, {counted(stats.gaps, 'gap record')} to be confirmed"
    rows = stats.pending + stats.leased + stats.sent + stats.stored + stats.parked
    size = f"{size_text(stats.bytes_on_disk)} on disk, {counted(rows, 'row')}"
    if bounds is not None:
        size += f"; at most {size_text(bounds.max_bytes)}, {bounds.max_rows:,} rows"
        size += f", {size_text(bounds.min_free_bytes)} left free"
    yield "size", size
    yield "chain", f"{stats.chain.hex()}, next seq {stats.next_seq:,}"
    if stats.quarantined:
        yield "set aside", ", ".join(printable(name, 100) for name in stats.quarantined)
    if stats.salvaging:
        yield "salvage", "rows of a damaged file are being taken over"


def _next_step(stats: OutboxStats, *, live: bool) -> str:
    if stats.fault:
        return "look at: edge-agent logs -n 50"
    if stats.parked:
        return "see why: edge-agent outbox list --state parked"
    if stats.quarantined:
        return "keep what was set aside until somebody has looked at it, then remove it."
    if not live:
        start = "start the agent: systemctl start edge-agent"
        return f"{start}, or carry the taps home: edge-agent outbox export FILE" if _to_carry(stats) else start
    if _to_carry(stats):
        return "nothing, they are sent by themselves; without a network: edge-agent outbox export FILE"
    return "nothing to do."


def _to_carry(stats: OutboxStats) -> bool:
    return bool(stats.pending or stats.leased or stats.sent or stats.gaps)


def stats_json(facts: Facts, waits_since: int | None, *, live: bool) -> dict[str, Any]:
    """Return the machine-readable form."""
    stats = asdict(facts.stats)
    stats["chain"] = facts.stats.chain.hex()
    head = {"chain": facts.head.chain.hex(), "seq": facts.head.seq, "hash": facts.head.hash.hex()}
    return {
        "terminal": facts.terminal,
        "fleet": facts.fleet,
        "confirm": facts.confirm,
        "running": live,
        **stats,
        "head": head,
        "oldest_waiting_iat": waits_since,
        "bounds": asdict(facts.bounds) if facts.bounds is not None else None,
    }


def print_rows(paper: Paper, rows: Iterable[Seen], now: float) -> None:
    """One line for each row below its chain, and below the first of neighbours with the same note, the note."""
    chain, note = b"", ""
    for one in rows:
        if one.row.chain != chain:
            chain, note = one.row.chain, ""
            paper.print()
            paper.print(f"chain {chain.hex()}")
            paper.print(f"{'seq':>12}  {'state':<8}{'age':<14}{'redeemable':<12}{'mode':<11}{'bytes':>5}")
        paper.print(_row_line(one, now))
        if one.row.note and one.row.note != note:
            paper.wrapped(f"why: {printable(one.row.note, 200)}", indent=" " * 14)
        note = one.row.note


def _row_line(one: Seen, now: float) -> str:
    row = one.row
    age = "unknown" if one.iat is None else ago(max(0.0, now - one.iat))
    left = "no" if one.iat is None or now >= row.exp else ago(math.ceil(row.exp - now))
    return f"{row.seq:>12}  {row.state:<8}{age:<14}{left:<12}{one.mode:<11}{len(row.token):>5}"


def size_text(size: int) -> str:
    """Write bytes the way people say them."""
    if size < 1_000_000:
        return f"{math.ceil(size / 1000)} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:,.0f} MB"
