"""An outbox as the commands see it, and the one of the running agent: asked over its control socket, page by page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from edge_agent.control_client import ask
from edge_agent.errors import ControlError
from edge_agent.outbox.base import Bounds, GapRecord, Head, OutboxStats, Resent, RowRange, StoredRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """An outbox at one moment; ``terminal`` and ``fleet`` are whose it is."""

    terminal: str
    fleet: str
    confirm: str
    stats: OutboxStats
    head: Head
    bounds: Bounds | None


class Source(Protocol):
    """All methods raise ControlError, OutboxError or CannotLook."""

    live: bool
    where: str

    def facts(self) -> Facts:
        """Counts, the head, and whose outbox it is."""

    def ranges(self) -> list[RowRange]:
        """All rows by state."""

    def page(self, chain: bytes, after: int, limit: int) -> list[StoredRow]:
        """Rows behind seq ``after`` of ``chain``; those of later chains may follow."""

    def gaps(self) -> list[GapRecord]:
        """Gap records."""

    def checkpoint(self) -> bytes | None:
        """A signed checkpoint of this moment; None if nobody can sign one, or there is nothing to swear to."""

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """Make rows pending again."""


class AgentSource(Source):
    """The running agent."""

    live = True

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.where = f"the running agent, asked at {socket}"

    def facts(self) -> Facts:
        """See the port."""
        answer = self._ask("stats")
        with _making_sense():
            bounds = answer.get("bounds")
            head = answer["head"]
            return Facts(
                terminal=str(answer["terminal"]),
                fleet=str(answer["fleet"]),
                confirm=str(answer["confirm"]),
                stats=_stats(answer["stats"]),
                head=Head(bytes.fromhex(head["chain"]), int(head["seq"]), bytes.fromhex(head["hash"])),
                bounds=_known(Bounds, bounds) if isinstance(bounds, dict) else None,
            )

    def ranges(self) -> list[RowRange]:
        """See the port."""

        def read(chain: str, first: int, last: int, state: str, note: str) -> RowRange:
            return RowRange(bytes.fromhex(chain), int(first), int(last), str(state), str(note))

        return self._pages("ranges", read)

    def page(self, chain: bytes, after: int, limit: int) -> list[StoredRow]:
        """See the port."""

        def read(chain: str, seq: int, state: str, note: str, exp: int, token: str) -> StoredRow:
            return StoredRow(bytes.fromhex(chain), int(seq), str(state), str(note), int(exp), bytes.fromhex(token))

        answer = self._ask("page", chain=chain.hex(), after=after, limit=limit)
        with _making_sense():
            return [read(*row) for row in answer["rows"]]

    def gaps(self) -> list[GapRecord]:
        """See the port."""

        def read(number: int, chain: str, first: int, last: int, token: str) -> GapRecord:
            return GapRecord(int(number), bytes.fromhex(chain), int(first), int(last), bytes.fromhex(token))

        return self._pages("gaps", read)

    def checkpoint(self) -> bytes | None:
        """See the port."""
        token = self._ask("checkpoint").get("token")
        with _making_sense():
            return None if token is None else bytes.fromhex(token)

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """See the port."""
        answer = self._ask("resend", chain=chain.hex(), **{"from": first, "to": last})
        with _making_sense():
            return _known(Resent, answer)

    def _pages(self, what: str, read: Callable[..., T]) -> list[T]:
        found: list[T] = []
        more = True
        while more:
            answer = self._ask(what, skip=len(found))
            with _making_sense():
                page = [read(*item) for item in answer[what]]
            found += page
            more = bool(answer.get("more")) and bool(page)
        return found

    def _ask(self, what: str, **request: object) -> dict[str, Any]:
        return ask(self._socket, {"op": f"outbox.{what}", **request}, timeout_s=8.0)


@contextmanager
def _making_sense() -> Iterator[None]:
    """Tell an answer of another version, or of another program, from one that was expected."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ControlError("the answer makes no sense", remedy="is the agent of another version?") from None


def _stats(found: dict[str, Any]) -> OutboxStats:
    return _known(OutboxStats, {**found, "chain": bytes.fromhex(found["chain"])})


def _known(kind: type[T], found: dict[str, Any]) -> T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type] # only given dataclasses
    return kind(**{name: value for name, value in found.items() if name in names})
