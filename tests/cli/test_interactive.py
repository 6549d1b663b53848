import io
import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.interactive import walk
from edge_agent.cli.render import Paper
from edge_agent.errors import ControlError
from tests.fakes.control_stub import serving

GOOD = [
    ("seen", {"technology": "iso_dep", "sak": 32, "uid_bytes": 4}),
    ("ats", {"ats": "0578807002"}),
    ("answered", {"aid": "f05441504544474501", "sw": "9000", "ms": 12.0}),
    ("nonce", {"nonce_bytes": 12}),
    ("token", {"seq": 7}),
    ("cue", {"cue": "thanks", "screen": "serial0"}),
    ("ended", {"outcome": "accepted", "why": ""}),
    ("sent", {}),
    ("stored", {}),
]
STATUS: dict[str, Any] = {
    "readers": [{"name": "nfc0", "state": "polling", "chip": "PN532 v1.6"}],
    "screens": [{"name": "serial0", "state": "up"}],
    "uplink": {"up": True},
}


def walked(
    folder: Path,
    steps: list[tuple[str, dict[str, Any]]],
    *,
    status: dict[str, Any] = STATUS,
    runs: tuple[str, str] = ("a", "a"),
    as_json: bool = False,
    wait_s: float = 30.0,
) -> tuple[int, str]:
    asked: list[dict[str, object]] = []

    async def tell(request: dict[str, object]) -> dict[str, object]:
        asked.append(request)
        told = [
            {"n": n, "visit": 3, "where": "nfc0", "step": name, "at_ms": float(n), "age_s": 0.0, **facts}
            for n, (name, facts) in enumerate(steps)
        ]
        first = len(asked) == 1
        return {"run": runs[not first], "next": 9, "missed": 0, "steps": told if len(asked) == 2 else []}

    async def say(_request: dict[str, object]) -> dict[str, object]:
        return status

    out = io.StringIO()
    with serving(folder / "s", {"steps": tell, "status": say}):
        return walk(Paper(out, {}), folder / "s", as_json=as_json, wait_s=wait_s), out.getvalue()


def test_it_says_step_by_step_what_it_sees_and_that_all_is_well(tmp_path: Path) -> None:
    status, out = walked(tmp_path, GOOD)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "Hold a phone to the screen now."
    assert lines[1] == "Looking with nfc0 (PN532 v1.6); Ctrl-C ends it."
    seen = [line.partition("ms  ")[2].partition(":")[0].partition(" ")[0] for line in lines if " ms  " in line]
    assert seen == ["field", "ATS", "AID", "app", "token", "cue", "end", "broker", "ack"]
    assert "ALL IS WELL: the phone was served, and serial0 showed it" in out
    assert lines[-1] == "Next: nothing to do."
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "nothing came into any field"),
        ([*GOOD[:2], ("ended", {"outcome": "no_app", "why": ""})], "none of our AIDs is on it"),
        ([*GOOD[:3], ("ended", {"outcome": "locked", "why": ""})], "the app wants the phone unlocked"),
    ],
)
def test_where_it_gets_stuck_it_says_what_that_means(
    tmp_path: Path, steps: list[tuple[str, dict[str, Any]]], says: str
) -> None:
    status, out = walked(tmp_path, steps, wait_s=30.0 if steps else 0.1)
    assert status == 1
    assert f"STUCK: {says}" in " ".join(out.split()) or says in " ".join(out.split())
    assert out.splitlines()[-1] != "Next: nothing to do."


def test_without_a_reader_that_works_nobody_is_asked_to_hold_anything(tmp_path: Path) -> None:
    lost = STATUS | {"readers": [{"name": "nfc0", "state": "lost", "last_error": "nothing answers at /dev/x"}]}
    status, out = walked(tmp_path, GOOD, status=lost)
    assert status == 1
    assert "no reader works: nfc0: nothing answers at /dev/x" in out
    assert "Hold" not in out


def test_a_restart_of_the_agent_in_between_is_said(tmp_path: Path) -> None:
    status, out = walked(tmp_path, GOOD, runs=("a", "b"))
    assert status == 1
    assert "restarted meanwhile" in out


def test_for_a_program_each_line_is_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = walked(tmp_path, GOOD, as_json=True)
    assert (status, out) == (0, "")
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found["event"] for found in objects] == ["ready", *["step"] * len(GOOD), "end"]
    assert (objects[-1]["ok"], objects[-1]["id"]) == (True, "ok")


def test_no_agent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ControlError):
        walk(Paper(io.StringIO(), {}), tmp_path / "none")
