"""Story 12: cloned SD card, two terminals with one identity. The cloud sees conflict, and pays nobody twice."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.cloud.base import Redemption
from tests.fakes.cloud_site import CloudSite
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.tapping_terminal import NOW, TappingTerminal


async def test_the_clones_taps_are_conflicts_with_their_proof_kept(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        site = CloudSite(broker.host, broker.port, tmp_path)
        await site.ledger.open()
        original = site.register(TappingTerminal())
        shared_past = original.taps(3)
        clone = original.twin()
        async with site.receiving() as receiver, site.wire(original) as wire:
            for token in shared_past:
                await wire.tap(token)
            await wire.tap(original.tap(nonce=b"phone--1"))
            await wire.tap(clone.tap(nonce=b"phone--2"))
            await wire.tap(original.tap())
            await wire.acked(5)
            await site.heard(6)
            assert receiver.counts["conflict"] == 1
        assert site.verdicts == ["fresh"] * 4 + ["conflict", "fresh"]
        assert await site.ledger.redeem(now=NOW, nonce=b"phone--2") is Redemption.UNKNOWN
        assert await site.ledger.redeem(now=NOW, nonce=b"phone--1") is Redemption.REDEEMED
        await site.ledger.close()
