from pathlib import Path

import pytest

from edge_agent.diag.checks.host.restarts import CHECK
from edge_agent.diag.finding import CannotLook
from tests.diag.board import Board
from tests.fakes.control_stub import answering


@pytest.mark.parametrize(
    ("reason", "uptime_s", "kinds"),
    [("", 10, []), ("hung: nfc0", 10, ["agent-restarted"]), ("hung: nfc0", 90_000, [])],
)
def test_a_restart_of_its_own_counts_for_an_hour(
    tmp_path: Path, reason: str, uptime_s: float, kinds: list[str]
) -> None:
    board = Board(tmp_path)
    with answering(tmp_path / "control.sock", {"restarted_because": reason, "uptime_s": uptime_s}):
        assert board.kinds(CHECK) == kinds


def test_without_an_agent_it_cannot_look(tmp_path: Path) -> None:
    with pytest.raises(CannotLook):
        Board(tmp_path).look(CHECK)
