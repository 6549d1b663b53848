"""A power cut after every single call that changes the disk: the old identity or the new one, and a second try ends it.

The disk of the test loses what was not synced: the content of files, and names in folders that were not.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cloud.keyset import KeySet
from edge_agent.enrolment.enrol import InForce, Names
from edge_agent.errors import EdgeAgentError
from tests.fakes.enrolment_site import NAMES, Site

CALLS = ("mkdir", "open", "write", "fsync", "link", "rename", "unlink", "rmdir")


class Cut(BaseException):
    """The power is gone: nothing of this process runs on."""


class CutDisk:
    """Counts the calls of ``os`` that change files below ``root``; the one of number ``at`` and all later ones fail.

    ``loses``: a renamed or new name whose folder was not synced is gone, and a file that was not is empty.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, *, at: int, loses: bool) -> None:
        self.count = 0
        self._root = str(root)
        self._at = at
        self._loses = loses
        self._dirty: set[str] = set()
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self._real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            patch.setattr(os, name, self._counted(name))

    def _counted(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._is_ours(name, args) and kwargs.get("dir_fd") is None:
                return real(*args, **kwargs)
            self.count += 1
            if self._at and self.count >= self._at:
                raise Cut(name)
            before = self._before(name, args)
            done = None if name == "fsync" else real(*args, **kwargs)  # slow, and modelled here
            self._after(name, args, done, before)
            return done

        return call

    def _is_ours(self, name: str, args: tuple[Any, ...]) -> bool:
        if name in ("write", "fsync"):
            return _path_of(args[0]).startswith(self._root)
        if name == "open":
            # Reading changes nothing, nor does opening a folder to sync it.
            return str(args[0]).startswith(self._root) and bool(args[1] & os.O_WRONLY)
        return str(args[0]).startswith(self._root)

    def _before(self, name: str, args: tuple[Any, ...]) -> Callable[[], None]:
        if name != "rename" or not Path(args[1]).is_file():
            return lambda: None
        old = Path(args[1]).read_bytes()
        return lambda: _put(Path(args[1]), old)

    def _after(self, name: str, args: tuple[Any, ...], done: Any, before: Callable[[], None]) -> None:
        if name == "open" and Path(args[0]).is_absolute():
            self._dirty.add(str(args[0]))
        elif name == "fsync":
            path = _path_of(args[0])
            self._dirty.discard(path)
            self._undo = [item for item in self._undo if item[0] != path]
        elif name == "rename":
            source, target = str(args[0]), Path(args[1])
            moved = {path for path in self._dirty if path == source or path.startswith(f"{source}/")}
            self._dirty = self._dirty - moved | {str(target) + path.removeprefix(source) for path in moved}
            self._undo.append((str(target.parent), lambda: _gone(target) or before()))
        elif name in ("link", "mkdir"):
            made = Path(args[1] if name == "link" else args[0])
            self._undo.append((str(made.parent), lambda: _gone(made)))

    def lose(self) -> None:
        """What the disk looks like after the power is back."""
        if not self._loses:
            return
        for path in map(Path, self._dirty):
            if path.is_file():
                path.write_bytes(b"")
        for _, undo in reversed(self._undo):
            undo()


def _path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _gone(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    if path.parent.is_dir():
        path.write_bytes(content)
        path.chmod(0o600)


@pytest.fixture(name="tmp_path")
def _in_memory(tmp_path: Path) -> Iterator[Path]:
    """The same few files thousands of times: a disk that others use would make minutes of it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


def enrolled(site: Site) -> InForce:
    held = site.terminal.in_force()
    assert held is not None
    return held


def go_on(site: Site, names: Names, *, rotate: bool) -> None:
    """What a second `edge-agent enrol` does: finish what was answered, ask again for what was not."""
    waiting = site.terminal.waiting()
    if waiting is not None and waiting.answer is not None:
        site.terminal.finish(waiting, waiting.answer)
    else:
        site.enrol(names, rotate=rotate)


@pytest.mark.parametrize("loses", [False, True], ids=["kept", "unsynced lost"])
@pytest.mark.parametrize("kind", ["first", "renewal", "new signing key"])
def test_at_every_call_the_old_or_the_new_identity_holds_and_a_second_try_ends_it(
    tmp_path: Path, kind: str, loses: bool
) -> None:
    cuts = 0
    outcomes = set()
    place, prepared = tmp_path / "site", tmp_path / "prepared"
    first = Site(place)
    for _ in range(0 if kind == "first" else 2):  # the third one removes the first
        first.enrol()
    shutil.copytree(place, prepared)
    rotate = kind == "new signing key"
    while True:
        cuts += 1
        # Always the same folder: its path is in the drop-in.
        shutil.rmtree(place)
        shutil.copytree(prepared, place)
        site = Site(place)
        before = site.terminal.in_force()
        with pytest.MonkeyPatch.context() as patch:
            disk = CutDisk(place / "terminal", patch, at=cuts, loses=loses)
            try:
                site.enrol(rotate=rotate)
                ended = True
            except Cut:
                ended = False
        if ended:
            break
        disk.lose()
        after = site.terminal.in_force()
        if after != before:
            assert after is not None
            assert (before is None) or after.number == before.number + 1
        outcomes.add(after == before)
        go_on(site, NAMES, rotate=rotate)
        held = enrolled(site)
        assert KeySet.load(site.keys).lookup(bytes.fromhex(held.kid)) is not None
        if before is not None and not rotate:
            assert held.kid == before.kid
        if before is not None:
            assert held.number > before.number
        assert site.terminal.waiting() is None
        leftovers = [path.name for path in site.store.folder.iterdir() if path.name.startswith(".making")]
        assert leftovers == []
    # Of a first enrolment whose drop-in is durable nothing is left to be cut.
    assert outcomes == ({True} if kind == "first" and loses else {True, False})
    assert cuts > 20


def test_every_change_of_the_disk_is_synced_before_the_next_step_relies_on_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        disk = CutDisk(tmp_path / "terminal", patch, at=0, loses=True)
        site.enrol()
    files = {path: path.read_bytes() for path in (tmp_path / "terminal").rglob("*") if path.is_file()}
    disk.lose()
    assert {path: path.read_bytes() for path in (tmp_path / "terminal").rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("name", ["tls.key", "request.json", "tap-key.json", "tls.pem", "ca.pem", "answer.json"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"{}"], ids=["empty", "zeros", "other"])
def test_a_torn_file_of_a_failing_disk_is_one_line_or_healed_never_a_crash(
    tmp_path: Path, name: str, damage: bytes
) -> None:
    site = Site(tmp_path)
    attempt = site.terminal.begin(NAMES)
    site.store.keep_answer(attempt, site.answered(attempt.request))
    (attempt.folder / name).write_bytes(damage)
    if name in ("tls.pem", "ca.pem"):  # written again from the answer
        go_on(site, NAMES, rotate=False)
    else:
        with pytest.raises(EdgeAgentError, match=name) as caught:
            go_on(site, NAMES, rotate=False)
        assert caught.value.remedy
        site.terminal.begin(NAMES, anew=True)
        go_on(site, NAMES, rotate=False)
    assert enrolled(site).terminal == NAMES.terminal
