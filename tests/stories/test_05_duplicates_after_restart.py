"""Story 5: duplicates after restart or reconnect. The receiver de-duplicates by cti and counts."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.uplink.wire import encode_batch
from tests.fakes.cloud_site import CloudSite
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.tapping_terminal import TappingTerminal


async def test_a_backlog_sent_again_after_every_restart_is_stored_once(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        site = CloudSite(broker.host, broker.port, tmp_path)
        await site.ledger.open()
        terminal = site.register(TappingTerminal())
        tokens = terminal.taps(30)
        for restart in range(3):
            async with site.receiving(), site.wire(terminal) as wire:
                await wire.batch(encode_batch(tokens[: 10 * (restart + 1)]))
                await wire.acked(10 * (restart + 1))
        stats = await site.ledger.stats()
        assert (stats.rows, stats.duplicates) == (30, 10 + 20)
        assert site.verdicts.count("duplicate") == 30
        await site.ledger.close()
