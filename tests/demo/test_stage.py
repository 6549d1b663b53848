"""The stage of the demo: everything starts, everything ends, and its files and ports are its own."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from edge_agent.config import load
from edge_agent.demo import stage as stage_module
from edge_agent.demo.stage import Stage, config_text
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from tests.fakes.ledger_rows import ledger_rows
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import eventually


def test_the_terminals_configuration_is_a_valid_file(tmp_path: Path) -> None:
    text = config_text(tmp_path, reader="/dev/r", screen="/dev/s", page_port=0, broker=("127.0.0.1", 1883))
    path = tmp_path / "edge-agent.toml"
    path.write_text(text, encoding="utf-8")
    settings = load(path, {}).settings
    assert (settings.readers[0].driver, settings.uplink.uses_tls) == ("pn532", False)
    assert [screen.driver for screen in settings.screens] == ["serial", "web"]


async def test_a_tap_on_the_stage_is_a_row_and_the_page_is_there(tmp_path: Path) -> None:
    stage = Stage(tmp_path, free_port())
    async with stage.raised() as people:
        page = await asyncio.to_thread(_get, stage.page)
        assert b"<html" in page.lower()
        outcome = await people.tap()
        phone = outcome.card
        assert isinstance(phone, SimulatedPhone)
        times, event = await stage.outcome_of(phone.tokens[0])
        assert event.verdict.value == "fresh"
        timed = {"seen_to_committed", "seen_to_puback", "seen_to_stored"}
        assert set(times.latency_ms()) - {"seen_to_reading_cue"} == timed  # which the next cue may overtake
        assert parse(phone.tokens[0]).claims.seq == times.seq == 1
        display = stage.display
        assert display is not None
        await eventually(lambda: any("¥1.88" in text for _, _, text in display.cues))
    assert [row.token for row in ledger_rows(tmp_path / "ledger.db")] == phone.tokens
    await eventually(lambda: not _answers(stage.page))


async def test_a_token_that_is_never_stored_is_a_timeout_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "STORED_WITHIN_S", 0.05)
    stage = Stage(tmp_path, free_port())
    async with stage.raised() as people:
        outcome = await people.tap()
        phone = outcome.card
        assert isinstance(phone, SimulatedPhone)
        stage._events = NeverFilled()
        with pytest.raises(TimeoutError, match=r"could not store the tap within 0\.05 s"):
            await stage.outcome_of(phone.tokens[0])


class NeverFilled(dict):  # type: ignore[type-arg]  # whatever its keys are
    """What the receiver says is lost."""

    def __contains__(self, key: object) -> bool:
        return False


def _get(page: str) -> bytes:
    with urllib.request.urlopen(page, timeout=10) as answer:  # noqa: S310 - our own page
        body: bytes = answer.read()
    return body


def _answers(page: str) -> bool:
    try:
        _get(page)
    except OSError:
        return False
    return True
