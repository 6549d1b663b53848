"""No machine, however bare or odd, makes a check crash: it finds, cannot look, or has nothing to look at."""

import random
from pathlib import Path

import pytest

from edge_agent.diag.check import all_checks
from edge_agent.diag.runner import KINDS, run_checks
from edge_agent.diag.site import Site
from tests.diag.board import Board
from tests.diag.faults.healthy_root import FILES, program

OURS = {kind.id for kind in KINDS}
NOISE = random.Random(6).randbytes(4000)
ODD = {
    "empty": b"",
    "zeros": bytes(64),
    "a huge number": b"9" * 5000 + b"\n",
    "a negative number": b"-1\n",
    "digits of another script": "٣٤٥ ²\n".encode(),
    "noise": NOISE,
    "lines": b"\n = \n:\n- - -\n" * 50,
}


def crashed(site: Site) -> list[str]:
    """What failed of the checks themselves."""
    report = run_checks(all_checks(), site, check_s=60, all_s=90)  # a crash is meant, not a slow machine
    return [f"{one.subject}: {one.text}" for one in (*report.shown, *report.hidden) if one.kind.id in OURS]


@pytest.mark.parametrize("configured", [True, False])
def test_on_a_bare_machine_no_check_crashes(tmp_path: Path, configured: bool) -> None:
    config = Board(tmp_path).config
    if not configured:
        config.unlink()
    (tmp_path / "nothing").mkdir()
    assert crashed(Site(config, root=tmp_path / "nothing", env={"PATH": "/nonexistent"})) == []


@pytest.mark.parametrize("odd", ODD)
def test_whatever_stands_in_its_files_no_check_crashes(tmp_path: Path, odd: str) -> None:
    board = Board(tmp_path)
    more = ("/sys/class/rtc/rtc0/since_epoch", "/sys/block/mmcblk0/stat", "/sys/class/thermal/thermal_zone7/temp")
    events = "/sys/fs/cgroup/system.slice/edge-agent.service/memory.events"
    for name in (*FILES, *more, events):
        board.put(name, "")
        (board.root / name.lstrip("/")).write_bytes(ODD[odd])
    assert crashed(board.site) == []


@pytest.mark.parametrize("odd", ODD)
def test_whatever_the_programs_of_the_system_say_no_check_crashes(tmp_path: Path, odd: str) -> None:
    board = Board(tmp_path)
    said = tmp_path / "said"
    said.write_bytes(ODD[odd] + b"\nNRestarts=" + ODD[odd] + b"\nUser=" + ODD[odd] + b"\nLoadState=loaded\n")
    for name in ("systemctl", "journalctl", "timedatectl"):
        program(tmp_path / "bin", name, f"cat '{said}'")
    assert crashed(board.site) == []
