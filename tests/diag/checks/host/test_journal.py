import json
from pathlib import Path

import pytest

from edge_agent.diag.checks.host.journal import CHECK
from edge_agent.diag.finding import CannotLook, Finding, NotHere
from tests.diag.board import Board
from tests.diag.faults.healthy_root import program

NOW = 1_790_000_000


OF_SYSTEMD = {"MESSAGE": "edge-agent.service: Failed to load.", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "systemd"}


def entry(event: str, level: str) -> str:
    """A line of `journalctl -o json` as a real one wrote it, cut down to the fields that are asked for."""
    message = json.dumps({"event": event, "level": level, "timestamp": "2026-09-21T14:13:20Z"})
    at = str(NOW * 1_000_000)
    fields = {"MESSAGE": message, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "edge-agent", "__REALTIME_TIMESTAMP": at}
    return json.dumps(fields) + "\n"


def test_errors_are_counted_the_most_frequent_first(tmp_path: Path) -> None:
    board = Board(tmp_path)
    events = [*["reader_lost"] * 3, *["screen_lost"] * 2, "a", "b", "c"]
    board.program("journalctl", "".join(entry(event, "error") for event in events) + entry("x", "warning"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.text == "reader_lost (3 times), screen_lost (2 times), a (1 times) and 2 others"
    assert f"--since=@{NOW - 3600}.000000" in board.called("journalctl")


def test_warnings_what_systemd_says_and_nonsense_are_no_errors(tmp_path: Path) -> None:
    board = Board(tmp_path)
    text = entry("x", "warning") + json.dumps(OF_SYSTEMD) + "\n{}\n[1]\nnonsense\n"
    board.program("journalctl", text)
    assert board.kinds(CHECK) == []


def test_without_permission_it_cannot_look_and_without_systemd_there_is_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path)
    refusal = "No journal files were opened due to insufficient permissions."
    program(tmp_path / "bin", "journalctl", f"echo '{refusal}' >&2; exit 1")
    with pytest.raises(CannotLook, match="no permission") as lost:
        board.look(CHECK)
    assert lost.value.remedy == "run it with sudo"
    (board.root / "run/systemd/system/.keep").unlink()
    (board.root / "run/systemd/system").rmdir()
    with pytest.raises(NotHere):
        board.look(CHECK)


def test_a_journal_that_a_power_cut_takes_along_is_told_and_no_trouble(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.program("journalctl", "")
    assert [one.text for one in board.look(CHECK)] == ["no errors in the last hour"]
    (board.root / "var/log/journal/.keep").unlink()
    (board.root / "var/log/journal").rmdir()
    first, _ = board.look(CHECK)
    assert first.text == "the journal is kept in memory only: a power cut takes it along"
