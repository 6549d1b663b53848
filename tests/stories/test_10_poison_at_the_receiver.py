"""Story 10: a poison message blocks all others. At the receiver it is evidence, and the next tap is stored."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.fakes.cloud_site import CloudSite
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.tapping_terminal import TappingTerminal
from tests.fakes.waiting import eventually


async def test_taps_between_two_hundred_broken_messages_are_all_stored(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    rng = random.Random(10)
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        site = CloudSite(broker.host, broker.port, tmp_path)
        await site.ledger.open()
        terminal = site.register(TappingTerminal())
        async with site.receiving() as receiver, site.wire(terminal) as wire:
            for _ in range(20):
                good = terminal.tap()
                for _ in range(5):
                    broken = bytearray(good)
                    broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
                    await wire.tap(bytes(broken))
                    await wire.batch(bytes(broken[: rng.randrange(len(broken))]))
                await wire.tap(good)
            await wire.acked(20)
            await eventually(lambda: sum(receiver.counts.values()) == 220)
        assert site.verdicts.count("fresh") == 20
        (audit,) = await site.ledger.audit()
        assert (audit.count, audit.holes, audit.breaks) == (20, (), ())
        await site.ledger.close()
