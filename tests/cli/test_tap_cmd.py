import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.main import main
from edge_agent.errors import ControlError
from tests.fakes.control_stub import serving

PATH_OF_A_TAP = [
    ("seen", 0.0, {"technology": "simulated"}),
    ("cue", 0.4, {"cue": "reading", "screen": "serial0"}),
    ("token", 2.8, {"seq": 7}),
    ("ended", 2.9, {"outcome": "accepted"}),
    ("cue", 3.2, {"cue": "thanks", "screen": "serial0"}),
    ("sent", 4.3, {}),
    ("stored", 9.3, {}),
]


class Agent:
    """Makes test taps that come as far as ``through``."""

    def __init__(self, *, through: str = "stored", confirm: str = "receiver", up: bool = True) -> None:
        self.names = [name for name, _, _ in PATH_OF_A_TAP]
        self.through = self.names.index(through) + 1
        self.up = up
        self.confirm = confirm
        self.run = "a"
        self.made: list[dict[str, object]] = []
        self.refuses = ""

    async def simulate(self, request: dict[str, object]) -> dict[str, object]:
        if self.refuses:
            raise ControlError(self.refuses)
        self.made.append(request)
        after = 100 * len(self.made)
        name = request.get("reader", "nfc0")
        return {"run": "a", "after": after, "visit": len(self.made), "reader": name, "chain": "00" * 8, "seq": 7}

    async def steps(self, request: dict[str, object]) -> dict[str, object]:
        begun = request["after"] == 100 * len(self.made)
        told: list[dict[str, Any]] = [
            {"n": 1, "visit": len(self.made), "where": "nfc0", "step": name, "at_ms": at_ms, "age_s": 0.0, **facts}
            for name, at_ms, facts in PATH_OF_A_TAP[: self.through]
        ]
        told.insert(1, {"n": 1, "visit": 99, "step": "stored", "at_ms": 1.0, "age_s": 0.0})
        return {"run": self.run, "next": 1, "missed": 0, "steps": told if begun else []}

    async def status(self, _request: dict[str, object]) -> dict[str, object]:
        return {"uplink": {"up": self.up, "confirm": self.confirm, "text": "name not known"}}

    def tap(self, folder: Path, *words: str) -> int:
        ops = {"simulate-tap": self.simulate, "steps": self.steps, "status": self.status}
        with serving(folder / "s", ops):
            return main(["tap", "simulate", "--socket", str(folder / "s"), *words])


def test_each_step_is_printed_with_its_time_until_the_cloud_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Agent().tap(tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "test tap at nfc0, seq 7",
        "        0.4 ms  screen: reading on serial0",
        "        2.8 ms  token signed and on disk",
        "        3.2 ms  screen: thanks on serial0",
        "        4.3 ms  the broker has it",
        "        9.3 ms  the cloud has stored it",
        "",
        "ARRIVED: 1 test tap in the cloud",
        "",
        "Next: nothing to do.",
    ]


def test_where_the_broker_alone_confirms_its_word_is_the_last_one(tmp_path: Path) -> None:
    assert Agent(through="sent", confirm="broker").tap(tmp_path) == 0


@pytest.mark.parametrize(
    ("agent", "next_step"),
    [
        (Agent(through="token", up=False), "there is no connection (name not known)"),
        (Agent(through="sent"), "the receiver does not confirm"),
    ],
)
def test_what_does_not_arrive_in_time_waits_in_the_outbox_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: Agent, next_step: str
) -> None:
    assert agent.tap(tmp_path, "--wait", "0.2") == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "NOT YET: 1 test tap of 1 not in the cloud in time" in out
    assert "they wait in the outbox" in out
    assert next_step in out


def test_an_agent_that_was_restarted_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    agent = Agent()
    agent.run = "b"
    assert agent.tap(tmp_path, "--wait", "3000") == 1


def test_for_a_program_each_tap_is_an_object_on_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent()
    assert agent.tap(tmp_path, "--json", "--count", "2", "--reader", "tag0") == 0
    taps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(tap["reader"], tap["seq"], tap["arrived"]) for tap in taps] == [("tag0", 7, True)] * 2
    assert [step["step"] for step in taps[0]["steps"]] == agent.names
    assert [request["reader"] for request in agent.made] == ["tag0", "tag0"]


def test_why_the_agent_takes_none_now_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent()
    agent.refuses = "a phone is being served"
    assert agent.tap(tmp_path) == 3
    assert "a phone is being served" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--count", "0"], ["--count", "1001"], ["--wait", "-1"], ["--wait", "nan"]])
def test_what_makes_no_sense_is_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    agent = Agent()
    with pytest.raises(SystemExit) as caught:
        agent.tap(tmp_path, *words)
    assert caught.value.code == 2
    assert agent.made == []


def test_no_agent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tap", "simulate", "--socket", str(tmp_path / "none")]) == 3
    assert "is it running?" in capsys.readouterr().err
