import time
from pathlib import Path

import pytest

from edge_agent import clock as clock_module
from edge_agent import clock_witness
from edge_agent.clock import ask_kernel, kernel_clock_synced
from tests.test_clock import Refusing


class Enough(Exception):
    """The test has seen what it wanted."""


def test_it_tells_what_the_kernel_says_at_each_look_in_a_file_that_is_never_half(tmp_path: Path) -> None:
    path, seen = tmp_path / "kernel", []

    def sleep(_seconds: float) -> None:
        seen.append(path.read_text(encoding="ascii").split()[0])
        assert [entry.name for entry in tmp_path.iterdir()] == ["kernel"]
        if len(seen) == 3:
            raise Enough

    with pytest.raises(Enough):
        clock_witness.watch(path, sleep=sleep)
    assert seen == ["synced" if ask_kernel() else "unsynced"] * 3


@pytest.mark.parametrize("synced", [True, False])
def test_the_agent_reads_what_the_witness_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, synced: bool) -> None:
    clock_witness.tell(tmp_path / "kernel", synced=synced, now=time.monotonic())
    monkeypatch.setattr(clock_module, "WITNESS_FILE", tmp_path / "kernel")
    monkeypatch.setattr(clock_module, "_LIBC", Refusing())
    assert kernel_clock_synced() is synced


def test_a_witness_that_may_not_ask_ends_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clock_module, "_LIBC", Refusing())
    assert clock_witness.watch(tmp_path / "kernel") == clock_witness.NOT_ALLOWED
    assert list(tmp_path.iterdir()) == []
    assert "adjtimex(2) is not allowed" in capsys.readouterr().err
