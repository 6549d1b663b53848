"""`edge-agent outbox export FILE`: what the cloud may not have yet, in one file that a person can carry to it.

The file appears whole or not at all, readable for its owner only. Nothing leaves the outbox: the receiver knows a tap
that it has already.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from edge_agent.cli.outbox_agent import Source
from edge_agent.cli.outbox_source import rows_of
from edge_agent.durable import sync_directory
from edge_agent.errors import EdgeAgentError
from edge_agent.uplink.export_file import (
    CHECKPOINT,
    GAP,
    MAX_CONTENT_BYTES,
    TAP,
    ExportHeader,
    ExportItem,
    write_export,
)

_REMEDIES = {
    errno.ENOENT: "that folder does not exist: is the stick mounted?",
    errno.ENOTDIR: "that folder does not exist: is the stick mounted?",
    errno.EACCES: "take a folder that you may write to, or run it with sudo",
    errno.EROFS: "the medium is read-only: unlock it, or take another one",
    errno.ENOSPC: "make room on it, or take another one",
    errno.EFBIG: "its file system takes no file of that size: format it with another one",
}
WAITING = ("pending", "leased", "sent", "parked")
_KEPT = (*WAITING, "stored")


class ExportError(EdgeAgentError):
    """The file cannot be written."""

    code = "export"


@dataclass(slots=True)
class Exported:
    """What is in the file; ``left_out`` rows have no readable token of the contract's size."""

    file: Path
    taps: int = 0
    gaps: int = 0
    checkpoints: int = 0
    left_out: int = 0
    bytes: int = 0

    def as_json(self) -> dict[str, object]:
        """Return the machine-readable form."""
        return {**asdict(self), "file": str(self.file)}


def export(source: Source, file: Path, *, whole: bool, force: bool, progress: Callable[[int], None]) -> Exported:
    """Write the file; ``whole``: with the rows that the cloud is known to have. Raises ExportError, and as Source."""
    facts = source.facts()
    header = ExportHeader(facts.fleet, facts.terminal, int(time.time()))
    exported = Exported(file)
    with _appearing(file, force=force) as stream:
        write_export(stream, header, _items(source, _KEPT if whole else WAITING, exported, progress))
        exported.bytes = stream.tell()
    return exported


def _items(
    source: Source, states: tuple[str, ...], exported: Exported, progress: Callable[[int], None]
) -> Iterator[ExportItem]:
    checkpoint = source.checkpoint()  # first: it swears to no tap that is not in the file
    for gap in source.gaps():
        exported.gaps += 1
        yield ExportItem(GAP, gap.token)
    for row in rows_of(source, [one for one in source.ranges() if one.state in states]):
        if row.state not in states:
            continue
        if not 1 <= len(row.token) <= MAX_CONTENT_BYTES:
            exported.left_out += 1
            continue
        exported.taps += 1
        progress(exported.taps)
        yield ExportItem(TAP, row.token)
    if checkpoint is not None:
        exported.checkpoints = 1
        yield ExportItem(CHECKPOINT, checkpoint)


@contextmanager
def _appearing(file: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A new file that takes its name when it is complete and on the medium; on an error nothing is left of it."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    reserved = False
    try:
        if not force:
            # The name is taken at once: nobody else can take it while the file is written.
            os.close(_new(file))
            reserved = True
        with os.fdopen(_new(part), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        reserved = False
        sync_directory(file.parent)
    except FileExistsError:
        raise ExportError(f"{file} is there already", remedy="take another name, or replace it with --force") from None
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "is the medium all right? take another one")
        raise ExportError(f"{file} cannot be written: {error.strerror}", remedy=remedy) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if reserved:
            with suppress(OSError):
                file.unlink()


def _new(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
