"""When to swear to the end of the chain (contract, section 1): every 100 taps, every 10 min with news. Pure.

No checkpoint is kept: each is made anew from the head of the chain, so that the newest is always the one that is sent.
"""

EVERY_TAPS = 100
EVERY_S = 600.0


class Checkpoints:
    """Remembers what this connection was told; seq 0 is a chain without a token, to which nobody swears."""

    def __init__(self) -> None:
        self._chain = b""
        self._seq = 0
        self._at: float | None = None

    def connected(self) -> None:
        """A new connection: it has been told nothing."""
        self._chain, self._seq, self._at = b"", 0, None

    def told(self, chain: bytes, seq: int, now: float) -> None:
        """A checkpoint behind ``seq`` of ``chain`` was handed over to be sent."""
        self._chain, self._seq, self._at = chain, seq, now

    def due(self, chain: bytes, seq: int, now: float) -> bool:
        """Whether a chain that ends with ``seq`` at ``now`` (CLOCK_MONOTONIC, s) is to be sworn to."""
        if not self.is_news(chain, seq) or self._at is None or chain != self._chain:
            return self.is_news(chain, seq)
        return seq - self._seq >= EVERY_TAPS or now - self._at >= EVERY_S

    def is_news(self, chain: bytes, seq: int) -> bool:
        """Whether this end is another than the one told last: what counts at the end of the agent."""
        return seq > 0 and (chain, seq) != (self._chain, self._seq)
