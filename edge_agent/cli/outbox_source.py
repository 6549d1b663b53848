"""Where `edge-agent outbox` looks: at the running agent, or at its file while no agent runs. One interface for both.

While an agent runs it has the file for itself, so it is always asked first. A file is only ever read.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge_agent.cli.commands import DEFAULT_CONFIG, DEFAULT_SOCKET, load_config
from edge_agent.cli.outbox_agent import AgentSource, Facts, Source
from edge_agent.cli.public_key import CannotLook
from edge_agent.control_client import NotRunning
from edge_agent.errors import ConfigError, ControlError, OutboxError, OutboxFault
from edge_agent.outbox.base import GapRecord, Resent, RowRange, StoredRow
from edge_agent.outbox.offline import OutboxFile
from edge_agent.outbox.rows import MISSING
from edge_agent.sealing import reading_codec

PAGE = 500
_START_IT = "start the agent: it sets the file aside, delivers what can be read of it, and begins a new one"
_FEW = 50

T = TypeVar("T")


class FileSource(Source):
    """The file, while no agent runs."""

    live = False

    def __init__(self, path: Path, *, terminal: str, fleet: str, confirm: str) -> None:
        self._file = OutboxFile(path, reading_codec())
        self._names = {"terminal": terminal, "fleet": fleet, "confirm": confirm}
        self.where = f"{path}; the agent does not run"

    def facts(self) -> Facts:
        """See the port."""
        stats, head = _look(self._file.stats), _look(self._file.head)
        return Facts(**self._names, stats=stats, head=head, bounds=None)

    def ranges(self) -> list[RowRange]:
        """See the port."""
        return _look(self._file.ranges)

    def page(self, chain: bytes, after: int, limit: int) -> list[StoredRow]:
        """See the port."""
        return _look(partial(self._file.page, chain, after, limit))

    def gaps(self) -> list[GapRecord]:
        """See the port."""
        return _look(self._file.gap_records)

    def checkpoint(self) -> bytes | None:
        """See the port."""
        return None

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """See the port."""
        raise ControlError(
            f"rows {first} to {last} of {chain.hex()} can only be sent again by a running agent",
            remedy="start it: systemctl start edge-agent",
        )


def find_source(args: argparse.Namespace) -> Source:
    """Ask for the agent at ``--socket`` or the configured one; if none runs, take ``--file`` or the configured file."""
    if args.file is not None:
        return _file_source(args, args.file)
    if args.socket is not None:
        return _running(args.socket)
    try:
        settings = load_config(args.config or DEFAULT_CONFIG).settings
    except ConfigError:
        # The agent may well be running although the file was broken later: look where it most likely listens.
        if args.config is not None or not DEFAULT_SOCKET.exists():
            raise
        return _running(DEFAULT_SOCKET)
    try:
        return _running(settings.control.socket)
    except NotRunning:
        return _file_source(args, settings.outbox.path)


def _running(socket: Path) -> Source:
    source = AgentSource(socket)
    source.facts()
    return source


def _file_source(args: argparse.Namespace, path: Path) -> Source:
    settings = load_config(args.config or DEFAULT_CONFIG).settings
    terminal = settings.terminal
    return FileSource(path, terminal=terminal.id, fleet=terminal.fleet, confirm=settings.uplink.confirm)


def rows_of(source: Source, ranges: Iterable[RowRange]) -> Iterator[StoredRow]:
    """Read the rows of these ranges (in order, as ``ranges`` gave them) page by page, in their state of that moment.

    A row that the agent found missing on its disk comes without a token. Rows between near ranges may come along.
    """
    at, cursor = b"", 0
    for wanted in ranges:
        if wanted.chain != at:
            at, cursor = wanted.chain, 0
        if wanted.note == MISSING:
            for seq in range(max(wanted.first, cursor + 1), wanted.last + 1):
                yield StoredRow(wanted.chain, seq, wanted.state, wanted.note, 0, b"")
            cursor = max(cursor, wanted.last)
        cursor = max(cursor, wanted.first - 1)
        while cursor < wanted.last:
            limit = min(PAGE, max(_FEW, wanted.last - cursor))
            page = [row for row in source.page(wanted.chain, cursor, limit) if row.chain == wanted.chain]
            cursor = page[-1].seq if page else wanted.last
            yield from page


def _look(look: Callable[[], T]) -> T:
    try:
        return look()
    except OutboxError as error:
        if error.fault is OutboxFault.DAMAGED:
            # Only an agent sets it aside; here nothing is changed.
            raise OutboxError(error.text, remedy=_START_IT, fault=error.fault) from None
        remedy = error.remedy
        if error.fault is OutboxFault.HELD:
            remedy = "it runs, but does not listen where it was asked: give its socket by --socket"
        raise CannotLook(error.text, remedy=remedy) from None
