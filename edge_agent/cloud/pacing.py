"""When each stream gets its next ``ack``: at once when idle, at most one in an interval under load. Pure."""

from edge_agent.cloud.base import Stream


class AckPacer:
    """Remembers touched streams until they are due; times are CLOCK_MONOTONIC seconds given by the caller."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_at: dict[Stream, float] = {}
        self._told_at: dict[Stream, float] = {}

    def touch(self, stream: Stream, now: float) -> None:
        """Something of this stream was stored or asked for; one ack will answer all touches until then."""
        if stream not in self._due_at:
            told_at = self._told_at.get(stream)
            self._due_at[stream] = now if told_at is None else max(now, told_at + self._interval_s)

    def take_due(self, now: float, limit: int) -> list[Stream]:
        """Streams whose ack is due, at most ``limit`` of them; they count as told now."""
        self._told_at = {stream: at for stream, at in self._told_at.items() if at + self._interval_s > now}
        due: list[Stream] = []
        for stream, at in self._due_at.items():
            if at <= now and len(due) < limit:
                due.append(stream)
        for stream in due:
            del self._due_at[stream]
            self._told_at[stream] = now
        return due

    def next_due_at(self) -> float | None:
        """When ``take_due`` will have something; None if nothing was touched."""
        return min(self._due_at.values(), default=None)
