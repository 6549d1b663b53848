"""A disk whose power is cut: what was synced survives; of everything since, each write survives, is torn, or is gone.

Harsher than most real ones: unsynced writes of one file survive in any combination, torn at any sector. Names (files
that came or went) survive in the order in which they were made, up to any point, unless the directory was synced.
"""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.watched_vfs import Medium

SECTOR = 512


@dataclass(slots=True)
class _Content:
    """One file, whatever its name: what is durable, and what was done since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes written), or (size, None) where it was truncated."""

    def settle(self) -> None:
        for change in self.pending:
            _apply(self.durable, *change)
        self.pending.clear()

    def after_cut(self, rnd: random.Random, whole: float) -> bytes:
        """Each pending change survives whole with this chance; of the others half are torn."""
        image = bytearray(self.durable)
        for offset, data in self.pending:
            fate = rnd.random()
            if fate > whole + (1 - whole) / 2:
                continue
            if data is not None and fate > whole:
                sectors = len(data) // SECTOR + 1
                keep = rnd.randrange(sectors) * SECTOR
                part = slice(0, keep) if rnd.random() < 0.7 else slice(keep, None)
                _apply(image, offset + (part.start or 0), data[part])
            else:
                _apply(image, offset, data)
        return bytes(image)


def _apply(image: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del image[offset:]
        return
    if not data:
        return
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class PowerCutDisk(Medium):
    """One folder of files. The power goes out during operation number ``cut_at``; from then on everything fails."""

    def __init__(self, folder: Path, rnd: random.Random, *, cut_at: int | None = None) -> None:
        self.rnd = rnd
        self.cut_at = cut_at
        self.operations = 0
        self.survivors: dict[str, bytes] | None = None
        """The files as they are found when the power is back; None while it is on."""
        self.during = ""
        """What was in work when the power went out."""
        self.on_cut: Callable[[], None] = lambda: None
        self._durable_names: dict[str, _Content] = {
            file.name: _Content(bytearray(file.read_bytes())) for file in folder.iterdir() if file.is_file()
        }
        self._names = dict(self._durable_names)
        self._name_changes: list[tuple[str, _Content | None]] = []

    @property
    def dead(self) -> bool:
        """Whether the power is out."""
        return self.survivors is not None

    def opened(self, path: Path, *, new: bool) -> None:
        """Of a file that is not known yet the name is to become durable."""
        if path.name not in self._names and not self.dead:
            self._named(path.name, _Content(bytearray()))

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """Pending until the file is synced."""
        self._alive()
        self._names[path.name].pending.append((offset, data))
        self._tick(f"write {path.suffix}")

    def truncate(self, path: Path, size: int) -> None:
        """Pending until the file is synced."""
        self._alive()
        self._names[path.name].pending.append((size, None))
        self._tick(f"truncate {path.suffix}")

    def sync(self, path: Path) -> None:
        """The file's bytes survive from now on; its name does not, for that."""
        self._alive()
        self._tick(f"sync {path.suffix}")
        self._names[path.name].settle()

    def unlink(self, path: Path) -> None:
        """Pending until the directory is synced."""
        self._alive()
        if path.name in self._names:
            self._named(path.name, None)
        self._tick(f"unlink {path.suffix}")

    def sync_directory(self) -> None:
        """All names survive from now on."""
        self._alive()
        self._tick("sync directory")
        self._durable_names = dict(self._names)
        self._name_changes.clear()

    def cut(self, during: str = "a pause") -> None:
        """The power goes out now."""
        names = dict(self._durable_names)
        for name, content in self._name_changes[: self.rnd.randrange(len(self._name_changes) + 1)]:
            if content is None:
                names.pop(name, None)
            else:
                names[name] = content
        whole = self.rnd.choice([0.0, 0.5, 0.9, 1.0])  # a cache that was nearly never, or nearly always, written back
        self.survivors = {name: content.after_cut(self.rnd, whole) for name, content in names.items()}
        self.during = during
        self.on_cut()

    def restore(self, folder: Path) -> Path:
        """Write what survived into a folder."""
        assert self.survivors is not None
        folder.mkdir()
        for name, image in self.survivors.items():
            (folder / name).write_bytes(image)
        return folder

    def _named(self, name: str, content: _Content | None) -> None:
        self._name_changes.append((name, content))
        if content is None:
            del self._names[name]
        else:
            self._names[name] = content

    def _alive(self) -> None:
        if self.dead:
            raise OSError(errno.EIO, "the power is out")

    def _tick(self, what: str) -> None:
        self.operations += 1
        if self.cut_at is not None and self.operations >= self.cut_at:
            self.cut(what)
            self._alive()
