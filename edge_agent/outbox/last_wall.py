"""The last good wall time in ``meta`` of the outbox: for holdover after a boot without a clock. Decides nothing."""

from edge_agent.models import ClockReading, ClockTrust
from edge_agent.outbox.connection import Connection

_KEYS = ("wall_unix", "wall_boot", "wall_up")


def write_wall(connection: Connection, good: ClockReading) -> None:
    """Write it within the transaction that is open, or as one of its own. Raises what ``Connection.errors`` maps."""
    values = (_KEYS[0], good.unix, _KEYS[1], good.boot, _KEYS[2], good.up)
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?), (?, ?), (?, ?)", values)


def read_wall(connection: Connection) -> ClockReading | None:
    """None if there is none, or if it is not what this program writes."""
    found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN (?, ?, ?)", _KEYS).fetchall())
    unix, boot, up = (found.get(key) for key in _KEYS)
    if isinstance(unix, int) and isinstance(boot, bytes) and isinstance(up, int):
        return ClockReading(unix, ClockTrust.HOLDOVER, boot, up)
    return None
