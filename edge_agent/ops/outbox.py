"""What `edge-agent outbox` asks of the running agent over the control socket, and how it is put into JSON.

Whatever is asked, an answer stays below the socket's megabyte: rows and records come in pages.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from edge_agent.control import Op
from edge_agent.errors import ControlError
from edge_agent.models import CHAIN_ID_BYTES
from edge_agent.outbox.base import Bounds, Head, Outbox

MAX_ROWS = 500
MAX_RECORDS = MAX_RANGES = 1000
MAX_PAGE_CHARS = 700_000
_MAX_SEQ = 2**40


@dataclass(frozen=True, slots=True)
class OutboxOps:
    """The ops of one agent. Every method serves one request and raises ControlError for one that makes no sense."""

    outbox: Outbox
    terminal: str
    fleet: str
    confirm: str
    bounds: Bounds
    seal_checkpoint: Callable[[Head], bytes]
    poke: Callable[[], None]
    """There is something to send."""

    def ops(self) -> dict[str, Op]:
        """Names and handlers for the control server."""
        return {
            "outbox.stats": self.stats,
            "outbox.ranges": self.ranges,
            "outbox.page": self.page,
            "outbox.gaps": self.gaps,
            "outbox.checkpoint": self.checkpoint,
            "outbox.resend": self.resend,
        }

    async def stats(self, _request: Mapping[str, object]) -> dict[str, object]:
        """Counts, bounds, the head, and whose outbox it is."""
        counted = asdict(await self.outbox.stats())
        counted["chain"] = counted["chain"].hex()
        return {
            "terminal": self.terminal,
            "fleet": self.fleet,
            "confirm": self.confirm,
            "bounds": asdict(self.bounds),
            "head": _head(self.outbox.head()),
            "stats": counted,
        }

    async def ranges(self, request: Mapping[str, object]) -> dict[str, object]:
        """``[chain, first, last, state, note]`` of all rows by state, ``skip`` of them left out; ``more`` follow."""
        skip = _number(request, "skip", 0)
        found = self.outbox.ranges()
        page = _fitting(
            [one.chain.hex(), one.first, one.last, one.state, one.note] for one in found[skip : skip + MAX_RANGES]
        )
        return {"ranges": page, "more": skip + len(page) < len(found)}

    async def page(self, request: Mapping[str, object]) -> dict[str, object]:
        """Up to ``limit`` rows behind ``after`` of ``chain``, from the first row without: with their tokens in hex."""
        chain = _chain(request) if request.get("chain") is not None else None
        limit = max(1, min(_number(request, "limit", MAX_ROWS), MAX_ROWS))
        rows = await self.outbox.page(chain, _number(request, "after", 0), limit)
        page = _fitting([row.chain.hex(), row.seq, row.state, row.note, row.exp, row.token.hex()] for row in rows)
        return {"rows": page}

    async def gaps(self, request: Mapping[str, object]) -> dict[str, object]:
        """``[number, chain, first, last, token]`` of gap records, ``skip`` of them left out; ``more`` follow."""
        skip = _number(request, "skip", 0)
        found = await self.outbox.gap_records()
        page = _fitting(
            [gap.number, gap.chain.hex(), gap.first, gap.last, gap.token.hex()]
            for gap in found[skip : skip + MAX_RECORDS]
        )
        return {"gaps": page, "more": skip + len(page) < len(found)}

    async def checkpoint(self, _request: Mapping[str, object]) -> dict[str, object]:
        """A checkpoint of this moment; null while there is no tap to swear to."""
        head = self.outbox.head()
        return {"token": self.seal_checkpoint(head).hex() if head.seq else None}

    async def resend(self, request: Mapping[str, object]) -> dict[str, object]:
        """Rows ``from`` to ``to`` of ``chain`` are to be sent again; answers counts."""
        first, last = _number(request, "from"), _number(request, "to")
        if not 1 <= first <= last:
            raise ControlError("from and to are no range of rows")
        again = self.outbox.resend(_chain(request), first, last)
        self.poke()
        return asdict(again)


def _fitting(items: Iterable[list[object]]) -> list[list[object]]:
    """As many as an answer has room for, at least one; whoever asks for more goes on behind the last."""
    page: list[list[object]] = []
    size = 0
    for item in items:
        size += len(json.dumps(item))
        if page and size > MAX_PAGE_CHARS:
            break
        page.append(item)
    return page


def _head(head: Head) -> dict[str, object]:
    return {"chain": head.chain.hex(), "seq": head.seq, "hash": head.hash.hex()}


def _number(request: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = request.get(name, default)
    if type(value) is not int or not 0 <= value <= _MAX_SEQ:
        raise ControlError(f"{name} is no number from 0 to {_MAX_SEQ}")
    return value


def _chain(request: Mapping[str, object]) -> bytes:
    value = request.get("chain")
    if isinstance(value, str) and len(value) == 2 * CHAIN_ID_BYTES:
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise ControlError(f"chain is not {CHAIN_ID_BYTES} bytes in hex")
