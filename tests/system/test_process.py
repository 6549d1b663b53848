"""The agent as a service manager and a technician see it: a process, its signals, its exit status, its words."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.control_client import ask
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.uplink.wire import State, StateWord, Topics
from tests.fakes.agent_process import agent_process, edge_agent
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, write_config

STATE = Topics(FLEET, TERMINAL).state


@pytest.fixture(name="reader")
def _reader() -> Iterator[Pn532Emulator]:
    with Pn532Emulator() as emulator:
        yield emulator


@pytest.fixture(name="config")
def _config(tmp_path: Path, reader: Pn532Emulator) -> Path:
    """Of a terminal without a broker."""
    return write_config(tmp_path, reader=reader.device_path, host="127.0.0.1", port=free_port())


@pytest.fixture(name="broker")
def _broker(tmp_path: Path, require_system: Callable[[str], str]) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path) as running:
        yield running


async def states(broker: Mosquitto) -> Probe:
    """An observer of the terminal's retained state."""
    probe = Probe(link_settings(broker.port, client_id="observer"))
    await probe.up(STATE)
    return probe


def words(probe: Probe) -> list[StateWord]:
    return [State.decode(payload).state for payload in probe.payloads(STATE)]


@pytest.mark.system
async def test_a_service_from_ready_to_a_clean_end(tmp_path: Path, reader: Pn532Emulator, broker: Mosquitto) -> None:
    config = write_config(tmp_path, reader=reader.device_path, host="localhost", port=broker.port)
    probe = await states(broker)
    with agent_process(config, tmp_path) as agent:
        await eventually(lambda: StateWord.ONLINE in words(probe))
        agent.told("STATUS=ok")
        agent.told("WATCHDOG=1")
        asked = edge_agent("status", "--json", "--config", config)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        answer = json.loads(asked.stdout)
        assert answer["health"]["state"] == "ok"
        assert (answer["terminal"], answer["uplink"]["up"], answer["readers"][0]["state"]) == (
            TERMINAL,
            True,
            "polling",
        )
        told = edge_agent("status", "--config", config)
        assert told.returncode == 0
        assert told.stdout.startswith(f"{TERMINAL}: OK")
        status, took_s = agent.end()
        assert status == 0
        assert took_s < 10, "1 s on a quiet machine"
        agent.told("STOPPING=1")
        await eventually(lambda: words(probe)[-1] is StateWord.STOPPED)
        assert "Traceback" not in agent.log
        assert "component_crashed" not in agent.log
    assert StateWord.LOST not in words(probe)
    assert edge_agent("status", "--config", config).returncode == 3
    assert not (tmp_path / "control.sock").exists()
    await probe.link.close()


@pytest.mark.system
async def test_a_killed_agent_is_lost_and_its_successor_is_online(
    tmp_path: Path, reader: Pn532Emulator, broker: Mosquitto
) -> None:
    config = write_config(tmp_path, reader=reader.device_path, host="localhost", port=broker.port)
    probe = await states(broker)
    with agent_process(config, tmp_path) as agent:
        await eventually(lambda: StateWord.ONLINE in words(probe))
        agent.end(signal.SIGKILL)
        await eventually(lambda: words(probe)[-1] is StateWord.LOST)
    with agent_process(config, tmp_path):
        await eventually(lambda: words(probe)[-1] is StateWord.ONLINE)
    await probe.link.close()
    sessions = {State.decode(payload).session for payload in probe.payloads(STATE)}
    assert len(sessions) == 2, "the will bears the session of the birth, and each process has its own"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_broker_reader_or_screen_it_runs_and_ends_in_time(tmp_path: Path, number: signal.Signals) -> None:
    screen = '\n[[screens]]\ndriver = "serial"\ndevice = "/dev/no-such-screen"\n'
    config = write_config(tmp_path, reader="/dev/no-such-reader", host="127.0.0.1", port=free_port(), screens=[screen])
    with agent_process(config, tmp_path) as agent:
        parts, told_parts = ("nfc0", "screens", "uplink"), agent.told("STATUS=failed")
        while not all(part in told_parts for part in parts):  # the others fail a moment later
            told_parts = agent.told("STATUS=failed")
        asked = edge_agent("status", "--config", config)
        assert asked.returncode == 1
        last = asked.stdout.strip().splitlines()[-1]
        assert all(part in last for part in parts)
        status, took_s = agent.end(number)
        assert status == 0
        assert took_s < 10, "1 s on a quiet machine"
        assert "Traceback" not in agent.log


def test_a_log_that_nobody_reads_any_more_stops_nothing(tmp_path: Path, reader: Pn532Emulator, config: Path) -> None:
    read_end, write_end = os.pipe()
    with agent_process(config, tmp_path, log_to=write_end) as agent:
        os.close(write_end)
        os.close(read_end)  # as if the journal had been restarted: every write is EPIPE now
        for number in (1, 2):
            phone = SimulatedPhone()
            reader.place(phone)
            deadline = time.monotonic() + 60
            while not phone.tokens:
                assert time.monotonic() < deadline, f"phone {number} was not served"
                time.sleep(0.01)
            reader.remove(phone)
            reader.wait_idle()
            while ask(tmp_path / "control.sock", {"op": "status"})["readers"][0]["state"] != "polling":
                assert time.monotonic() < deadline, f"phone {number} is still there"
                time.sleep(0.02)
        answer = json.loads(edge_agent("status", "--json", "--config", config).stdout)
        assert [part["restarts"] for part in answer["health"]["components"] if part["restarts"]] == []
        assert agent.end()[0] == 0


def one_line(run: subprocess.CompletedProcess[str]) -> str:
    """What it said, if that is one line or a line and its remedy."""
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    said = [line for line in run.stderr.strip().splitlines() if not line.startswith("{")]  # logs are JSON
    assert 1 <= len(said) <= 2, run.stderr
    return said[0]


def test_a_missing_key_file_ends_it_with_78_and_is_never_made(tmp_path: Path, config: Path) -> None:
    (tmp_path / "tap.key").unlink()
    run = edge_agent("run", "--config", config)
    assert run.returncode == 78
    assert "tap.key" in one_line(run)
    assert not (tmp_path / "tap.key").exists()
    assert not (tmp_path / "outbox.db").exists()


@pytest.mark.parametrize("damage", ["empty", "torn", "open to all"])
def test_a_key_file_that_cannot_be_used_ends_it_with_78_and_is_left_alone(
    tmp_path: Path, config: Path, damage: str
) -> None:
    key = tmp_path / "tap.key"
    whole = key.read_bytes()
    if damage == "open to all":
        key.chmod(0o644)
    else:
        key.write_bytes(whole[: len(whole) // 2 if damage == "torn" else 0])
    before = (key.read_bytes(), key.stat().st_mode)
    run = edge_agent("run", "--config", config)
    assert run.returncode == 78
    assert "tap.key" in one_line(run)
    assert (key.read_bytes(), key.stat().st_mode) == before


def test_every_wrong_setting_is_one_line_and_the_exit_status_is_78(tmp_path: Path, config: Path) -> None:
    text = config.read_text(encoding="utf-8").replace("poll_ms = 20", 'poll_ms = "soon"\ncolour = 1')
    config.write_text(text, encoding="utf-8")
    run = edge_agent("run", "--config", config, env={"EDGE_AGENT__TOKEN__TTL": "many"})
    assert run.returncode == 78
    assert "Traceback" not in run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 3, run.stderr
    for word in ("[readers[0].poll_ms]", "[readers[0].colour]", "[token.ttl]"):
        assert len([line for line in lines if word in line]) == 1


def test_a_configuration_that_is_not_there_is_78(tmp_path: Path) -> None:
    run = edge_agent("run", "--config", tmp_path / "nowhere.toml")
    assert run.returncode == 78
    assert "nowhere.toml" in one_line(run)


def test_an_outbox_that_cannot_be_opened_is_an_error_and_never_a_database_in_memory(
    tmp_path: Path, config: Path
) -> None:
    run = edge_agent("run", "--config", config, env={"EDGE_AGENT__OUTBOX__PATH": str(tmp_path / "none" / "outbox.db")})
    assert run.returncode == 1
    assert "outbox.db" in one_line(run)


def test_a_second_agent_on_the_same_outbox_says_so_and_ends(tmp_path: Path, config: Path) -> None:
    with agent_process(config, tmp_path) as first:
        second = edge_agent("run", "--config", config)
        assert second.returncode not in {0, 78}
        assert "outbox.db" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.process.poll() is None
        assert edge_agent("status", "--config", config, "--json").returncode in {0, 1}
        assert first.end()[0] == 0


def test_the_running_agent_has_imported_nothing_that_it_does_not_need(config: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge_agent.settings import Check\n"
        "check = Check(Path(sys.argv[1]))\n"
        "from edge_agent import app, logs\n"
        "app.Agent(check.result())\n"
        "print(*sorted(sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "edge_agent.app" in loaded
    for unwanted in ("pydantic", "edge_agent.cloud", "edge_agent.simulation", "edge_agent.config", "edge_agent.demo"):
        assert not {name for name in loaded if name == unwanted or name.startswith(unwanted + ".")}


def test_ctrl_c_ends_the_demo_quietly() -> None:
    command = [sys.executable, "-m", "edge_agent", "demo", "--json"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        seen = [json.loads(demo.stdout.readline()) for _ in range(2)]
        assert [line["event"] for line in seen] == ["started", "tap"]
        os.killpg(demo.pid, signal.SIGINT)  # a terminal sends it to the whole group
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert err == ""
    summary = json.loads(out.splitlines()[-1])
    assert summary["taps"] == summary["stored"] >= 1  # another one may have come meanwhile


def test_the_demo_ends_with_the_summary_that_programs_read() -> None:
    run = edge_agent("demo", "--taps", "1", "--json")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    summary = json.loads(run.stdout.splitlines()[-1])
    assert list(summary) == ["taps", "stored", "verdicts", "latency_ms"]
    assert (summary["taps"], summary["stored"], summary["verdicts"]) == (1, 1, {"fresh": 1})
    steps = ["seen_to_reading_cue", "seen_to_committed", "seen_to_puback", "seen_to_stored"]
    assert list(summary["latency_ms"]) == steps
    for step, values in summary["latency_ms"].items():
        assert list(values) == ["p50", "p99"]
        if values["p50"] is None:
            assert step == "seen_to_reading_cue", "on a busy machine thanks may overtake it, or it may be the last"
        else:
            assert 0 < values["p50"] <= values["p99"]
    medians = [summary["latency_ms"][step]["p50"] for step in steps[1:]]
    assert medians == sorted(medians)


def test_the_demo_for_people_tells_each_tap_and_the_page() -> None:
    run = edge_agent("demo", "--taps", "1")
    assert run.returncode == 0, run.stderr
    assert "http://127.0.0.1:" in run.stdout
    assert "1 of 1 taps stored: 1 fresh" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 80
