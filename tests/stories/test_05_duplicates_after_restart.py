"""Story 5: duplicates after restart or reconnect. The receiver de-duplicates by cti and counts."""

import shutil
from collections.abc import Callable
from pathlib import Path

from edge_agent.clock import FakeClock
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keys import PrivateKey
from edge_agent.uplink.wire import encode_batch
from tests.fakes.audit import audit
from tests.fakes.cloud_site import CloudSite
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.table_cloud import FLEET, STREAM, TERMINAL, table_cloud
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


async def test_what_a_crash_forgot_is_sent_again_and_kept_once(tmp_path: Path) -> None:
    key, clock = PrivateKey.generate(), FakeClock()
    codec = outbox_codec(key, FLEET, TERMINAL, clock)
    (tmp_path / "before").mkdir()
    before = OutboxStore(tmp_path / "before" / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    await before.open()
    promised = []
    for number in range(30):
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=number.to_bytes(8, "big"))
        promised.append((await before.append(Tap(facts=facts, at=clock.read(), ttl=90))).token)
    async with table_cloud(tmp_path, key.public, clock) as cloud:
        assert await cloud.deliver(before, max_rows=20) == 20
        two = await before.lease_backlog(1, max_rows=64, max_bytes=16_000)
        assert two is not None
        assert two.first == 21, "within one run no row is handed out twice"
        shutil.copytree(
            tmp_path / "before", tmp_path / "after"
        )  # the files as a crash leaves them: nothing was flushed
        await before.close()
        after = OutboxStore(
            tmp_path / "after" / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S)
        )
        await after.open()
        assert await cloud.deliver_all(after) == 0
        await after.close()
        audited = audit(cloud.path, promised, key=key.public, stream=STREAM)
    assert (audited.stored, audited.duplicates) == (30, 20)
