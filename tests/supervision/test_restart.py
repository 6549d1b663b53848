"""The reason of a self-restart: whole or not there, told once, counted by uptimes; no file may stop an agent."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import FakeClock
from edge_agent.supervision.restart import LIMIT_PER_HOUR, Reason, RestartFile


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "restart.json"


def test_the_successor_reads_why(path: Path) -> None:
    clock = FakeClock()
    before = RestartFile(path, clock)
    assert before.before is None
    clock.advance(33)
    before.save("reader_hangs", "nfc0 hangs\nthe driver", ["nfc0"])
    told = RestartFile(path, clock).before
    assert told == Reason("reader_hangs", "nfc0 hangs\nthe driver", ("nfc0",), uptime_s=33, count=1)
    assert told.line == "reader_hangs: nfc0 hangs\\nthe driver"
    assert list(path.parent.iterdir()) == [path]


def test_what_was_told_is_not_told_again_but_still_counts(path: Path) -> None:
    clock = FakeClock()
    RestartFile(path, clock).save("loop_blocked", "x")
    second = RestartFile(path, clock)
    assert second.news == "loop_blocked: x"
    second.forget()
    assert (second.news, second.before) == ("", Reason("loop_blocked", "x")), "people here may still ask"
    assert RestartFile(path, clock).before is None
    assert RestartFile(path, clock).save("loop_blocked", "y").count == 2
    assert RestartFile(path, clock).news == "loop_blocked: y (restart 2 within an hour)"


def test_restarts_are_limited_by_the_hour_and_no_step_of_the_wall_clock_changes_that(path: Path) -> None:
    clock = FakeClock()
    for _ in range(LIMIT_PER_HOUR):
        assert RestartFile(path, clock).allows()
        RestartFile(path, clock).save("reader_hangs", "x")
        clock.advance(60)
    clock.step_wall(14 * 86_400)
    assert not RestartFile(path, clock).allows()
    clock.step_wall(-28 * 86_400)
    assert not RestartFile(path, clock).allows()
    clock.advance(3600 - 61)
    assert RestartFile(path, clock).allows()


def test_another_boot_starts_with_a_clean_count_and_still_tells(path: Path) -> None:
    for _ in range(LIMIT_PER_HOUR):
        RestartFile(path, FakeClock()).save("reader_hangs", "x")
    after = RestartFile(path, FakeClock(boot=b"otherone", up=200))
    assert after.allows()
    assert after.before is not None


def test_an_announced_restart_that_does_not_come_leaves_what_was_there_before(path: Path) -> None:
    clock = FakeClock()
    first = RestartFile(path, clock)
    first.save("watchdog", "x")
    first.withdraw()
    assert not path.exists()
    first.save("part_hangs", "y")
    second = RestartFile(path, clock)
    second.save("watchdog", "z")
    second.withdraw()
    assert RestartFile(path, clock).news == "part_hangs: y"


def test_when_it_counts_no_more_the_file_is_gone(path: Path) -> None:
    clock = FakeClock()
    RestartFile(path, clock).save("loop_blocked", "x")
    clock.advance(3601)
    RestartFile(path, clock).forget()
    assert not path.exists()


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 4000,
    b'{"boot": 1, "recent": []}',
    b'{"boot": "", "recent": ["x"]}',
    b'{"boot": "", "recent": [], "code": "x"}',
    b'{"boot": "", "recent": [' + b"1," * 4000 + b"1]}",
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_no_reason_and_the_next_one_replaces_it(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    file = RestartFile(path, FakeClock())
    assert file.before is None
    assert file.allows()
    file.save("loop_blocked", "x")
    assert RestartFile(path, FakeClock()).before is not None


@given(st.integers(0, 300))
def test_a_torn_file_is_never_half_a_reason(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "restart.json"
    saved = RestartFile(path, FakeClock()).save("reader_hangs", "nfc0 hangs", ["nfc0"])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    assert RestartFile(path, FakeClock()).before in ([saved] if cut >= len(whole) else [None])


@pytest.mark.parametrize("in_the_way", ["folder", "fifo", "no folder"])
def test_a_state_directory_that_cannot_be_used_stops_nothing(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / "restart.json"
    if in_the_way == "folder":
        path.mkdir()
    elif in_the_way == "fifo":
        os.mkfifo(path)
    else:
        path = tmp_path / "none" / "restart.json"
    file = RestartFile(path, FakeClock())
    assert file.before is None
    assert file.save("loop_blocked", "x").count == 1
    file.forget()


def test_texts_are_bounded_and_safe_whoever_wrote_them(path: Path) -> None:
    saved = {"boot": "", "recent": [], "code": "x\x1b[2J", "text": "y" * 900, "late": ["\x07"] * 40}
    path.write_text(json.dumps(saved | {"uptime_s": 1, "count": 10**9}))
    told = RestartFile(path, FakeClock()).before
    assert told is not None
    assert told.line.isprintable()
    assert len(told.line) <= 200
    assert (len(told.late), told.count) == (8, 99)


def test_a_restart_that_was_announced_is_not_forgotten_with_the_one_before(path: Path) -> None:
    clock = FakeClock()
    RestartFile(path, clock).save("loop_blocked", "the first")
    second = RestartFile(path, clock)
    second.save("watchdog", "the second")
    second.forget()
    third = RestartFile(path, clock)
    assert third.before is not None
    assert (third.before.code, third.before.count) == ("watchdog", 2)
    second.withdraw()
    assert RestartFile(path, clock).before is None, "the first was told, the second did not come"
