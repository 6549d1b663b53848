"""Cuts bytes into portions, as a serial line delivers them; shows what a parser made of them."""

from itertools import pairwise

from hypothesis import strategies as st

from edge_agent.readers.profiles.base import Event, Fault, FaultKind, Parser, Reading

CUTS = st.lists(st.integers(0, 4000), max_size=12)


def portions(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def shown(events: list[Event]) -> list[bytes | FaultKind]:
    """Readings as their bytes, faults as their kinds."""
    return [event.kind if isinstance(event, Fault) else event.uid.reveal() for event in events]


def numbers(events: list[Event]) -> list[bytes]:
    return [event.uid.reveal() for event in events if isinstance(event, Reading)]


def told(parser: Parser, data: bytes, cuts: list[int] | None = None) -> list[bytes | FaultKind]:
    """Everything that the parser tells of these bytes, silence behind them included."""
    events = [event for part in portions(data, cuts or []) for event in parser.feed(part)]
    return shown(events + parser.idle())
