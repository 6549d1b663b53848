"""A real network between terminal and broker: the cable is out, answers are lost, packets are lost at random."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.draining_terminal import draining_terminal
from tests.fakes.lived_time import LivedTime
from tests.fakes.namespaces import FarMosquitto, FarNetwork, far_network
from tests.fakes.proof_report import report, tally
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually

KEEP_ALIVE_S = 2
TAPS = 100
SILENT = (FarNetwork.cable_out, FarNetwork.answers_lost)


@pytest.mark.system
@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_a_network_that_fails_delays_taps_and_loses_none(
    tmp_path: Path, require_system: Callable[[str], str], rounds: int
) -> None:
    rnd = random.Random(rounds)
    recovery_s: list[float] = []
    silent_s: list[float] = []
    done: Counter[str] = Counter()
    binary = require_system("mosquitto")
    with far_network() as network, FarMosquitto(binary, tmp_path, network) as broker, LivedTime() as lived:
        faults = (*SILENT, FarNetwork.lossy) if network.can_lose() else SILENT
        link = link_settings(broker.port, host=broker.host, keepalive_s=KEEP_ALIVE_S, connect_timeout_s=1.0)
        async with draining_terminal(tmp_path, link, link) as running:
            connection = running.terminal.connection
            for number in range(rounds):
                fault = faults[number] if number < len(faults) else rnd.choice(faults)
                await running.taps(TAPS // 2)
                await eventually(lambda: running.terminal.publisher.snapshot().up)
                fault(network)
                done[fault.__name__] += 1
                begun = lived.monotonic()
                await running.taps(TAPS // 2)
                if fault in SILENT:
                    await eventually(lambda: connection.last_failure is not None)
                    silent_s.append(lived.monotonic() - begun)
                healed = time.monotonic()
                network.heal()
                await running.drained()
                recovery_s.append(time.monotonic() - healed)
            audited = await running.audit()
    # By the keep-alive, not by TCP, which takes minutes.
    assert sorted(silent_s)[len(silent_s) // 2] < 1.5 * KEEP_ALIVE_S, silent_s
    how = f"{tally(done)}; silence noticed after {max(silent_s):.1f} s at most, keep-alive {KEEP_ALIVE_S} s"
    report("network namespace", how, audited, times=rounds, recovery_s=recovery_s)
