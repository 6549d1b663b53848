import pytest
import structlog

from edge_agent.clock import FakeClock
from edge_agent.errors import TapRefused
from edge_agent.models import TapFacts, TapMode
from edge_agent.outbox.base import Notice
from edge_agent.tap_gate import FLOOD_ALARM, TapGate


class Agent:
    """What the gate has an effect on."""

    def __init__(self, *, cooldown_s: float = 5.0) -> None:
        self.clock = FakeClock()
        self.rests: list[bool] = []
        self.told: list[Notice] = []
        self.gate = TapGate(
            taps_per_minute=60,
            burst=8,
            cooldown_s=cooldown_s,
            clock=self.clock,
            rest=self.rests.append,
            tell=self.told.append,
        )

    def flood(self) -> None:
        while not self.gate.flooded:
            self.tap()

    def tap(self, nonce: bytes | None = None, sub: bytes | None = None) -> bool:
        facts = TapFacts(TapMode.PHONE_APP, "nfc0", nonce=nonce, sub=sub)
        try:
            self.gate.kept(self.gate.admit(facts))
        except TapRefused:
            return False
        return True


def test_a_flood_rests_the_screens_once_and_is_told_once_with_its_counts() -> None:
    agent = Agent()
    agent.flood()
    for _ in range(20):
        assert not agent.tap()
    assert agent.rests == [True]
    (notice,) = agent.told
    assert notice == Notice(
        FLOOD_ALARM,
        "more than 60 taps a minute: the screens rest, further taps are refused",
        {"refused": 1, "floods": 1, "burst": 8, "taps_per_minute": 60},
    )
    assert agent.gate.refused == {"cooling": 0, "flood": 21}


def test_a_look_ends_a_flood_and_one_line_says_how_many_were_refused() -> None:
    agent = Agent()
    agent.flood()
    agent.clock.advance(1.9)
    assert not agent.tap()
    with structlog.testing.capture_logs() as lines:
        agent.gate.look()
        assert agent.rests == [True]
        agent.clock.advance(0.1)
        agent.gate.look()
        agent.gate.look()
    assert agent.rests == [True, False]
    assert lines == [{"event": "tap_flood_over", "log_level": "info", "refused": 2, "lasted_s": 2.0}]
    assert agent.tap()


def test_what_is_refused_names_nobody() -> None:
    agent = Agent()
    secret = bytes.fromhex("04a1b2c3d4e5f6a7")
    assert agent.tap(secret, secret)
    with pytest.raises(TapRefused) as refused:
        agent.gate.admit(TapFacts(TapMode.PHONE_APP, "nfc0", nonce=b"another1", sub=secret))
    said = f"{refused.value} {refused.value!r} {refused.value.args}"
    assert secret.hex() not in said
    assert repr(secret) not in said
    assert "cooldown_s in [limits]" in said
    assert agent.told == []


def test_a_failed_tap_is_forgotten() -> None:
    agent = Agent()
    facts = TapFacts(TapMode.CARD, "nfc0", sub=b"card")
    for _ in range(20):
        agent.gate.failed(facts, agent.gate.admit(facts))
        agent.clock.advance(0.001)
    assert agent.tap(sub=b"card")
    assert not agent.tap(sub=b"card")


def test_a_repeated_nonce_starts_its_cool_down_anew() -> None:
    agent = Agent()
    assert agent.tap(b"nonce-01")
    agent.clock.advance(89)
    agent.gate.repeated(b"nonce-01", None)
    agent.clock.advance(2)
    assert not agent.tap(b"nonce-01")
