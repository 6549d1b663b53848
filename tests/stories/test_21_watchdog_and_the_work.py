"""Story 21: a watchdog that a bare timer feeds while the work is dead. Ours lives by the work; who restarts, says why.

Real processes with a notify socket. The short forms shrink the patience of the agent; `make proof` runs its own.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.errors import ExitCode
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.supervision.restart import LIMIT_PER_HOUR
from edge_agent.uplink.wire import State, StateWord, Topics
from tests.fakes.agent_process import AgentProcess, agent_process, edge_agent
from tests.fakes.lived_time import LivedTime
from tests.fakes.mosquitto import free_port
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, write_config

IMPATIENT = """
from edge_agent import app, guardian, monitor
from edge_agent.supervision import healing, sentinel
monitor.SILENT_S, monitor.SLOW_S, healing.HEAL_EVERY_S = 2.5, 0.5, 1.0
guardian.LOOK_EVERY_S = monitor.LOOK_EVERY_S = 0.25
app.READERS_STOP_S = app.UPLINK_STOP_S = app.REST_STOP_S = 0.3
sentinel.Sentinel.__init__.__kwdefaults__["blocked_s"] = 4.0  # two late looks
from edge_agent.readers import threaded_reader
threaded_reader._CLOSE_WITHIN_S = 0.2
"""
HANGS = """
import pathlib, time
from {module} import {owner}
def hangs(function):
    def call(*arguments):
        while pathlib.Path({file!r}).exists():
            time.sleep(0.02)
        return function(*arguments)
    return call
{owner}.{name} = hangs({owner}.{name})
"""
READER = ("edge_agent.readers.nfcpy_reader", "_Pn532", "poll")
WRITER = ("edge_agent.outbox.database", "Database", "bytes_on_disk")
LOOP = ("edge_agent.reports", "Reporter", "status")


class Fault:
    """A call that does not return while ``on``."""

    def __init__(self, file: Path, place: tuple[str, str, str]) -> None:
        self.file = file
        module, owner, name = place
        self.prelude = HANGS.format(module=module, owner=owner, name=name, file=str(file))

    def on(self) -> None:
        self.file.touch()

    def off(self) -> None:
        self.file.unlink()


@pytest.fixture(name="reader")
def _reader() -> Iterator[Pn532Emulator]:
    with Pn532Emulator() as emulator:
        yield emulator


@pytest.fixture(name="config")
def _config(tmp_path: Path, reader: Pn532Emulator) -> Path:
    return write_config(tmp_path, reader=reader.device_path, host="127.0.0.1", port=free_port())


@pytest.fixture(name="fault")
def _fault(tmp_path: Path) -> Callable[[tuple[str, str, str]], Fault]:
    return lambda place: Fault(tmp_path / "hang", place)


@contextmanager
def running(
    config: Path, folder: Path, fault: Fault, *, patience: str = IMPATIENT, watchdog: str = "6000000"
) -> Iterator[AgentProcess]:
    with agent_process(config, folder, {"WATCHDOG_USEC": watchdog}, prelude=patience + fault.prelude) as agent:
        agent.told("WATCHDOG=1")
        yield agent


def ends_itself(agent: AgentProcess, within_s: float = 60.0) -> None:
    """Wait for the restart."""
    assert agent.process.wait(within_s) == ExitCode.RESTART, agent.log


def reason(folder: Path) -> dict[str, object]:
    kept: dict[str, object] = json.loads((folder / "restart.json").read_text())
    return kept


def _wait_for(event: str, agent: AgentProcess, *, within_s: float = 40.0) -> None:
    """Wait until the agent has logged it: a state that lasts for a moment may never be a notification."""
    deadline = time.monotonic() + within_s
    while event not in agent.log:
        assert time.monotonic() < deadline, agent.log
        time.sleep(0.02)


def tap(reader: Pn532Emulator, *, within_s: float = 40.0) -> SimulatedPhone:
    """Hold a phone to the reader until it has its token."""
    phone = SimulatedPhone()
    reader.place(phone)
    deadline = time.monotonic() + within_s
    while not phone.tokens:
        assert time.monotonic() < deadline, "the phone was not served"
        time.sleep(0.01)
    reader.remove(phone)
    return phone


@pytest.mark.proof
def test_a_reader_that_hangs_for_a_while_is_started_anew_in_place(
    tmp_path: Path, reader: Pn532Emulator, config: Path, fault: Callable[[tuple[str, str, str]], Fault]
) -> None:
    hang = fault(READER)
    with running(config, tmp_path, hang) as agent:
        hang.on()
        _wait_for("thread_left_behind", agent)
        hang.off()
        tap(reader)
        agent.told("WATCHDOG=1")
        answer = json.loads(edge_agent("status", "--json", "--config", config).stdout)
        (part,) = [part for part in answer["health"]["components"] if part["name"] == "nfc0"]
        assert part["restarts"] >= 1
        assert "part_hangs" in agent.log
        assert agent.end()[0] == 0
    assert not (tmp_path / "restart.json").exists()


async def test_a_reader_that_hangs_for_good_restarts_the_agent_and_the_next_state_says_why(
    tmp_path: Path, reader: Pn532Emulator, fault: Callable[[tuple[str, str, str]], Fault]
) -> None:
    hang = fault(READER)
    with EmbeddedBroker() as broker:
        config = write_config(tmp_path, reader=reader.device_path, host=broker.host, port=broker.port)
        probe = Probe(link_settings(broker.port, client_id="observer"))
        topic = Topics(FLEET, TERMINAL).state
        await probe.up(topic)

        def states() -> list[State]:
            return [State.decode(payload) for payload in probe.payloads(topic)]

        with running(config, tmp_path, hang) as agent:
            await eventually(lambda: states() and states()[-1].state is StateWord.ONLINE)
            first = states()[-1]
            assert first.restart == ""
            await asyncio.to_thread(hang.on)
            await asyncio.to_thread(ends_itself, agent)
        assert (reason(tmp_path)["code"], reason(tmp_path)["late"]) == ("part_hangs", ["nfc0"])
        hang.off()
        with running(config, tmp_path, hang) as agent:
            await eventually(lambda: states()[-1].state is StateWord.ONLINE and states()[-1].session != first.session)
            assert states()[-1].restart.startswith("part_hangs: nfc0")
            await asyncio.to_thread(tap, reader)
            shown = await asyncio.to_thread(edge_agent, "status", "--config", config)
            assert "restarted part_hangs: nfc0" in " ".join(shown.stdout.split())
        await probe.link.close()


def test_a_blocked_event_loop_ends_the_process_and_names_the_place(
    tmp_path: Path, config: Path, fault: Callable[[tuple[str, str, str]], Fault]
) -> None:
    hang = fault(LOOP)
    with running(config, tmp_path, hang) as agent:
        hang.on()
        edge_agent("status", "--config", config)  # the question blocks the loop
        ends_itself(agent)
        assert "loop_blocked" in agent.log
    assert reason(tmp_path)["code"] == "loop_blocked"
    assert "call (<string>:" in str(reason(tmp_path)["text"])


def test_a_disk_that_hangs_rests_the_phones_at_once_and_restarts_the_agent(
    tmp_path: Path, reader: Pn532Emulator, config: Path, fault: Callable[[tuple[str, str, str]], Fault]
) -> None:
    hang = fault(WRITER)
    with running(config, tmp_path, hang) as agent:
        hang.on()
        agent.told("no sign of life from outbox")
        phone = SimulatedPhone()
        reader.place(phone)
        ends_itself(agent)
        assert phone.tokens == []
        assert "the outbox is busy" in agent.log
    assert (reason(tmp_path)["code"], reason(tmp_path)["late"]) == ("part_hangs", ["outbox"])


@pytest.mark.proof
def test_who_restarted_too_often_stays_and_the_reason_is_kept_before_the_watchdog_bites(
    tmp_path: Path, config: Path, fault: Callable[[tuple[str, str, str]], Fault]
) -> None:
    hang = fault(WRITER)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:16]
    up = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    (tmp_path / "restart.json").write_text(json.dumps({"boot": boot, "recent": [up] * LIMIT_PER_HOUR}))
    with running(config, tmp_path, hang) as agent:
        hang.on()
        agent.told("no sign of life from outbox")
        deadline = time.monotonic() + 40
        while "restart_held_back" not in agent.log or "code" not in reason(tmp_path):
            assert time.monotonic() < deadline
            assert agent.process.poll() is None, "it must not restart for ever"
            time.sleep(0.05)
        kept = reason(tmp_path)
        hang.off()
    assert (kept["code"], kept["late"]) == ("watchdog", ["outbox"])


@pytest.mark.proof
@pytest.mark.parametrize(("place", "code"), [(READER, "part_hangs"), (WRITER, "part_hangs"), (LOOP, "loop_blocked")])
def test_each_is_found_in_ten_seconds_with_the_patience_of_the_product(
    tmp_path: Path,
    config: Path,
    fault: Callable[[tuple[str, str, str]], Fault],
    place: tuple[str, str, str],
    code: str,
) -> None:
    hang = fault(place)
    with running(config, tmp_path, hang, patience="", watchdog="30000000") as agent, LivedTime() as lived:
        hang.on()
        begun = lived.monotonic()
        if place is LOOP:
            edge_agent("status", "--config", config)
        else:
            agent.told("no sign of life from")
            assert lived.monotonic() - begun < 10
        ends_itself(agent, 60)
    assert reason(tmp_path)["code"] == code
