from edge_agent.outbox.base import RowRange, StoredRow
from edge_agent.outbox.listing import row_ranges, stored_rows
from edge_agent.outbox.rows import ChainLoad, Rows, Span

OLD, NEW = b"old-one-", b"new-one-"


def rows_of(*chains: ChainLoad) -> Rows:
    return Rows(chains, keep_sent_s=None, keep_newest=4)


def test_neighbours_that_nobody_can_tell_apart_are_one_range() -> None:
    rows = rows_of(
        ChainLoad(
            1, OLD, 3, 21, 3, (Span(1, 5, 9, 3, note="why"), Span(1, 10, 12, 1, at=5.0), Span(1, 13, 14, 1, at=9.0))
        ),
        ChainLoad(2, NEW, 1, 8, 1, (Span(2, 1, 2, 2), Span(2, 4, 5, 4))),
    )
    rows.lease(1, NEW, 6, 6)
    assert row_ranges(rows) == [
        RowRange(OLD, 3, 4, "pending"),
        RowRange(OLD, 5, 9, "parked", "why"),
        RowRange(OLD, 10, 14, "sent"),
        RowRange(OLD, 15, 20, "pending"),
        RowRange(NEW, 1, 2, "stored"),
        RowRange(NEW, 3, 3, "pending"),
        RowRange(NEW, 4, 5, "gone"),
        RowRange(NEW, 6, 6, "leased"),
        RowRange(NEW, 7, 7, "pending"),
    ]


def test_chains_without_rows_have_no_ranges() -> None:
    assert row_ranges(rows_of(ChainLoad(1, OLD, 5, 5), ChainLoad(2, NEW, 1, 1))) == []


def test_rows_that_are_about_to_be_deleted_are_not_shown() -> None:
    rows = rows_of(ChainLoad(1, OLD, 1, 4, 1, (Span(1, 1, 1, 4), Span(1, 2, 2, 3, note="why"))))
    found = [(seq, 90 + seq, bytes([seq])) for seq in (1, 2, 3, 9)]
    assert stored_rows(rows, OLD, found) == [
        StoredRow(OLD, 2, "parked", "why", 92, b"\x02"),
        StoredRow(OLD, 3, "pending", "", 93, b"\x03"),
    ]
