"""Tokens of the backlog, read from disk before they are asked for: one hop to the writer thread serves many leases."""

from collections.abc import Awaitable, Callable

READ_AHEAD_ROWS = 2048

Read = Callable[[bytes, int, int], Awaitable[dict[int, bytes]]]
"""Reads rows ``first`` to ``last`` of a chain; tokens by seq, without those that are not there."""


class ReadAhead:
    """One stretch of one chain. A token never changes, so what was read stays true."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._chain = b""
        self._first = 0
        self._tokens: list[bytes | None] = []

    def forget(self) -> None:
        """Give the memory back."""
        self._tokens = []

    async def tokens(self, chain: bytes, first: int, last: int, *, max_rows: int, max_bytes: int) -> tuple[bytes, ...]:
        """Return tokens from row ``first`` on, up to the first one missing on disk; raises OutboxError.

        The first one is returned even if it is larger than ``max_bytes``; none if it is missing itself.
        """
        if chain != self._chain or not 0 <= first - self._first < len(self._tokens):
            # While the loop is busy each hop to the thread may cost 5 ms for the GIL.
            until = min(last, first + READ_AHEAD_ROWS - 1)
            found = await self._read(chain, first, until)
            self._chain, self._first = chain, first
            self._tokens = [found.get(seq) for seq in range(first, until + 1)]
        start = first - self._first
        wanted = self._tokens[start : start + min(max_rows, last - first + 1)]
        return _fitting(wanted, max_bytes)


def _fitting(tokens: list[bytes | None], max_bytes: int) -> tuple[bytes, ...]:
    fitting: list[bytes] = []
    size = 0
    for token in tokens:
        if token is None:
            break
        size += len(token)
        if fitting and size > max_bytes:
            break
        fitting.append(token)
    return tuple(fitting)
