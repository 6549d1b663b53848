import shutil
from pathlib import Path

import pytest

from edge_agent.diag.checks.host.memory import CHECK
from edge_agent.diag.finding import NotHere, Seen
from tests.diag.board import Board
from tests.diag.faults.healthy_root import service

PRESSURE = "/proc/pressure/memory"
EVENTS = "/sys/fs/cgroup/system.slice/edge-agent.service/memory.events"


def test_enough_memory_is_well(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/proc/meminfo", "MemTotal:         999000 kB\nMemAvailable:   524288 kB\n")
    board.put(EVENTS, "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n")
    assert board.look(CHECK) == [Seen("512 MiB available")]


def test_little_memory_or_much_waiting_for_it_is_found(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/proc/meminfo", "MemAvailable:   20480 kB\n")
    assert board.kinds(CHECK) == ["memory-short"]
    board.put("/proc/meminfo", "MemAvailable:   524288 kB\n")
    board.put(
        PRESSURE, "some avg10=9.00 avg60=30.00 avg300=9.00 total=1\nfull avg10=1.0 avg60=10.5 avg300=1.0 total=1\n"
    )
    assert board.kinds(CHECK) == ["memory-short"]


def test_a_kill_of_the_kernel_is_found_as_the_control_group_counts_it(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put(EVENTS, "low 0\noom 2\noom_kill 2\n")
    assert "memory-killed" in board.kinds(CHECK)


def test_a_kill_of_the_kernel_is_found_as_systemd_tells_it_after_the_end(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(Result="oom-kill", ControlGroup=""))
    assert "memory-killed" in board.kinds(CHECK)


def test_a_kernel_that_tells_nothing_is_nothing_to_look_at(tmp_path: Path) -> None:
    board = Board(tmp_path)
    shutil.rmtree(board.root / "proc")
    with pytest.raises(NotHere):
        board.look(CHECK)
