"""What a running agent says of itself: the status, the retained state, the telemetry."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.models import ComponentState
from edge_agent.readers.service import ReaderState
from edge_agent.reports import reader_state
from edge_agent.uplink.wire import Health, State, StateWord
from firmware_bridge.links.base import LinkState
from firmware_bridge.messages import McuEvent
from firmware_bridge.protocol import Told
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, replace_reader, whole_agent, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeAgent]:
    async with whole_agent(tmp_path_factory.mktemp("agent")) as running:
        await running.until(lambda: running.agent.bridge.snapshot()[0].state is LinkState.UP)
        await running.until(lambda: running.agent._publisher and running.agent._publisher.snapshot().reason)
        await running.good_tap()
        yield running


def texts(value: Any) -> list[str]:
    """Every text in an answer."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


async def test_where_to_look_is_told_of_a_screen_whose_port_has_a_long_name(terminal: WholeAgent) -> None:
    port = "/dev/serial/by-id/usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_Controller_ec1a8de9d7f0ea11-if00-port0"
    why = f"{port}: no answer for 3 s, 120 frames that are no message of version 1: look at the firmware"
    link = replace(terminal.agent.bridge.snapshot()[0], state=LinkState.DOWN, detail=why)
    assert terminal.agent._reporter._screen(link, link.since)["detail"] == why


async def test_the_status_tells_who_it_is_and_how_each_part_does(terminal: WholeAgent) -> None:
    status = await terminal.status()
    assert (status["terminal"], status["fleet"]) == (TERMINAL, FLEET)
    assert status["now_playing"] == {"campaign": "c-1", "source": "terminal", "left_s": None}
    assert (status["version"], status["kid"]) == (metadata.version("edge-agent"), terminal.public.kid.hex())
    assert status["clock"]["trust"] == "synced"
    (reader,) = status["readers"]
    assert (reader["name"], reader["taps"], reader["device"]) == ("nfc0", 1, terminal.emulator.device_path)
    assert reader["chip"].startswith("PN532")
    (screen,) = status["screens"]
    assert (screen["name"], screen["kind"], screen["state"]) == ("serial0", "serial", "up")
    assert status["outbox"] | {"bytes_on_disk": 0, "chain": ""} == {
        "chain": "",
        "next_seq": 2,
        "pending": 1,
        "leased": 0,
        "sent": 0,
        "stored": 0,
        "parked": 0,
        "bytes_on_disk": 0,
        "evicted": 0,
        "gaps": 0,
        "fault": "",
        "quarantined": [],
        "salvaging": False,
    }
    assert (status["uplink"]["up"], status["uplink"]["reason"]) == (False, "refused")
    (tap,) = status["taps"]
    assert (tap["seq"], tap["mode"], tap["reader"]) == (1, "phone_app", "nfc0")
    assert tap["latency_ms"] == terminal.steps[-1].latency_ms()
    # On a machine that stopped the cue leaves too late to be this tap's.
    assert set(tap["latency_ms"]) - {"seen_to_reading_cue"} == {"seen_to_committed"}


async def test_no_text_of_the_status_can_move_a_terminals_cursor(terminal: WholeAgent) -> None:
    (service,) = terminal.agent._readers
    kept, service._last_error = service._last_error, "from the line: \x1b[2J\nforged" + "x" * 1000
    status = await terminal.status()
    service._last_error = kept
    assert "forged" in status["readers"][0]["last_error"]
    assert all(text.isprintable() and len(text) <= 300 for text in texts(status))


async def test_the_state_and_the_telemetry_are_what_the_contract_takes(terminal: WholeAgent) -> None:
    reporter = terminal.agent._reporter
    state = reporter.state(StateWord.ONLINE, "0123456789abcdef")
    assert State.decode(state.encode()) == state
    assert (state.readers, state.config) == ({"nfc0": "ok"}, terminal.configured().digest)
    health = await reporter.telemetry()
    payload = health.encode()
    assert Health.decode(payload) == health
    assert len(payload) <= 1024
    assert (health.figures["taps"], health.figures["outbox_pending"]) == (1, 1)
    assert set(json.loads(payload)["components"]) >= {"nfc0", "uplink", "outbox", "screens"}


async def test_the_newest_taps_are_shown_and_no_more_than_five(terminal: WholeAgent) -> None:
    for _ in range(5):
        await terminal.good_tap()
    status = await terminal.status()
    assert [tap["seq"] for tap in status["taps"]] == [2, 3, 4, 5, 6]


async def test_before_the_uplink_started_the_status_says_so(terminal: WholeAgent) -> None:
    publisher, terminal.agent._publisher = terminal.agent._publisher, None
    status = await terminal.status()
    terminal.agent._publisher = publisher
    assert (status["uplink"]["up"], status["uplink"]["reason"]) == (False, "starting")


async def test_identify_shows_the_terminals_name_on_its_display(terminal: WholeAgent) -> None:
    answer = await terminal.ask("identify")
    assert answer == {"terminal": TERMINAL}
    await eventually(lambda: terminal.display.showing.text == TERMINAL)


async def test_the_id_of_a_support_report_stands_on_the_display_beside_it(terminal: WholeAgent) -> None:
    answer = await terminal.ask("identify", report="K7QF-2M4D")
    assert answer == {"terminal": TERMINAL, "report": "K7QF-2M4D"}
    await eventually(lambda: terminal.display.showing.text == f"{TERMINAL} · K7QF-2M4D")


async def test_every_state_of_a_reader_has_a_word_for_the_health() -> None:
    assert all(isinstance(reader_state(state), ComponentState) for state in ReaderState)


async def test_the_largest_terminal_fits_its_telemetry_and_its_state(tmp_path: Path) -> None:
    screens = ['\n[[screens]]\ndriver = "simulated"\n'] * 4
    path = write_config(tmp_path, reader="/dev/none", host="127.0.0.1", port=free_port(), screens=screens)
    names = [f"{number}-has-a-long-name".ljust(24, "x") for number in range(12)]
    tables = [
        f'[[{"readers" if number < 8 else "tags"}]]\nname = "{name}"\ndriver = "simulated"\n'
        for number, name in enumerate(names)
    ]
    replace_reader(path, "".join(tables) + '[tickets]\nhost = "t.example.net"\n')
    agent = Agent(checked(load(path, {})))
    running = asyncio.create_task(agent.run())
    try:
        await eventually(lambda: running.done() or agent.outbox.is_open)
        links = agent.bridge.snapshot
        await eventually(lambda: running.done() or all(link.told for link in links()))
        for code, data in ((1, b"\x01"), (2, b""), (3, b"\xff\xff"), (4, b"")):
            for link in links():
                agent._screen_events.heard(link.name, Told(McuEvent(code, data)))
        health = await agent._reporter.telemetry()
        state = agent._reporter.state(StateWord.ONLINE, "0" * 16)
        agent._screen_events.of(links()[0].name).buttons = 10**500
        with capture_logs() as logs:
            cut = await agent._reporter.telemetry()
    finally:
        agent.stop()
        await running
    assert {"screen_buttons", "screen_tampers", "screen_resets", "screen_lux", "screen_temp"} <= health.figures.keys()
    assert set(names) <= health.components.keys()
    assert {"clock", "outbox", "screens", "uplink"} <= health.components.keys()
    assert len(cut.encode()) <= 1024
    assert not any(name.startswith("screen_") for name in cut.figures)
    assert [entry["event"] for entry in logs if "screen" in entry["event"]] == ["screen_figures_left_out"]
    worst = replace(
        health,
        components=dict.fromkeys(health.components, ComponentState.DEGRADED.value),
        figures=dict.fromkeys(cut.figures, 9_999_999_999),
    )
    assert len(worst.encode()) <= 1024
    assert set(names) <= State.decode(state.encode()).readers.keys()
