"""Which holes of which streams are worth a word and a ``cmd/resend``, and when. Pure: times in, effects out.

A hole counts only when nothing was filled for a while and no backlog of that terminal is coming: live taps overtake
the backlog. Asking is paced, for one stream and for all together, and ends after some tries. Before a word is said the
ledger is asked once more, since others may write it, too. It must never say that a stream is whole which it merely
forgot: what it has no room for is counted.
"""

import heapq
import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

from edge_agent.cloud.base import Stream
from edge_agent.cloud.continuity import Range, without

_MOST_COMMANDS = 8


@dataclass(frozen=True, slots=True)
class HolePolicy:
    """Times in seconds."""

    grace_s: float = 30.0
    """After the last progress of the stream or backlog of its terminal."""
    first_retry_s: float = 30.0
    longest_retry_s: float = 3600.0
    tries: int = 8
    """About two hours; then the gap is called permanent."""
    streams_per_s: float = 20.0
    """Streams reported and asked for together, over all terminals."""
    max_streams: int = 100_000
    """Streams with holes that are watched at once."""


@dataclass(frozen=True, slots=True)
class GapOpen:
    """Seqs that are missing. ``permanent``: asking has ended."""

    stream: Stream
    holes: tuple[Range, ...]
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class GapClosed:
    """What was reported missing is there, or given up by a gap record."""

    stream: Stream
    holes: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class AskAgain:
    """``cmd/resend`` for these seqs."""

    stream: Stream
    first: int
    last: int


Effect = GapOpen | GapClosed | AskAgain


@dataclass(slots=True)
class _Watched:
    holes: tuple[Range, ...]
    due_at: float
    tries: int = 0
    told: tuple[Range, ...] = ()
    """What was reported last; empty before the first report."""
    permanent: bool = False
    entry: int = 0
    """Its one valid entry among what is due; 0: none."""


class HoleWatch:
    """Watches the streams that have holes; one without costs nothing. ``now`` is CLOCK_MONOTONIC in seconds."""

    def __init__(self, policy: HolePolicy | None = None) -> None:
        self._policy = policy or HolePolicy()
        self._streams: OrderedDict[Stream, _Watched] = OrderedDict()
        self._due: list[tuple[float, int, Stream]] = []
        self._entries = 0
        self._of_terminal: dict[tuple[str, str], set[Stream]] = {}
        self._offline: set[tuple[str, str]] = set()
        self._free_at = -math.inf
        self.forgotten = 0
        """Streams with holes that had to make room."""

    def __len__(self) -> int:
        return len(self._streams)

    def stands(self, stream: Stream, holes: tuple[Range, ...], now: float) -> list[Effect]:
        """What is missing of a stream after something of it was stored, or its terminal came online."""
        watched = self._streams.get(stream)
        if not holes:
            if watched is None:
                return []
            self._drop(stream)
            return [GapClosed(stream, watched.told)] if watched.told else []
        if watched is None:
            self._make_room()
            watched = self._streams[stream] = _Watched(holes, now)
            self._of_terminal.setdefault(_terminal(stream), set()).add(stream)
            self._set_due(stream, watched, now + self._policy.grace_s)
        else:
            self._changes(stream, watched, holes, now)
        return []

    def _changes(self, stream: Stream, watched: _Watched, holes: tuple[Range, ...], now: float) -> bool:
        """Take up what is missing now; whether it has to wait anew."""
        if watched.holes == holes:
            return False
        progress = without(watched.holes, holes)
        watched.holes = holes
        self._streams.move_to_end(stream)
        if not progress and not watched.permanent:
            return False
        watched.tries, watched.permanent = 0, False
        self._set_due(stream, watched, now + self._policy.grace_s)
        return True

    def backlog(self, fleet: str, terminal: str, now: float) -> None:
        """Backlog of this terminal came: what is missing may be in what follows."""
        for stream in self._of_terminal.get((fleet, terminal), ()):
            watched = self._streams[stream]
            watched.due_at = max(watched.due_at, now + self._policy.grace_s)

    def presence(self, fleet: str, terminal: str, now: float, *, online: bool) -> None:
        """A terminal went away, or came back: nobody else can be asked."""
        name = (fleet, terminal)
        streams = self._of_terminal.get(name, ())
        if streams and not online:
            self._offline.add(name)
            return
        self._offline.discard(name)
        for stream in streams:
            watched = self._streams[stream]
            if watched.permanent:
                watched.tries = self._policy.tries - 1  # once more: it may not have been there to hear
            self._set_due(stream, watched, now + self._policy.grace_s)

    def heard(self, fleet: str, terminal: str, now: float) -> None:
        """Something came of this terminal: it is there, though an old will of its own may have said otherwise."""
        if (fleet, terminal) in self._offline:
            self.presence(fleet, terminal, now, online=True)

    def due(self, now: float) -> list[Stream]:
        """Whose turn it is, as far as the pace allows: ``act`` on each. What is not acted on has its turn again."""
        found: list[Stream] = []
        while self._due and self._due[0][0] <= now and self._free_at <= now:
            _, entry, stream = heapq.heappop(self._due)
            watched = self._streams.get(stream)
            if watched is None or watched.entry != entry:
                continue
            watched.entry = 0
            if _terminal(stream) in self._offline:
                continue  # its next birth makes it due again
            if watched.due_at > now:
                self._set_due(stream, watched, watched.due_at)
                continue
            # One second's worth may be saved up.
            self._free_at = max(self._free_at, now - 1.0) + 1.0 / self._policy.streams_per_s
            self._set_due(stream, watched, now + self._policy.grace_s)
            found.append(stream)
        return found

    def next_at(self) -> float | None:
        """When something will be due; None as long as nothing changes."""
        return max(self._due[0][0], self._free_at) if self._due else None

    def act(self, stream: Stream, holes: tuple[Range, ...], now: float) -> list[Effect]:
        """The turn of a stream of which the ledger says now that this is missing."""
        watched = self._streams.get(stream)
        if watched is None or not holes:
            return self.stands(stream, holes, now)
        if self._changes(stream, watched, holes, now):
            return []
        watched.entry = 0
        policy = self._policy
        effects: list[Effect] = []
        last = watched.tries >= policy.tries
        if (last and not watched.permanent) or watched.told != watched.holes:
            effects.append(GapOpen(stream, watched.holes, last))
            watched.told = watched.holes
        if last:
            watched.permanent = True
            return effects
        effects += [AskAgain(stream, first, last_seq) for first, last_seq in _commands(watched.holes)]
        wait = min(math.ldexp(policy.first_retry_s, watched.tries), policy.longest_retry_s)
        watched.tries += 1
        self._set_due(stream, watched, now + wait)
        return effects

    def _set_due(self, stream: Stream, watched: _Watched, at: float) -> None:
        self._entries += 1
        watched.due_at, watched.entry = at, self._entries
        heapq.heappush(self._due, (at, self._entries, stream))
        if len(self._due) > 4 * len(self._streams) + 64:
            live = self._streams.items()
            self._due = [(found.due_at, found.entry, name) for name, found in live if found.entry]
            heapq.heapify(self._due)

    def _make_room(self) -> None:
        if len(self._streams) >= self._policy.max_streams:
            self._drop(next(iter(self._streams)))
            self.forgotten += 1

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream]
        name = _terminal(stream)
        self._of_terminal[name].discard(stream)
        if not self._of_terminal[name]:
            del self._of_terminal[name]
            self._offline.discard(name)


def _terminal(stream: Stream) -> tuple[str, str]:
    return stream.fleet, stream.terminal


def _commands(holes: tuple[Range, ...]) -> list[Range]:
    """One command for each hole; of many holes those nearest to each other share one, with what lies between."""
    between = sorted(range(1, len(holes)), key=lambda at: holes[at - 1][1] - holes[at][0])
    starts = [0, *sorted(between[: _MOST_COMMANDS - 1]), len(holes)]
    return [(holes[start][0], holes[end - 1][1]) for start, end in pairwise(starts)]
