"""Takes the readable rows of quarantined files over into the outbox, under their own chains, behind every live tap.

Each file is read twice, in pieces: what it knows of its chains, then its rows. Then each chain is walked from its end
for holes. A salvaged token is what the file has, to the byte; whether it is genuine, the receiver judges. It never
gives up: what fails for want of space or of a sound medium is tried again later. It leaves the last space to the taps;
what was taken over by then goes out, and the rest follows as room is made.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from edge_agent.errors import EdgeAgentError, OutboxError, OutboxFault
from edge_agent.outbox import carve, takeover
from edge_agent.outbox.base import Bounds, Codec, Hole, Notice
from edge_agent.outbox.carve import MAX_CELL_BYTES, CarvedChain
from edge_agent.outbox.database import SEQ_MASK, Call, Database
from edge_agent.outbox.quarantine import broken_files, parts, remove, size
from edge_agent.outbox.raw_file import Piece, piece_at
from edge_agent.outbox.rows import ChainLoad
from edge_agent.outbox.seams import Seams
from edge_agent.outbox.takeover import Link, OldChain

log = structlog.get_logger(__name__)

KEPT_FILES = 2
"""Damaged files that stay for people to look at when all that could be read of them is in the outbox."""
RETRY_S = 60.0
_WALK_ROWS = 250
_MAX_CHAINS = 1000
_MAX_RECORDS = 10_000


@dataclass(slots=True)
class _Survey:
    """What the damaged files know of their chains; of several versions the latest counts."""

    codec: Codec
    latest: dict[bytes, CarvedChain] = field(default_factory=dict)
    floors: dict[bytes, int] = field(default_factory=dict)
    gaps: dict[bytes, dict[tuple[int, int], tuple[Hole, bytes]]] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    """Chains of which a token was found."""

    def look(self, _: Database, piece: Piece) -> None:
        """First pass."""
        for chain in carve.chains(piece.data):
            if len(self.latest) < _MAX_CHAINS or chain.id in self.latest:
                known = self.latest.setdefault(chain.id, chain)
                self.latest[chain.id] = max(known, chain, key=lambda version: version.next_seq)
                self.floors[chain.id] = max(self.floors.get(chain.id, 1), chain.first_seq)
        for token in carve.gaps(piece.data, piece.seen):
            hole = self.codec.read_gap(token)
            if hole is not None and sum(map(len, self.gaps.values())) < _MAX_RECORDS:
                self.gaps.setdefault(hole.chain, {})[hole.first, hole.last] = hole, token

    def take(self, database: Database, piece: Piece) -> None:
        """Second pass."""
        if not database.spare():
            raise OutboxError("the rest of a damaged file waits for room in the outbox", fault=OutboxFault.FULL)
        found = list(carve.rows(piece.data, piece.seen))
        self.seen |= takeover.store(database, self.codec, found, self.floors)


class Salvage:
    """The quarantined files of one outbox; ``run`` once after each opening.

    Who holds ``alone`` is the only one to delete rows and to sign gap records; ``last_number`` is that of the newest.
    """

    def __init__(
        self,
        path: Path,
        codec: Codec,
        *,
        call: Call,
        adopt: Callable[[ChainLoad], None],
        notice: Callable[[Notice], None],
        alone: asyncio.Lock,
        bounds: Bounds,
        last_number: Callable[[], int],
    ) -> None:
        self._path = path
        self._codec = codec
        self._call = call
        self._adopt = adopt
        self._notice = notice
        self._alone = alone
        self._bounds = bounds
        self._last_number = last_number
        self._names: tuple[str, ...] = ()
        self.busy = False

    def quarantined(self) -> tuple[str, ...]:
        """Names of the damaged files beside the outbox, oldest first."""
        return self._names

    async def run(self) -> None:
        """Take over what was not taken over yet; ends when that is done."""
        self._told: set[str] = set()
        self._surveyed: tuple[list[Path], _Survey, dict[str, int]] | None = None
        self._taken: dict[str, int] = {}
        try:
            while True:
                if await self._tried():
                    return
                await asyncio.sleep(RETRY_S)
        finally:
            self.busy = False

    async def _tried(self) -> bool:
        try:
            files = await self._look()
            if files:
                await self._take_over(files)
            await self.prune()
        except OutboxError as error:
            if error.fault in (OutboxFault.DAMAGED, OutboxFault.CLOSED):
                return True  # whoever opens the next database starts anew
            level = log.debug if str(error) in self._told else log.warning
            self._told.add(str(error))
            level("outbox_salvage_waits", error=str(error), again_in_s=RETRY_S)
            return False
        except EdgeAgentError as error:
            # A gap record that cannot be signed: no retry helps, the next start may.
            log.exception("outbox_salvage_failed", error=str(error))
        return True

    async def _look(self) -> list[Path]:
        """The files that are still to be taken over."""
        files, done = await self._call(lambda db: (broken_files(self._path), takeover.done(db)))
        self._names = tuple(file.name for file in files)
        waiting = [file for file in files if file.name not in done]
        self.busy = bool(waiting)
        for file in waiting:
            if file.name not in self._told:
                self._told.add(file.name)
                text = f"the outbox was damaged; it is {file.name} now, and its taps are being taken over"
                self._notice(Notice("outbox_quarantined", text, {"file": file.name}))
        return waiting

    async def _take_over(self, files: list[Path]) -> None:
        survey, unreadable = await self._survey(files)
        if not files:
            self.busy = False
            return
        waits: OutboxError | None = None
        try:
            for file in files:
                await self._each_piece(file, survey.take, done=self._taken)
        except OutboxError as error:
            if error.fault is not OutboxFault.FULL:
                raise
            waits = error
        current = await self._call(takeover.current_chain)
        chains, rows, lost = [], 0, 0
        async with self._alone:  # of a chain that is here already, a row might be deleted behind the walk
            for id_ in sorted((survey.seen | set(survey.gaps)) - {current}):
                chain, found, missing = await self._walk(id_, survey, whole=waits is None)
                chains.append(chain)
                rows, lost = rows + found, lost + missing
            done = {} if waits else unreadable
            finish = partial(
                takeover.finish, codec=self._codec, chains=chains, files=done, last_number=self._last_number()
            )
            for load in await self._call(finish):
                self._adopt(load)
        if waits:
            raise waits
        self.busy = False
        self._say_done(files, rows, lost, sum(unreadable.values()))

    async def _survey(self, files: list[Path]) -> tuple[_Survey, dict[str, int]]:
        """What the files know of their chains, and how many bytes of each cannot be read.

        Those that cannot be read at all are taken out of ``files``.
        """
        if self._surveyed is None or self._surveyed[0] != files:
            survey, unreadable = _Survey(self._codec), {}
            for file in list(files):
                try:
                    unreadable[file.name] = await self._each_piece(file, survey.look, done={})
                except OSError as error:  # it may not even be opened; the next start may do better
                    log.warning("outbox_broken_file_unreadable", file=file.name, error=str(error))
                    files.remove(file)
            self._surveyed = files, survey, unreadable
        return self._surveyed[1:]

    def _say_done(self, files: list[Path], rows: int, lost: int, unreadable: int) -> None:
        names = ", ".join(file.name for file in files)
        text = f"{rows} taps were taken over from {names}"
        text += f", {lost} are lost" if lost else ""
        text += f", {unreadable} bytes could not be read" if unreadable else ""
        log.warning("outbox_salvaged", files=names, rows=rows, lost=lost, unreadable=unreadable)
        data: dict[str, int | str] = {"file": names, "rows": rows, "lost": lost, "unreadable": unreadable}
        self._notice(Notice("outbox_salvaged", text, data))

    async def _each_piece(self, broken: Path, work: Callable[[Database, Piece], None], *, done: dict[str, int]) -> int:
        """Do the work on all of one damaged database but what is ``done``, by the names of its files.

        Returns how many bytes of the rest cannot be read.
        """

        def step(database: Database, file: Path, offset: int, tail: bytes) -> Piece | None:
            piece = piece_at(file, offset, tail)
            if piece is not None:
                work(database, piece)
                if database.checkpoint_due:
                    database.checkpoint()
            return piece

        unreadable = 0
        for file in parts(broken):
            tail, offset = b"", max(0, done.get(file.name, 0) - MAX_CELL_BYTES)
            while (piece := await self._call(partial(step, file=file, offset=offset, tail=tail))) is not None:
                offset += len(piece.data) - piece.seen
                done[file.name] = offset
                tail = piece.data[-MAX_CELL_BYTES:]
                unreadable += piece.unreadable
        return unreadable

    async def _walk(self, id_: bytes, survey: _Survey, *, whole: bool) -> tuple[OldChain, int, int]:
        """Go through one chain from its end. Returns it, its rows, and how many are lost.

        Unless all is there that can be had (``whole``), what is missing is not lost.
        """
        number = await self._call(partial(takeover.reserved_number, chain=id_))
        known = await self._call(partial(takeover.is_known, chain=id_))
        walk = _Walk(id_, survey.latest.get(id_), survey.gaps.get(id_, {}))
        below = SEQ_MASK
        while True:
            read = partial(takeover.links, codec=self._codec, number=number, below=below, limit=_WALK_ROWS)
            links: list[Link] = await self._call(read)
            for link in links:
                walk.row(link)
            if not links:
                break
            below = links[-1].seq
        return walk.result(number, survey.floors.get(id_, 0), sworn=whole and not known)

    async def prune(self) -> None:
        """Delete files that are done with; raises OutboxError.

        The newest stay, and those with unreadable blocks, for a person may have means; unless they take more room than
        the outbox itself may, or the room that is to be left free.
        """
        done, usage = await self._call(lambda db: (takeover.done(db), db.measure(self._bounds)))
        spent = [file for file in broken_files(self._path) if file.name in done]
        stay = [file for file in spent if done[file.name]] + [file for file in spent if not done[file.name]][
            -KEPT_FILES:
        ]
        sizes = {file: size(file) for file in spent}
        free = usage.disk_free_bytes + sum(sizes[file] for file in spent if file not in stay)
        for file in sorted(stay):
            if sum(sizes[kept] for kept in stay) <= self._bounds.max_bytes and free >= self._bounds.min_free_bytes:
                break
            stay.remove(file)
            free += sizes[file]
        for file in spent:
            if file not in stay:
                await self._call(partial(_removed, file=file))
        self._names = tuple(file.name for file in broken_files(self._path))


def _removed(_: Database, file: Path) -> None:
    remove(file)


class _Walk:
    """One chain: its rows from the highest down, and between them the holes that gap records tell of already."""

    def __init__(
        self, id_: bytes, chain: CarvedChain | None, records: dict[tuple[int, int], tuple[Hole, bytes]]
    ) -> None:
        self._id = id_
        self._chain = chain
        self._records = records
        self._told = sorted((hole for hole, _ in records.values()), key=lambda hole: hole.first)
        self._seams: Seams | None = None
        self._head = b""
        self._end = 0
        self._lowest = 0
        self._rows = 0
        self._gone: list[tuple[int, int]] = []

    def row(self, link: Link) -> None:
        """The next row."""
        seams = self._seams or self._begin(link.seq, link.hash)
        for hole in self._told_above(link.seq):
            seams.add(hole.first, hole.last, hole.prev, hole.hash)
        if not seams.add(link.seq, link.seq, link.prev, link.hash):
            return
        if link.seq + 1 < self._lowest:
            self._gone.append((link.seq + 1, self._lowest - 1))
        self._lowest = link.seq
        self._rows += 1

    def _begin(self, top: int, hash_: bytes) -> Seams:
        end = None
        self._end, self._head = top + 1, hash_
        if self._chain is not None and self._chain.next_seq > top:
            end = self._end, self._head = self._chain.next_seq, self._chain.head
        self._lowest = self._end
        self._seams = Seams(self._id, end)
        return self._seams

    def _told_above(self, seq: int) -> Iterator[Hole]:
        """Gap records between this row and the one before; what overlaps a row is of no use for the walk."""
        ceiling = self._lowest
        while self._told and self._told[-1].first > seq:
            hole = self._told.pop()
            if hole.last < ceiling:
                ceiling = hole.first
                yield hole

    def result(self, number: int, floor: int, *, sworn: bool) -> tuple[OldChain, int, int]:
        """The chain as it is to be, its rows, and how many are lost; ``sworn``: with gap records about them."""
        seams = self._seams
        if seams is None:
            top = self._told[-1] if self._told else None
            seams = self._begin(top.last if top else 0, top.hash if top else bytes(16))
        for hole in self._told_above(0):
            seams.add(hole.first, hole.last, hole.prev, hole.hash)
        unsworn = seams.finish(floor) if floor else 0
        lost = unsworn + sum(hole.last - hole.first + 1 for hole in seams.holes)
        old = OldChain(
            id=self._id,
            number=number,
            first_seq=max(1, self._lowest),
            next_seq=max(1, self._end),
            head=self._head,
            gone=tuple(self._gone),
            broken=tuple(seams.broken),
            holes=tuple(reversed(seams.holes)) if sworn else (),
            records=tuple(self._records.values()),
        )
        return old, self._rows, lost if sworn else 0
