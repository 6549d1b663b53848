from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.diag.checks.host.service import CHECK, ending
from edge_agent.diag.finding import CannotLook, Finding, NotHere, Seen
from edge_agent.diag.units import Unit, unit, values
from tests.diag.board import Board, recording
from tests.diag.faults.healthy_root import program, service

# What a real systemd 252 said of services that end in each of these ways.
ENDINGS = {
    "c78": ("service-failed", "exit status 78: its configuration or its key is wrong"),
    "noexec": ("service-failed", "exit status 203: its program is missing or cannot be run: is the package whole?"),
    "nouser": ("service-failed", "exit status 217: its user does not exist"),
    "cred": ("service-failed", "exit status 243: a credential cannot be loaded"),
    "killed": ("service-failed", "it was killed by signal 9"),
    "watchdog": ("service-failed", "it hung, and the watchdog ended it"),
    "loop": ("service-restarting", "7 times so far; the last time exit status 1"),
    "bad": ("service-invalid", "systemd says bad-setting"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_way_to_end_is_told_in_words(tmp_path: Path, name: str) -> None:
    board = Board(tmp_path)
    board.systemctl(recording(f"systemctl-{name}"))
    told = [one for one in board.look(CHECK) if isinstance(one, Finding) and one.kind.id != "service-disabled"]
    assert [(one.kind.id, one.text) for one in told] == [ENDINGS[name]]


def test_one_that_runs_is_well(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-enabled"))
    assert board.look(CHECK) == [Seen("active as root")]


def test_one_that_runs_but_will_not_at_the_next_boot_is_found_and_can_be_enabled(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-running"))
    found, seen = board.look(CHECK)
    assert isinstance(found, Finding)
    assert isinstance(seen, Seen)
    assert (found.kind.id, found.text, seen.text) == ("service-disabled", "it is disabled", "active as nobody")
    assert found.fix is not None
    found.fix.run()
    assert board.called("systemctl").splitlines()[-1] == "enable edge-agent.service"


def test_a_repair_that_systemd_refuses_says_why(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(ActiveState="inactive", SubState="dead"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.kind.id == "service-stopped"
    assert found.fix is not None
    program(tmp_path / "bin", "systemctl", "echo 'Failed to start edge-agent.service: Access denied' >&2; exit 4")
    with pytest.raises(CannotLook, match="Access denied"):
        found.fix.run()


def test_one_that_came_back_many_times_and_only_just_is_found(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.mono = 5000.0
    board = Board(tmp_path, clock)
    board.systemctl(service(NRestarts="40", ActiveEnterTimestampMonotonic="4990000000"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert (found.kind.id, found.text) == ("service-restarting", "40 times so far, the last time 10 s ago")
    clock.mono += 600
    assert board.look(CHECK) == [Seen("active as root, started again 40 times")]


def test_a_unit_file_that_systemd_has_not_read_is_found(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(NeedDaemonReload="yes"))
    assert board.kinds(CHECK) == ["service-changed"]


def test_a_masked_one_is_for_a_person_to_decide(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(LoadState="masked", UnitFileState="masked", ActiveState="inactive", SubState="dead"))
    found = [one for one in board.look(CHECK) if isinstance(one, Finding)]
    assert [one.kind.id for one in found] == ["service-disabled", "service-stopped"]
    assert found[0].fix is None


def test_without_the_unit_or_without_systemd_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-missing"))
    with pytest.raises(NotHere, match="not installed as a service"):
        board.look(CHECK)
    (board.root / "run/systemd/system/.keep").unlink()
    (board.root / "run/systemd/system").rmdir()
    with pytest.raises(NotHere, match="not booted with systemd"):
        board.look(CHECK)


def test_a_systemctl_that_cannot_reach_systemd_cannot_look(tmp_path: Path) -> None:
    board = Board(tmp_path)
    program(tmp_path / "bin", "systemctl", "echo 'Failed to connect to bus: Host is down' >&2; exit 1")
    with pytest.raises(CannotLook, match="Host is down"):
        unit(board.site)


def test_an_ending_that_nobody_knows_is_told_as_it_is() -> None:
    assert (
        ending(Unit("x", values("Result=exec-condition\nExecMainStatus=9\n"))) == "it ended: exec-condition, status 9"
    )
