"""The exchanges: the agent's own state machine sends these commands and ends with these outcomes and cues."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.models import Cue, TapFacts
from edge_agent.readers.base import TargetKind
from edge_agent.readers.exchange import (
    Answered,
    Effect,
    Exchange,
    ExchangeSettings,
    FieldDetected,
    FieldLost,
    Finish,
    Issue,
    Send,
    Show,
    TokenReady,
)

VECTORS = json.loads((Path(__file__).parents[2] / "config/contract/vectors/apdu.json").read_text())


def play(vector: dict[str, Any]) -> tuple[list[str], list[Cue], TapFacts | None, str | None]:
    """Run the exchange against the phone of the vector; return commands, cues, what was issued, the outcome."""
    exchange = Exchange(ExchangeSettings(aids=tuple(map(bytes.fromhex, vector["aids"]))), reader="r0")
    answers = iter(vector["steps"])
    commands, cues = [], []
    effects: list[Effect] = list(exchange.handle(FieldDetected(TargetKind.ISO_DEP, seen_at=0.0), 0.0))
    while effects:
        match effects.pop(0):
            case Show(cue):
                cues.append(cue)
            case Send(apdu, _):
                commands.append(apdu.hex())
                answer = next(answers)["answer_hex"]
                event = FieldLost() if answer is None else Answered(bytes.fromhex(answer), rtt_s=0.02)
                effects += exchange.handle(event, 0.1)
            case Issue():
                effects += exchange.handle(TokenReady(bytes.fromhex(VECTORS["token_hex"])), 0.2)
            case Finish(outcome):
                return commands, cues, exchange.facts, outcome.value
    return commands, cues, exchange.facts, None


@pytest.mark.parametrize("vector", VECTORS["transcripts"], ids=[vector["name"] for vector in VECTORS["transcripts"]])
def test_the_agent_acts_as_the_vector_says(vector: dict[str, Any]) -> None:
    commands, cues, facts, outcome = play(vector)
    assert commands == [step["command_hex"] for step in vector["steps"]]
    assert outcome == vector["outcome"]
    assert cues[0] is Cue.READING
    assert cues[-1].value == vector["cue"]
    issued = vector["issued"]
    assert (facts is None) == (issued is None)
    if facts is not None:
        assert facts.nonce is not None
        assert facts.nonce.hex() == issued["nonce"]
        assert (facts.sub.hex() if facts.sub else None) == issued["sub"]


def test_every_command_is_a_short_apdu_with_le() -> None:
    for vector in VECTORS["transcripts"]:
        for step in vector["steps"]:
            command = bytes.fromhex(step["command_hex"])
            assert len(command) == 5 + command[4] + 1
            assert command[-1] == 0
