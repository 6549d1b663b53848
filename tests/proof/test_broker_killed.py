"""The broker dies amid a drain, again and again; it forgets everything each time, sessions and messages."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.uplink.base import TlsSettings
from tests.fakes.certificates import make_certificates
from tests.fakes.draining_terminal import draining_terminal
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.proof_report import report
from tests.fakes.uplink_terminal import link_settings

BACKLOG = 2500


@pytest.mark.system
@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_a_backlog_and_live_taps_survive_a_broker_that_dies_amid_the_drain(
    tmp_path: Path, require_system: Callable[[str], str], kills: int
) -> None:
    rnd = random.Random(kills)
    recovery_s: list[float] = []
    amid = 0
    certificates = make_certificates(tmp_path / "tls")
    secure = free_port()  # the certificates are the last listener's; the receiver stays on the first
    listener = [f"listener {secure} 127.0.0.1"]
    with Mosquitto(require_system("mosquitto"), tmp_path, tls=certificates, lines=listener, quiet=True) as broker:
        uplink = link_settings(secure, tls=TlsSettings(ca=certificates.ca))
        # What a dead broker forgot comes again after this; sooner, it only gets into the way of what is on it.
        again = {"max_in_flight": 4, "confirm_timeout_s": max(3.0, kills / 3)}
        async with draining_terminal(tmp_path, uplink, link_settings(broker.port), **again) as running:
            sent = running.terminal.sent
            broker.kill()
            # Where this machine stood still until all was drained there was nothing to lose: then once more.
            while (len(recovery_s) < kills or amid <= kills / 2) and len(recovery_s) < 4 * kills:
                await running.taps(BACKLOG)
                before, begun = len(sent), time.monotonic()
                broker.start()
                async with asyncio.timeout(60):
                    while len(sent) == before:  # noqa: ASYNC110 - the whole drain takes no longer than a pause
                        await asyncio.sleep(0)
                recovery_s.append(time.monotonic() - begun)
                await running.taps(rnd.randrange(4))
                await asyncio.sleep(rnd.random() * 0.01)
                broker.kill()
                stats = await running.outbox.stats()
                amid += stats.pending + stats.leased > 0
            broker.start()
            await running.drained(deadline_s=300)
            audited = await running.audit()
    assert amid > kills / 2, "the broker died when there was nothing left to lose"
    report(
        "broker killed amid a drain",
        f"{BACKLOG} taps waiting, TLS",
        audited,
        times=len(recovery_s),
        recovery_s=recovery_s,
    )
