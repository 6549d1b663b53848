"""What the receiver has to say about a whole stream: gaps, broken links, records, true times. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edge_agent.cloud.base import StoreReport, Stream
from edge_agent.cloud.continuity import Range


class StreamWord(StrEnum):
    """Kinds of events; ``gap`` and ``chain_break`` are verdicts of the contract."""

    GAP = "gap"
    GAP_CLOSED = "gap_closed"
    CHAIN_BREAK = "chain_break"
    GAP_RECORD = "gap_record"
    CHECKPOINT = "checkpoint"
    RECORD_REFUSED = "record_refused"
    REBASED = "rebased"


ALARMING = frozenset({StreamWord.GAP, StreamWord.CHAIN_BREAK, StreamWord.RECORD_REFUSED})


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event; ``text`` is for people, ``facts`` are further plain values of its kind."""

    word: StreamWord
    fleet: str | None
    terminal: str | None
    chain: bytes | None
    text: str
    seqs: tuple[Range, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """One line of ``edge-agent receive --json``; byte strings as lowercase hex."""
        return {
            "event": self.word.value,
            "fleet": self.fleet,
            "terminal": self.terminal,
            "chain": None if self.chain is None else self.chain.hex(),
            "seqs": [list(pair) for pair in self.seqs],
            "text": self.text,
            **self.facts,
        }


def shown(seqs: tuple[Range, ...], most: int = 6) -> str:
    """``4, 7-9 and 3 more``: for people."""
    parts = [f"{first}" if first == last else f"{first}-{last}" for first, last in seqs[:most]]
    return ", ".join(parts) + (f" and {len(seqs) - most} more" if len(seqs) > most else "")


def report_events(report: StoreReport) -> list[StreamEvent]:
    """What one transaction brought to light beside its own rows and records."""
    events = []
    for stream, seq in report.breaks:
        text = f"the link between seq {seq - 1} and {seq} does not hold"
        events.append(_event(StreamWord.CHAIN_BREAK, stream, text, ((seq, seq),)))
    for found in report.rebased:
        text = f"{found.rows} taps without a clock have their time"
        facts = {"boot": found.boot.hex(), "began_at": found.offset, "rows": found.rows}
        events.append(_event(StreamWord.REBASED, found.stream, text, (), facts))
    return events


def gap_event(stream: Stream, holes: tuple[Range, ...], *, closed: bool, permanent: bool) -> StreamEvent:
    """A hole was found, given up asking for, or closed."""
    if closed:
        return _event(StreamWord.GAP_CLOSED, stream, f"nothing is missing any more: {shown(holes)}", holes)
    text = f"missing: {shown(holes)}" + ("; the terminal was asked in vain" if permanent else "")
    return _event(StreamWord.GAP, stream, text, holes, {"permanent": permanent})


def _event(
    word: StreamWord, stream: Stream, text: str, seqs: tuple[Range, ...], facts: Mapping[str, Any] | None = None
) -> StreamEvent:
    return StreamEvent(word, stream.fleet, stream.terminal, stream.chain, text, seqs, facts or {})
