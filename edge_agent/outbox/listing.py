"""The outbox as people see it: rows with the names of their states. Pure: from the map of states and what was read."""

from collections.abc import Iterable

from edge_agent.outbox.base import RowRange, StoredRow
from edge_agent.outbox.rows import Rows
from edge_agent.outbox.runs import Mark, State


def row_ranges(rows: Rows) -> list[RowRange]:
    """All rows by state; neighbours that differ in nothing that anybody sees are one range."""
    ranges: list[RowRange] = []
    for chain, run in rows.ranges():
        state, note = _shown(run.mark)
        before = ranges[-1] if ranges else None
        if before and (before.chain, before.last + 1, before.state, before.note) == (chain, run.first, state, note):
            ranges[-1] = RowRange(chain, before.first, run.last, state, note)
        else:
            ranges.append(RowRange(chain, run.first, run.last, state, note))
    return ranges


def stored_rows(rows: Rows, chain: bytes, found: Iterable[tuple[int, int, bytes]]) -> list[StoredRow]:
    """Rows as read from the disk (seq, exp, token) with their states, without those that are about to be deleted."""
    marked = ((seq, rows.mark(chain, seq), exp, token) for seq, exp, token in found)
    return [
        StoredRow(chain, seq, *_shown(mark), exp, token)
        for seq, mark, exp, token in marked
        if mark.state is not State.GONE
    ]


def _shown(mark: Mark) -> tuple[str, str]:
    return mark.state.name.lower(), mark.note
