"""The outbox as checks see it: the running agent's word, or its file while no agent runs. The file is only read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_agent.diag import way
from edge_agent.diag.finding import CannotLook
from edge_agent.errors import ControlError, OutboxError, OutboxFault
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

PAGES = 4
"""Of ranges at most: a thousand each, oldest first, and what waits longest is among the first."""


class Held(CannotLook):
    """An agent has the file now, whether it answers us or not."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """Counts in rows. ``waits_exp`` and ``unconfirmed_exp``: when the oldest such token ended, Unix seconds."""

    pending: int
    sent: int
    stored: int
    parked: int
    evicted: int
    gaps: int
    bytes_on_disk: int
    max_rows: int
    max_bytes: int
    fault: str = ""
    """An OutboxFault; ``text`` says more where the file was opened here."""
    text: str = ""
    quarantined: tuple[str, ...] = ()
    salvaging: bool = False
    waits_exp: int | None = None
    unconfirmed_exp: int | None = None

    @property
    def rows(self) -> int:
        """All that are on disk."""
        return self.pending + self.sent + self.stored + self.parked


def outbox_of(site: "Site") -> Outbox:
    """Look once for all checks; raises CannotLook, Held among them."""
    found = site.once("outbox", lambda: _running(site) if site.runs else _file(site))
    if isinstance(found, CannotLook):
        raise type(found)(found.why, because=found.because, remedy=found.remedy)
    return found


def _running(site: "Site") -> Outbox | CannotLook:
    try:
        answer = site.ask({"op": "outbox.stats"})
        stats, bounds = _table(answer, "stats"), _table(answer, "bounds")
        waits = _oldest(site, "pending") if _count(stats, "pending") else None
        unconfirmed = _oldest(site, "sent") if _count(stats, "sent") else None
    except ControlError as error:
        return CannotLook(error.text, remedy=error.remedy)
    names = stats.get("quarantined")
    return Outbox(
        pending=_count(stats, "pending") + _count(stats, "leased"),
        sent=_count(stats, "sent"),
        stored=_count(stats, "stored"),
        parked=_count(stats, "parked"),
        evicted=_count(stats, "evicted"),
        gaps=_count(stats, "gaps"),
        bytes_on_disk=_count(stats, "bytes_on_disk"),
        max_rows=_count(bounds, "max_rows"),
        max_bytes=_count(bounds, "max_bytes"),
        fault=printable(str(stats.get("fault") or ""), 20),
        quarantined=tuple(printable(str(name), 120) for name in names) if isinstance(names, list) else (),
        salvaging=stats.get("salvaging") is True,
        waits_exp=waits,
        unconfirmed_exp=unconfirmed,
    )


def _oldest(site: "Site", state: str) -> int | None:
    """exp of the oldest row in ``state``; None where there is none any more, or it is far behind others."""
    skip = 0
    for _ in range(PAGES):
        answer = site.ask({"op": "outbox.ranges", "skip": skip})
        ranges = answer.get("ranges")
        if not isinstance(ranges, list):
            return None
        for chain, first, _last, found, *_ in (one for one in ranges if isinstance(one, list) and len(one) >= 4):
            if found == state:
                page = site.ask({"op": "outbox.page", "chain": chain, "after": first - 1, "limit": 1}).get("rows")
                row = page[0] if isinstance(page, list) and page else None
                return row[4] if isinstance(row, list) and len(row) > 4 and type(row[4]) is int else None
        if answer.get("more") is not True:
            return None
        skip += len(ranges)
    return None


def _file(site: "Site") -> Outbox | CannotLook:
    from edge_agent.outbox.connection import NotADatabaseError  # noqa: PLC0415 -- only where no agent runs
    from edge_agent.outbox.offline import OutboxFile  # noqa: PLC0415 -- as above
    from edge_agent.sealing import reading_codec  # noqa: PLC0415 -- as above

    wanted = site.settings.outbox
    empty = Outbox(0, 0, 0, 0, 0, 0, 0, wanted.max_rows, wanted.max_mb * 1024 * 1024)
    if not wanted.path.parent.is_dir() and way.may_read(wanted.path.parent):
        return replace(empty, fault="unusable", text=f"there is no folder {wanted.path.parent}")
    if not way.may_read(wanted.path):
        return CannotLook(f"no permission for {wanted.path}", remedy="run it with sudo")
    if not wanted.path.exists():
        return empty
    file = OutboxFile(wanted.path, reading_codec())
    try:
        file.check()
        stats, ranges = file.stats(), file.ranges()
        oldest = {state: next((one for one in ranges if one.state == state), None) for state in ("pending", "sent")}
        exps = {
            state: next((row.exp for row in file.page(one.chain, one.first - 1, 1)), None) if one else None
            for state, one in oldest.items()
        }
    except OutboxError as error:
        if error.fault is OutboxFault.HELD:
            return Held(error.text, remedy="see whether an agent with another control socket runs, or is just starting")
        fault = OutboxFault.DAMAGED if isinstance(error, NotADatabaseError) else error.fault
        return replace(empty, fault=fault.value, text=printable(error.text, 200))
    return Outbox(
        pending=stats.pending,
        sent=stats.sent,
        stored=stats.stored,
        parked=stats.parked,
        evicted=stats.evicted,
        gaps=stats.gaps,
        bytes_on_disk=stats.bytes_on_disk,
        max_rows=empty.max_rows,
        max_bytes=empty.max_bytes,
        quarantined=tuple(printable(name, 120) for name in stats.quarantined),
        waits_exp=exps["pending"],
        unconfirmed_exp=exps["sent"],
    )


def _table(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def _count(table: Mapping[str, Any], name: str) -> int:
    found = table.get(name)
    return found if type(found) is int else 0
