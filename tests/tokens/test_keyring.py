"""The key file: made once, private, atomic; refused with one remedy when anything about it is wrong."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import ExitCode, KeyFileError
from edge_agent.tokens.keyring import create_key_file, load_key_file
from tests.fakes.token_samples import P256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "tap.key"


def test_a_new_key_is_private_and_reads_back(path: Path) -> None:
    made = create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["tap.key"]
    assert load_key_file(path).public == made.public
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")


def test_a_wide_umask_does_not_open_the_key(path: Path) -> None:
    before = os.umask(0)
    try:
        create_key_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def put_file(path: Path) -> None:
    path.write_bytes(b"")


def put_folder(path: Path) -> None:
    path.mkdir()


def put_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [put_file, put_folder, put_dangling_link])
def test_nothing_is_ever_overwritten(path: Path, put: Callable[[Path], None]) -> None:
    path.parent.mkdir()
    put(path)
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key_file(path)
    assert len(list(path.parent.iterdir())) == 1
    assert not path.is_file() or path.read_bytes() == b""


def test_two_creators_at_once_end_with_one_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_link = os.link

    def lose_the_race(source: Path, target: Path) -> None:
        target.write_bytes(b"the other one's")
        real_link(source, target)

    monkeypatch.setattr(os, "link", lose_the_race)
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key_file(path)
    assert path.read_bytes() == b"the other one's"
    assert [entry.name for entry in path.parent.iterdir()] == ["tap.key"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failing_disk_leaves_no_key_behind(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path.parent.mkdir()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(KeyFileError, match="Input/output error"):
        create_key_file(path)
    assert list(path.parent.iterdir()) == []


def test_file_and_folder_are_synced_before_the_key_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    real_fsync, synced = os.fsync, []

    def note(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    create_key_file(path)
    # The content first, while the name is not there yet; then the folder with the name in it.
    assert synced == [(False, False), (True, True)]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="writable folder"):
        create_key_file(tmp_path / "file" / "keys" / "tap.key")


def test_a_missing_key_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(KeyFileError, match="no signing key") as caught:
        load_key_file(path)
    assert "edge-agent keys init" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.CONFIG


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_key_that_others_can_touch_is_refused(path: Path, mode: int) -> None:
    create_key_file(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}") as caught:
        load_key_file(path)
    assert "chmod 0600" in caught.value.remedy
    assert path.exists()


def test_a_key_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key_file(path)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        load_key_file(path)  # root's key, readable by us: fine
        os.chown(path, 12345, -1)
    with pytest.raises(KeyFileError, match="belongs to user"):
        load_key_file(path)


def test_root_may_look_at_the_key_of_the_agents_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key_file(path)
    owner = path.stat().st_uid
    if owner == 0:
        owner = 12345
        os.chown(path, owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert load_key_file(path, owner=owner)
    with pytest.raises(KeyFileError, match="belongs to user"):
        load_key_file(path, owner=owner + 2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"-----BEGIN PRIVATE KEY-----\nMC4CAQ", "not a complete"),
        (b"\0" * 100, "not a complete"),
        (b"x" * 5000, "larger than"),
        (P256.pkcs8_pem(), "not an Ed25519 key"),
    ],
    ids=["empty", "torn", "zeros", "huge", "p256"],
)
def test_a_torn_or_wrong_file_is_never_replaced(path: Path, content: bytes, why: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=why) as caught:
        load_key_file(path)
    assert "restore" in caught.value.remedy
    assert path.read_bytes() == content
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key_file(path)


def test_a_fifo_does_not_hang_the_start(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_key_file(path)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_key_file(tmp_path)


@pytest.mark.parametrize(("number", "why"), [(13, "may not read"), (5, "check the disk")])
def test_what_the_kernel_says_becomes_a_remedy(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    create_key_file(path)

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(KeyFileError, match=why) as caught:
        load_key_file(path)
    if number == errno.EACCES:  # whoever is not the agent must not be told to take the key from it
        assert caught.value.remedy.startswith("run this by sudo or as the agent's user")
