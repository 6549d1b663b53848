"""How much the outbox may hold, and what is given up when it is too much. Pure: measured sizes in, decisions out.

Never by wall time: what a clock that was set back makes old is not old. Under the floor of free space only delivered
rows go: somebody else fills the disk, and a token that was handed out is worth more than one not yet given.
"""

from dataclasses import dataclass

from edge_agent.outbox.base import Bounds
from edge_agent.outbox.runs import State

WAL_RESERVE_BYTES = 8 * 1024 * 1024
"""Part of ``max_bytes`` that is left to the WAL: 4,096 pages of it make a commit copy it back, plus that commit."""
SLACK_ROWS = 256
SLACK_PAGES = 256
"""Evict so much at least, or 2 %: one eviction for hundreds of taps, not one for each; and what a rush of taps may take
while an eviction is under way, which begins when half of it is used."""
FLOOR_PAGES = 96
"""Below the floor of free space: so many pages are kept free inside of the file while delivered rows can give them."""
LOOK_EVERY_ROWS = 64
LOOK_EVERY_S = 5.0
"""The sizes are measured again after so many taps, or with the first tap after so long."""
CROWDED_RECORDS = 128
"""From so many gap records on it is more important to have fewer of them than to keep the younger rows."""
REASON = "evicted"


@dataclass(frozen=True, slots=True)
class Usage:
    """What was measured: pages of the database, those of them that are free, and the file system below."""

    page_size: int
    pages: int
    free_pages: int
    file_bytes: int
    disk_free_bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """So many rows should go; ``lossy``: undelivered ones, too, if there are not enough others."""

    rows: int
    lossy: bool


def page_limit(bounds: Bounds, usage: Usage) -> int:
    """To how many pages the database may grow now; below the floor of free space not at all."""
    # Pages that are only in the WAL yet will lengthen the file when they are copied back.
    promised = max(0, usage.pages * usage.page_size - usage.file_bytes)
    room = max(0, usage.disk_free_bytes - bounds.min_free_bytes - promised) // usage.page_size
    return max(usage.pages, min(_page_budget(bounds, usage.page_size), usage.pages + room))


def need(bounds: Bounds, usage: Usage, rows: int) -> Need | None:
    """What has to go so that ``rows`` on disk are within the bounds, with slack for the taps to come."""
    too_many = max(_surplus(rows, bounds.max_rows, SLACK_ROWS), _rows_of(_surplus_pages(bounds, usage), usage, rows))
    if too_many:
        return Need(too_many, lossy=True)
    limit = page_limit(bounds, usage)
    usable = limit - usage.pages + usage.free_pages
    if limit < _page_budget(bounds, usage.page_size) and usable < FLOOR_PAGES // 2:
        return Need(_rows_of(FLOOR_PAGES - usable, usage, rows), lossy=False)
    return None


def spare(bounds: Bounds, usage: Usage) -> bool:
    """Whether there is room for more than the taps to come; so much is left to them by whatever is not urgent."""
    usable = page_limit(bounds, usage) - usage.pages + usage.free_pages
    return usable > _slack(_page_budget(bounds, usage.page_size), SLACK_PAGES)


def order(wanted: Need, *, crowded: bool) -> tuple[frozenset[State], ...]:
    """States in the order in which rows are given up, beside those that are stored; within one the oldest go first.

    ``crowded``: there are many gap records; then rows go by age alone, so that the gaps adjoin each other.
    """
    sent, undelivered = frozenset({State.SENT}), frozenset({State.PENDING, State.PARKED})
    if not wanted.lossy:
        return (sent,)
    return (sent | undelivered,) if crowded else (sent, undelivered)


def _page_budget(bounds: Bounds, page_size: int) -> int:
    return max(SLACK_PAGES * 4, (bounds.max_bytes - WAL_RESERVE_BYTES) // page_size)


def _surplus_pages(bounds: Bounds, usage: Usage) -> int:
    return _surplus(usage.pages - usage.free_pages, _page_budget(bounds, usage.page_size), SLACK_PAGES)


def _surplus(used: int, bound: int, least: int) -> int:
    """How much to give up: nothing until half of the slack is used, then all of the slack."""
    slack = _slack(bound, least)
    return used - (bound - slack) if used > bound - slack // 2 else 0


def _slack(bound: int, least: int) -> int:
    return min(max(least, bound // 50), bound // 4)


def _rows_of(pages: int, usage: Usage, rows: int) -> int:
    used = max(1, usage.pages - usage.free_pages)
    return -(-pages * rows // used)
