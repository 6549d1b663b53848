"""Holds an outbox file as SQLite itself would, without opening it by SQLite: nothing of it is recovered or deleted."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import OutboxError, OutboxFault

# SQLite's locks on a database, file format section "locking": PENDING, RESERVED and 510 bytes of SHARED.
_LOCK_FIRST, _LOCK_BYTES = 0x40000000, 512


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock that SQLite would; raises OutboxError if another agent does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise OutboxError(
            f"{path} cannot be opened: {error.strerror}",
            remedy="check the owner of the file and of its folder",
            fault=OutboxFault.UNUSABLE,
        ) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_FIRST)
    except OSError as error:
        os.close(descriptor)
        raise OutboxError(
            f"another agent holds {path}",
            remedy="stop it, or give this one its own [outbox] path",
            fault=OutboxFault.HELD,
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)
