"""A player's file: whatever it does to it, the agent hears the last whole word, once, and is never kept waiting."""

import asyncio
import errno
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent import small_file
from edge_agent.models import ComponentState
from edge_agent.showing import watched_file
from edge_agent.showing.base import LONGEST_S, Source, Told
from edge_agent.showing.watched_file import WatchedFile
from tests.fakes.waiting import eventually

NOW = 1_790_000_000.0


class Listener:
    """What a terminal hears of the file."""

    def __init__(self, path: Path) -> None:
        self.told: list[Told] = []
        self.at: list[float] = []
        self.reports: list[tuple[ComponentState, str]] = []
        self.file = WatchedFile(path, tell=self._hear, report=lambda *said: self.reports.append(said), wall=lambda: NOW)

    def _hear(self, told: Told) -> None:
        self.told.append(told)
        self.at.append(time.monotonic())

    @property
    def campaigns(self) -> list[str | None]:
        return [told.campaign for told in self.told]

    @property
    def state(self) -> ComponentState | None:
        return self.reports[-1][0] if self.reports else None


@asynccontextmanager
async def watching(path: Path, listener: Listener | None = None) -> AsyncIterator[Listener]:
    listener = listener or Listener(path)
    before = len(listener.reports)
    task = asyncio.create_task(listener.file.serve())
    try:
        await eventually(lambda: len(listener.reports) > before)
        yield listener
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def word(campaign: str | None, life_s: float = 30) -> str:
    return json.dumps({"campaign": campaign, "until": NOW + life_s})


def renamed_into(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.write_text(text)
    fresh.rename(path)


def written_into(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def removed(path: Path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture(autouse=True)
def _only_by_inotify(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look without news hides that news were missed."""
    monkeypatch.setattr(watched_file, "LOOK_AGAIN_S", 3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "now-playing.json"


async def test_a_file_that_is_there_counts_from_the_start(path: Path) -> None:
    written_into(path, word("c-1"))
    async with watching(path) as heard:
        await eventually(lambda: heard.told)
        assert heard.told == [Told("c-1", 30.0, Source.FILE)]
        assert heard.state is ComponentState.OK


async def test_no_file_is_no_trouble_and_a_word_of_an_advert_long_over_neither(path: Path) -> None:
    async with watching(path) as heard:
        assert heard.reports == [(ComponentState.OK, f"waits for {path}")]
    written_into(path, word("c-1", -3600))
    with capture_logs() as logs:
        async with watching(path) as heard:
            assert heard.reports == [(ComponentState.OK, f"{path}, its word is over")]
            await asyncio.sleep(watched_file.SETTLE_S)
            assert heard.told == []
    assert [line for line in logs if line["log_level"] == "warning"] == []


@pytest.mark.parametrize("write", [renamed_into, written_into])
async def test_each_word_is_heard_once_however_it_is_written(path: Path, write: Callable[[Path, str], None]) -> None:
    async with watching(path) as heard:
        for number in range(5):
            write(path, word(f"c-{number}"))
            await eventually(lambda number=number: heard.campaigns[-1:] == [f"c-{number}"])
        assert list(dict.fromkeys(heard.campaigns)) == [f"c-{number}" for number in range(5)]


async def test_a_player_that_keeps_its_file_open_is_heard_at_each_flush(path: Path) -> None:
    async with watching(path) as heard:
        with path.open("w") as stream:
            for name in ("c-1", "c-2"):
                stream.seek(0)
                stream.truncate()
                stream.write(word(name))
                stream.flush()
                await eventually(lambda name=name: heard.campaigns[-1:] == [name])


async def test_the_same_word_written_again_is_told_again(path: Path) -> None:
    async with watching(path) as heard:
        for count in (1, 2):
            renamed_into(path, word("c-1"))
            await eventually(lambda count=count: len(heard.told) >= count)
        assert set(heard.campaigns) == {"c-1"}


async def test_a_file_that_goes_takes_its_word_back(path: Path) -> None:
    async with watching(path) as heard:
        for away in (path.unlink, lambda: path.rename(path.with_name("old"))):
            renamed_into(path, word("c-1"))
            await eventually(lambda: heard.campaigns[-1:] == ["c-1"])
            away()
            await eventually(lambda: heard.told[-1] == Told(None, LONGEST_S, Source.FILE))
        heard.told.clear()
        written_into(path, "{")
        removed(path)
        await asyncio.sleep(0.1)
        assert heard.told == [], "it held no word that could be taken back"


async def test_null_takes_the_word_back_too(path: Path) -> None:
    async with watching(path) as heard:
        renamed_into(path, word("c-1"))
        await eventually(lambda: heard.campaigns == ["c-1"])
        renamed_into(path, '{"campaign": null}')
        await eventually(lambda: heard.campaigns == ["c-1", None])
        removed(path)
        await eventually(lambda: heard.reports[-1][1].startswith("waits"))
        assert heard.campaigns == ["c-1", None]


async def test_half_a_word_waits_for_its_other_half(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "SETTLE_S", 30.0)
    with capture_logs() as logs:
        async with watching(path) as heard:
            text = word("c-1")
            written_into(path, text[:9])
            await asyncio.sleep(0.1)
            with path.open("a") as stream:
                stream.write(text[9:])
            await eventually(lambda: heard.campaigns)
            assert set(heard.campaigns) == {"c-1"}
    assert [line for line in logs if line["log_level"] == "warning"] == []


async def test_what_makes_no_sense_is_told_once_and_leaves_the_word_before(path: Path) -> None:
    with capture_logs() as logs:
        async with watching(path) as heard:
            renamed_into(path, word("c-1"))
            await eventually(lambda: heard.campaigns == ["c-1"])
            renamed_into(path, '{"campaign": "c-1"}\x1b[2J')
            await eventually(lambda: heard.state is ComponentState.DEGRADED)
            count = len(heard.reports)
            renamed_into(path, '{"campaign": "c-1"}\x1b[2J')
            await eventually(lambda: len(heard.reports) > count)
            assert heard.campaigns == ["c-1"]
            renamed_into(path, word("c-2"))
            await eventually(lambda: heard.state is ComponentState.OK)
    told = [line for line in logs if line["log_level"] in {"warning", "info"}]
    assert [line["event"] for line in told] == ["player_file_unusable", "player_file_usable"]
    assert f'{path}: not JSON; send one object like {{"campaign": ' in told[0]["reason"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b" " * 2_000_000, "more than 1024 bytes"),
        (json.dumps({"campaign": "c-1", "until": NOW - 1}).encode(), "in the past"),
        (json.dumps({"campaign": "c-1", "until": (NOW + 30) * 1000}).encode(), "milliseconds"),
    ],
)
async def test_what_is_wrong_with_it_is_said(path: Path, content: bytes, says: str) -> None:
    async with watching(path) as heard:
        written_into(path, content)
        await eventually(lambda: heard.state is ComponentState.DEGRADED)
        assert says in heard.reports[-1][1]
        assert "send " in heard.reports[-1][1]
        assert heard.told == []


async def test_what_is_no_file_is_neither_followed_nor_waited_for(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(word("c-9"))
    kinds = {
        "is a symbolic link": lambda: path.symlink_to("elsewhere"),
        "is no regular file": lambda: os.mkfifo(path),
        "is a directory": path.mkdir,
    }
    async with watching(path) as heard:
        for says, make in kinds.items():
            make()
            await eventually(lambda says=says: says in heard.reports[-1][1])
            assert heard.state is ComponentState.DEGRADED
            removed(path)
        renamed_into(path, word("c-1"))
        await eventually(lambda: heard.campaigns == ["c-1"])


async def test_a_file_that_may_not_be_read_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_small(*_args: object, **_kwargs: object) -> tuple[bytes, int]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge_agent.showing.folder.read_small", read_small)  # root, too, reads everything else
    async with watching(path) as heard:
        await eventually(lambda: "cannot be read: Permission denied" in heard.reports[-1][1])
        monkeypatch.setattr("edge_agent.showing.folder.read_small", small_file.read_small)
        written_into(path, word("c-1"))
        await eventually(lambda: heard.campaigns == ["c-1"])


async def test_a_folder_that_comes_late_or_goes_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "RETRY_S", 0.02)
    folder = tmp_path / "player"
    path = folder / "now-playing.json"
    with capture_logs() as logs:
        async with watching(path) as heard:
            assert heard.reports[-1] == (
                ComponentState.DEGRADED,
                f"{folder} is no folder; make it, or change where the player writes",
            )
            await eventually(lambda: len(heard.reports) > 3)
            for name in ("c-1", "c-2"):
                folder.mkdir()
                renamed_into(path, word(name))
                await eventually(lambda name=name: heard.campaigns[-1:] == [name])
                folder.rename(tmp_path / f"away-{name}")
                await eventually(lambda: heard.campaigns[-1] is None)
    warned = [line["reason"] for line in logs if line["log_level"] == "warning"]
    assert warned == [f"{folder} is no folder; make it, or change where the player writes"] * 3


async def test_a_folder_that_is_exchanged_is_followed_without_its_word_being_lost(tmp_path: Path) -> None:
    folder = tmp_path / "player"
    path = folder / "now-playing.json"
    for place, name in ((folder, "c-1"), (tmp_path / "next", "c-2")):
        place.mkdir()
        (place / path.name).write_text(word(name))
    link = tmp_path / "link"
    link.symlink_to("player")
    async with watching(link / path.name) as heard:
        await eventually(lambda: heard.campaigns == ["c-1"])
        (tmp_path / "fresh").symlink_to("next")
        (tmp_path / "fresh").rename(link)
        (folder / path.name).write_text(word("c-1"))  # the old one: news that make us look
        await eventually(lambda: heard.campaigns == ["c-1", "c-2"])
        renamed_into(link / path.name, word("c-3"))
        await eventually(lambda: heard.campaigns == ["c-1", "c-2", "c-3"])


async def test_neighbours_in_the_folder_are_no_news(path: Path, tmp_path: Path) -> None:
    written_into(path, word("c-1"))
    async with watching(path) as heard:
        await eventually(lambda: heard.told)
        count = len(heard.reports)
        for number in range(50):
            (tmp_path / f"log-{number}").write_text(word("c-2"))
        await asyncio.sleep(0.1)
        assert (len(heard.reports), heard.campaigns) == (count, ["c-1"])


async def test_without_inotifys_help_it_is_seen_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "LOOK_AGAIN_S", 0.05)
    alias = path.with_name("alias")
    written_into(path, word("c-1"))
    os.link(path, alias)
    async with watching(path) as heard:
        await eventually(lambda: heard.told)
        alias.write_text(word("c-2"))  # no news of our name
        await eventually(lambda: heard.campaigns == ["c-1", "c-2"])


async def test_a_word_survives_the_restart_of_the_part_and_a_file_that_went_meanwhile_is_missed(path: Path) -> None:
    written_into(path, word("c-1"))
    async with watching(path) as heard:
        await eventually(lambda: heard.told)
    removed(path)
    async with watching(path, heard):
        await eventually(lambda: heard.campaigns == ["c-1", None])


async def test_a_disk_that_hangs_is_said_and_keeps_nobody_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "HANGS_S", 0.05)
    monkeypatch.setattr(watched_file, "RETRY_S", 0.02)
    hanging, hung = [True], []

    def read_small(*_args: object, **_kwargs: object) -> tuple[bytes, int]:
        hung.append(1)
        while hanging:
            time.sleep(0.005)
        return word("c-1").encode(), 0o644

    monkeypatch.setattr("edge_agent.showing.folder.read_small", read_small)  # a disk is hardware
    async with watching(path) as heard:
        await eventually(lambda: hung and len(heard.reports) > 5)
        assert heard.reports[-1] == (ComponentState.DEGRADED, f"reading {path} hangs; look at the disk: dmesg")
        assert len(hung) == 1, "one thread waits for it, not one more each time"
        hanging.clear()
        await eventually(lambda: heard.campaigns == ["c-1"])


async def test_a_word_is_heard_within_milliseconds(path: Path) -> None:
    async with watching(path) as heard:
        took = []
        for number in range(21):
            await asyncio.sleep(0.015)
            since = time.monotonic()
            renamed_into(path, word(f"c-{number}"))
            await eventually(lambda number=number: heard.campaigns[-1:] == [f"c-{number}"])
            took.append(heard.at[-1] - since)
        print(f"written to told: {sorted(took)[10] * 1000:.2f} ms median, {max(took) * 1000:.2f} ms worst")  # noqa: T201 - a figure
        assert sorted(took)[10] < watched_file.SETTLE_S / 2, "at once, not at some later look"
