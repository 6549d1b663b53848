"""The true time of taps whose terminal had no clock: one synced token of a boot dates all others of that boot.

What a boot's first stored token with clk 2 says stands: a true time never changes afterwards, in whatever order tokens
come. It must never touch a verdict or make a tap redeemable.
"""

from collections.abc import Iterable

from edge_agent.cloud.base import Place, Rebased, Row, Stream
from edge_agent.cloud.ledger_sql import Database
from edge_agent.models import ClockTrust

REBASED_AT_A_TIME = 2000
"""Old rows dated in one transaction, about 20 ms; the next token of that boot goes on."""
_BOOTS_KEPT = 100_000

_BEGAN = "SELECT began_at FROM boot WHERE terminal = ? AND boot = ? AND fleet = ?"
_LEARN = "INSERT OR IGNORE INTO boot (fleet, terminal, boot, began_at) VALUES (?, ?, ?, ?)"
_REBASE_ROW = "UPDATE tap SET rebased_at = ? WHERE stream = ? AND seq = ?"
_REBASE = """
UPDATE tap SET rebased_at = up + ? WHERE id IN (
    SELECT id FROM tap WHERE stream IN (SELECT id FROM stream WHERE terminal = ? AND fleet = ?)
    AND boot = ? AND clk = 0 AND rebased_at IS NULL LIMIT ?)
"""


class Boots:
    """When boots began. Call ``forget`` when a transaction was rolled back."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._settled: dict[tuple[str, str, bytes], int] = {}

    def forget(self) -> None:
        """Believe nothing that was not read anew."""
        self._settled.clear()

    def rebase(self, stream: Stream, stream_id: int, rows: Iterable[Row]) -> tuple[list[Rebased], dict[Place, int]]:
        """Learn from the new rows of one stream, date them, and date what came before them."""
        unset: dict[bytes, list[Row]] = {}
        synced: dict[bytes, int] = {}
        for row in rows:
            if row.clk == ClockTrust.UNSET:
                unset.setdefault(row.boot, []).append(row)
            elif row.clk == ClockTrust.SYNCED:
                synced.setdefault(row.boot, row.iat - row.up)
        rebased: list[Rebased] = []
        dated: dict[Place, int] = {}
        for boot in {**unset, **synced}:
            known = self._settled.get((stream.fleet, stream.terminal, boot))
            began = self._began(stream, boot, synced.get(boot)) if known is None else known
            if began is None:
                continue
            mine = unset.get(boot, [])
            times = [(began + row.up, stream_id, row.seq) for row in mine]
            self._db.executemany(_REBASE_ROW, times)
            dated.update(((stream, seq), at) for at, _, seq in times)
            older = 0 if known is not None else self._rebase_older(stream, boot, began)
            if older or mine:
                rebased.append(Rebased(stream, boot, began, older + len(mine)))
        return rebased, dated

    def _began(self, stream: Stream, boot: bytes, offered: int | None) -> int | None:
        place = (stream.terminal, boot, stream.fleet)
        found = self._db.execute(_BEGAN, place).fetchone()
        if found is None and offered is not None:
            self._db.execute(_LEARN, (stream.fleet, stream.terminal, boot, offered))
            return offered
        return None if found is None else int(found[0])

    def _rebase_older(self, stream: Stream, boot: bytes, began: int) -> int:
        wanted = (began, stream.terminal, stream.fleet, boot, REBASED_AT_A_TIME)
        done = self._db.execute(_REBASE, wanted).rowcount
        if done < REBASED_AT_A_TIME:
            if len(self._settled) >= _BOOTS_KEPT:
                self._settled.clear()
            self._settled[stream.fleet, stream.terminal, boot] = began
        return done
