"""A line that is cut, half-open, deaf in one direction, slow, or cut in the middle of a PUBLISH, again and again."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.draining_terminal import DrainingTerminal, draining_terminal
from tests.fakes.lived_time import LivedTime
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.proof_report import report, tally
from tests.fakes.rough_proxy import RoughProxy
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually

KEEP_ALIVE_S = 2
TAPS = 120


def cut(proxy: RoughProxy, _rnd: random.Random) -> None:
    proxy.cut()


def half_open(proxy: RoughProxy, _rnd: random.Random) -> None:
    proxy.hold()


def no_answers(proxy: RoughProxy, _rnd: random.Random) -> None:
    proxy.swallow_answers = True


def not_heard(proxy: RoughProxy, _rnd: random.Random) -> None:
    proxy.swallow_questions = True


def slow(proxy: RoughProxy, rnd: random.Random) -> None:
    proxy.delay_s, proxy.trickle = 0.002, rnd.randrange(50, 500)


def cut_in_a_publish(proxy: RoughProxy, rnd: random.Random) -> None:
    proxy.cut_after = rnd.randrange(1, 20_000)


FAULTS = (cut, half_open, no_answers, not_heard, slow, cut_in_a_publish)
SILENT = {half_open, no_answers, not_heard}


async def noticed(running: DrainingTerminal, connections: int, proxy: RoughProxy) -> None:
    """Wait until the terminal gives up a silent connection."""
    await eventually(lambda: running.terminal.connection.last_failure is not None or proxy.accepted > connections)


@pytest.mark.system
@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_a_bad_line_delays_taps_and_loses_none(
    tmp_path: Path, require_system: Callable[[str], str], rounds: int
) -> None:
    rnd = random.Random(rounds)
    recovery_s: list[float] = []
    silent_s: list[float] = []
    done: Counter[str] = Counter()
    with Mosquitto(require_system("mosquitto"), tmp_path, quiet=True) as broker, LivedTime() as lived:
        async with RoughProxy(broker.port) as proxy:
            uplink = link_settings(proxy.port, keepalive_s=KEEP_ALIVE_S, connect_timeout_s=1.0)
            async with draining_terminal(tmp_path, uplink, link_settings(broker.port)) as running:
                for number in range(rounds):
                    fault = FAULTS[number] if number < len(FAULTS) else rnd.choice(FAULTS)
                    await running.taps(TAPS // 2)
                    await eventually(lambda: running.terminal.publisher.snapshot().up)
                    connections, begun = proxy.accepted, lived.monotonic()
                    fault(proxy, rnd)
                    done[fault.__name__] += 1
                    await running.taps(TAPS // 2)
                    if fault in SILENT:
                        await noticed(running, connections, proxy)
                        silent_s.append(lived.monotonic() - begun)
                    healed = time.monotonic()
                    proxy.heal()
                    await running.drained()
                    recovery_s.append(time.monotonic() - healed)
                audited = await running.audit()
    # By the keep-alive, not by TCP, which takes minutes.
    assert 0.1 < sorted(silent_s)[len(silent_s) // 2] < 1.5 * KEEP_ALIVE_S, silent_s
    how = f"{tally(done)}; silence noticed after {max(silent_s):.1f} s at most, keep-alive {KEEP_ALIVE_S} s"
    report("bad line", how, audited, times=rounds, recovery_s=recovery_s)
