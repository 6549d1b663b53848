from pathlib import Path

import pytest

from edge_agent.diag.checks.host.kiosk import CHECK
from edge_agent.diag.finding import Finding, NotHere
from tests.diag.board import Board, recording
from tests.diag.faults.healthy_root import service


def test_one_that_runs_is_well(tmp_path: Path) -> None:
    assert Board(tmp_path).kinds(CHECK) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ActiveState": "inactive", "SubState": "dead"}, "stopped"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainStatus": "11"}, "by signal 11"),
        ({"ActiveState": "activating", "SubState": "start-pre"}, "it waits for the page"),
    ],
)
def test_one_that_should_run_and_does_not_is_found(tmp_path: Path, changes: dict[str, str], text: str) -> None:
    board = Board(tmp_path)
    board.systemctl(service(**changes))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.kind.id == "kiosk-down"
    assert text in found.text


def test_its_repair_starts_it(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(ActiveState="inactive"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.fix is not None
    found.fix.run()
    assert board.called("systemctl").splitlines()[-1] == "restart edge-kiosk.service"


@pytest.mark.parametrize("name", ["missing", "disabled"])
def test_a_board_without_a_kiosk_has_nothing_to_look_at(tmp_path: Path, name: str) -> None:
    board = Board(tmp_path)
    board.systemctl(recording(f"systemctl-{name}"))
    with pytest.raises(NotHere):
        board.look(CHECK)
