from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.diag.checks.host.clock import CHECK
from edge_agent.diag.finding import Finding, Seen
from edge_agent.models import ClockTrust
from tests.diag.board import Board, recording
from tests.fakes.control_stub import answering

ON, OFF = "NTP=yes\nNTPSynchronized=no\n", "NTP=no\nNTPSynchronized=no\n"


def board(folder: Path, trust: ClockTrust, service: str = ON, unix: int = 1_790_000_000) -> Board:
    made = Board(folder, FakeClock(trust=trust, unix=unix))
    made.program("timedatectl", service)
    return made


def test_a_synchronised_clock_is_well(tmp_path: Path) -> None:
    assert board(tmp_path, ClockTrust.SYNCED).look(CHECK) == [Seen("synchronised, 2026-09-21 14:13 UTC")]


@pytest.mark.parametrize(
    ("trust", "finding"), [(ClockTrust.HOLDOVER, "clock-unsynchronised"), (ClockTrust.UNSET, "clock-unset")]
)
def test_one_that_no_server_keeps_is_found_as_the_kernel_says(tmp_path: Path, trust: ClockTrust, finding: str) -> None:
    assert board(tmp_path, trust).kinds(CHECK) == [finding]


def test_the_agent_who_knows_the_last_good_time_knows_better_than_the_kernel(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.UNSET)
    with answering(tmp_path / "control.sock", {"clock": {"unix": 1, "trust": "holdover"}}):
        assert made.kinds(CHECK) == ["clock-unsynchronised"]


def test_without_any_time_service_that_is_the_cause_and_it_can_be_switched_on(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.UNSET, recording("timedatectl-container"))
    cause, consequence = made.look(CHECK)
    assert isinstance(cause, Finding)
    assert isinstance(consequence, Finding)
    assert cause.kind.id == "clock-service-off"
    assert cause.explains(consequence)
    assert cause.fix is not None
    cause.fix.run()
    assert made.called("timedatectl").splitlines()[-1] == "set-ntp true"


def test_a_date_before_this_program_is_wrong_whoever_vouches_for_it(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.SYNCED, unix=120)
    (found,) = made.look(CHECK)
    assert isinstance(found, Finding)
    assert (found.kind.id, found.text) == ("clock-wrong", "it says 1970-01-01 00:02 UTC")


def test_what_the_configuration_takes_for_granted_is_not_doubted(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.UNSET, OFF)
    made.add('[clock]\ntrust = "assume-synced"\n')
    assert made.kinds(CHECK) == []


def test_an_agent_that_is_not_told_what_the_kernel_says_is_found(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.SYNCED)
    with answering(tmp_path / "control.sock", {"clock": {"unix": 1, "trust": "unset"}}):
        assert made.kinds(CHECK) == ["clock-unheard"]


def test_it_looks_without_a_configuration_and_without_timedatectl(tmp_path: Path) -> None:
    made = board(tmp_path, ClockTrust.UNSET)
    made.config.write_text("torn")
    (tmp_path / "bin/timedatectl").unlink()
    assert made.kinds(CHECK) == ["clock-unset"]
