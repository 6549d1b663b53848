"""All that changes the ledger, in SQL, on the ledger's thread and within a transaction of its owner.

Nothing is remembered that another writer could change, and nothing at all of a transaction that was rolled back.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

from edge_agent.cloud import continuity
from edge_agent.cloud.base import (
    MAX_UNFINISHED,
    Disposition,
    Evidence,
    GapRow,
    Place,
    Rebased,
    RecordRow,
    Redemption,
    Row,
    Settled,
    Standing,
    StoreReport,
    Stream,
    TicketAsked,
)
from edge_agent.cloud.ledger_evidence import count_refusals, evidence_of, keep_evidence
from edge_agent.cloud.ledger_ranges import ACCOUNTED, add_range
from edge_agent.cloud.ledger_records import claims, claims_of, let_go, put_checkpoint, put_gap, token_at, withhold
from edge_agent.cloud.ledger_spending import redeem
from edge_agent.cloud.ledger_sql import Database
from edge_agent.cloud.ledger_tickets import redeem_ticket, settle_tickets
from edge_agent.cloud.ledger_times import Boots
from edge_agent.cloud.verifier import Verdict
from edge_agent.cloud.witness import Answer, WitnessPolicy
from edge_agent.uplink.wire import Ack

_STREAM_IDS_KEPT = 100_000

_INSERT_TAP = """
INSERT INTO tap (stream, seq, token, verdict, redeemable, received_at, kid, iat, exp, clk, boot, up, prev, mode,
                 nonce, sub, campaign, test)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_STANDING = """
SELECT (SELECT last FROM island WHERE stream = ? ORDER BY first DESC LIMIT 1),
       (SELECT seq FROM checkpoint WHERE stream = ?)
"""
# A range that does not begin with 1 has a hole before it: ranges never adjoin.
_UNFINISHED = """
SELECT chain FROM stream WHERE terminal = ? AND fleet = ? AND (
    EXISTS (SELECT 1 FROM island WHERE island.stream = stream.id AND first > 1)
    OR (SELECT seq FROM checkpoint WHERE checkpoint.stream = stream.id)
     > COALESCE((SELECT last FROM island WHERE island.stream = stream.id ORDER BY first DESC LIMIT 1), 0))
ORDER BY id DESC LIMIT ?
"""


class _Findings:
    """What one call of ``store`` brings to light."""

    def __init__(self, rows: int, records: int) -> None:
        self.dispositions = [Disposition.STORED] * rows
        self.records = [Disposition.STORED] * records
        self.evidence: list[Evidence] = []
        self.breaks: list[Place] = []
        self.rebased: list[Rebased] = []
        self.rebased_at: dict[Place, int] = {}


class LedgerWriter:
    """Every method runs inside a transaction of the caller; after a roll-back the caller calls ``forget``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._boots = Boots(db)
        self._stream_ids: dict[Stream, int] = {}

    def forget(self) -> None:
        """Believe nothing that was not read anew."""
        self._stream_ids.clear()
        self._boots.forget()

    def store(self, rows: Sequence[Row], evidence: Sequence[Evidence], records: Sequence[RecordRow]) -> StoreReport:
        """Keep all of this; see ``Ledger.store``."""
        found = _Findings(len(rows), len(records))
        taps: defaultdict[Stream, list[int]] = defaultdict(list)
        others: defaultdict[Stream, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            (others if row.withheld else taps)[row.stream].append(index)
        said: defaultdict[Stream, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            said[record.stream].append(index)
        for stream in {**taps, **others, **said}:
            stream_id = self._stream_id(stream)
            fresh = self._store_taps(stream, stream_id, rows, taps[stream], found)
            fresh |= self._withhold(stream_id, rows, others[stream], found)
            extra = self._store_records(stream_id, records, said[stream], found)
            links = {link for seq in fresh for link in (seq, seq + 1)} | {link for link, _ in extra}
            for run in continuity.runs(links):
                broken = continuity.broken_links([*claims(self._db, stream_id, run), *extra], links)
                found.breaks += [(stream, link) for link in broken if run[0] <= link <= run[1]]
        for kid in {row.kid for row in rows if row.withheld}:
            let_go(self._db, kid)
        keep_evidence(self._db, [*evidence, *found.evidence])
        return StoreReport(
            dispositions=tuple(found.dispositions),
            breaks=tuple(found.breaks),
            records=tuple(found.records),
            rebased=tuple(found.rebased),
            rebased_at=found.rebased_at,
        )

    def _store_taps(
        self, stream: Stream, stream_id: int, rows: Sequence[Row], indexes: Sequence[int], found: _Findings
    ) -> set[int]:
        """Store the taps of one stream, fill in their dispositions, return the seqs that are new."""
        first_by_seq: dict[int, int] = {}
        for index in indexes:
            first_by_seq.setdefault(rows[index].seq, index)
        kept: dict[int, bytes] = {}
        new: list[Row] = []
        for run in continuity.runs(first_by_seq):
            query = "SELECT seq, token FROM tap WHERE stream = ? AND seq BETWEEN ? AND ?"
            kept.update(self._db.execute(query, (stream_id, *run)).fetchall())
            add_range(self._db, ACCOUNTED, stream_id, run)
        for seq, index in first_by_seq.items():
            if seq not in kept:
                kept[seq] = rows[index].token
                new.append(rows[index])
        self._db.executemany(_INSERT_TAP, (_columns(stream_id, row) for row in new))
        fresh = {row.seq for row in new}
        duplicates = 0
        for index in indexes:
            row = rows[index]
            if row.seq in fresh and first_by_seq[row.seq] == index:
                continue
            if kept[row.seq] == row.token:
                found.dispositions[index] = Disposition.DUPLICATE
                duplicates += 1
            else:
                found.dispositions[index] = Disposition.CONFLICT
                found.evidence.append(_other_bytes(row, Verdict.CONFLICT))
        if duplicates:
            self._db.execute("UPDATE stream SET duplicates = duplicates + ? WHERE id = ?", (duplicates, stream_id))
        if new:
            rebased, dated = self._boots.rebase(stream, stream_id, new)
            found.rebased += rebased
            found.rebased_at.update(dated)
        return fresh

    def _withhold(self, stream_id: int, rows: Sequence[Row], indexes: Sequence[int], found: _Findings) -> set[int]:
        """Keep the tokens of one stream that are no taps; return the seqs that are new."""
        fresh: set[int] = set()
        for index in indexes:
            row = rows[index]
            disposition = found.dispositions[index] = withhold(self._db, stream_id, row)
            if disposition is Disposition.CONFLICT:
                found.evidence.append(_other_bytes(row, row.verdict))
                continue
            count_refusals(self._db, row.verdict, 1)
            if disposition is Disposition.STORED:
                fresh.add(row.seq)
                add_range(self._db, ACCOUNTED, stream_id, (row.seq, row.seq))
        return fresh

    def _store_records(
        self, stream_id: int, records: Sequence[RecordRow], indexes: Sequence[int], found: _Findings
    ) -> list[continuity.Claim]:
        """Keep the records of one stream; return what those that are no repetition say of links."""
        said: list[continuity.Claim] = []
        for index in indexes:
            record = records[index]
            if isinstance(record, GapRow):
                disposition = put_gap(self._db, stream_id, record)
                if disposition is Disposition.STORED:
                    add_range(self._db, ACCOUNTED, stream_id, (record.first, record.last))
                repeated = disposition is Disposition.DUPLICATE
            else:
                disposition = put_checkpoint(self._db, stream_id, record)
                repeated = False  # what goes less far may contradict a row all the same
            found.records[index] = disposition
            if disposition is Disposition.CONFLICT:
                reason = "a record of the same place says another hash"
                proof = evidence_of(record.stream, "chain_break", reason, record.record, record.received_at)
                found.evidence.append(proof)
            if not repeated:
                said += claims_of(record)
        return said

    def _stream_id(self, stream: Stream) -> int:
        known = self._stream_ids.get(stream) or self._find_stream(stream)
        if known is None:
            cursor = self._db.execute(
                "INSERT INTO stream (fleet, terminal, chain) VALUES (?, ?, ?)",
                (stream.fleet, stream.terminal, stream.chain),
            )
            assert cursor.lastrowid is not None  # noqa: S101 (an INSERT always sets it; the stub cannot know)
            known = cursor.lastrowid
        if len(self._stream_ids) >= _STREAM_IDS_KEPT:
            self._stream_ids.clear()
        self._stream_ids[stream] = known
        return known

    def _find_stream(self, stream: Stream) -> int | None:
        found = self._db.execute(
            "SELECT id FROM stream WHERE chain = ? AND terminal = ? AND fleet = ?",
            (stream.chain, stream.terminal, stream.fleet),
        ).fetchone()
        return None if found is None else int(found[0])

    def tokens(self, places: Collection[Place]) -> dict[Place, bytes]:
        """The bytes of taps stored at these places."""
        found: dict[Place, bytes] = {}
        for stream, seq in places:
            token = token_at(self._db, self._find_stream(stream), seq)
            if token is not None:
                found[stream, seq] = token
        return found

    def standing(self, stream: Stream) -> Standing:
        """What an ack says of this stream, and how far it is known to go."""
        stream_id = self._stream_ids.get(stream) or self._find_stream(stream)
        if stream_id is None:
            return Standing(Ack(chain=stream.chain, through=0))
        query = "SELECT first, last FROM island WHERE stream = ? ORDER BY first LIMIT ?"
        lowest = self._db.execute(query, (stream_id, continuity.MAX_MISSING + 1)).fetchall()
        last, promised = self._db.execute(_STANDING, (stream_id, stream_id)).fetchone()
        through, missing = continuity.ack_ranges(lowest)
        ack = Ack(chain=stream.chain, through=through, missing=missing)
        return Standing(ack, last or 0, max(last or 0, promised or 0))

    def unfinished(self, terminals: Collection[tuple[str, str]]) -> list[Stream]:
        """Streams with holes of these terminals, the newest first."""
        return [
            Stream(fleet, terminal, bytes(chain))
            for fleet, terminal in terminals
            for (chain,) in self._db.execute(_UNFINISHED, (terminal, fleet, MAX_UNFINISHED))
        ]

    def redeem(self, now: float, cti: bytes | None, nonce: bytes | None) -> Redemption:
        """Spend a tap; see ``Ledger.redeem``."""
        return redeem(self._db, now, cti, nonce)

    def redeem_ticket(self, asked: TicketAsked, now: float, policy: WitnessPolicy) -> Answer:
        """Redeem a ticket; see ``Ledger.redeem_ticket``."""
        return redeem_ticket(self._db, asked, now, policy)

    def settle_tickets(self, now: float, policy: WitnessPolicy) -> list[Settled]:
        """Grant what waits and is witnessed by now; see ``Ledger.settle_tickets``."""
        return settle_tickets(self._db, now, policy)


def _columns(stream_id: int, row: Row) -> tuple[object, ...]:
    return (
        stream_id,
        row.seq,
        row.token,
        row.verdict,
        row.redeemable,
        row.received_at,
        row.kid,
        row.iat,
        row.exp,
        row.clk,
        row.boot,
        row.up,
        row.prev,
        row.mode,
        row.nonce,
        row.sub,
        row.campaign,
        row.test,
    )


def _other_bytes(row: Row, verdict: str) -> Evidence:
    stream = row.stream
    reason = f"another token is stored as {stream.chain.hex()}/{row.seq} of {stream.fleet}/{stream.terminal}"
    return evidence_of(stream, verdict, reason, row.token, row.received_at)
