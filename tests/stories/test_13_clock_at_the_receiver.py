"""Story 13: no clock at boot (1970). Once one token of a boot is synced, the cloud knows when the others were."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.cloud.base import Redemption
from edge_agent.models import ClockTrust
from edge_agent.uplink.wire import encode_batch
from tests.fakes.cloud_site import CloudSite
from tests.fakes.ledger_rows import ledger_rows
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.tapping_terminal import NOW, TappingTerminal
from tests.fakes.waiting import eventually


async def test_taps_of_1970_get_their_true_time_and_still_buy_nothing(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        site = CloudSite(broker.host, broker.port, tmp_path)
        await site.ledger.open()
        terminal = site.register(TappingTerminal())
        began = NOW - 600
        # Up for ten minutes; NTP answers after eight. The clock started in 1970, at 0.
        unset = [
            terminal.tap(iat=up, exp=up, up=up, clk=ClockTrust.UNSET, nonce=b"early%03d" % up) for up in (20, 300, 470)
        ]
        synced = terminal.tap(up=600)
        straggler = terminal.tap(iat=475, exp=475, up=475, clk=ClockTrust.UNSET)
        async with site.receiving(), site.wire(terminal) as wire:
            await wire.batch(encode_batch(unset))
            await wire.acked(3)
            assert [row.rebased_at for row in ledger_rows(tmp_path / "ledger.db")] == [None] * 3
            await wire.tap(synced)
            await wire.tap(straggler)
            await wire.acked(5)
            await site.heard(5)
            await eventually(lambda: site.words("rebased"))
        rows = ledger_rows(tmp_path / "ledger.db")
        assert [row.rebased_at for row in rows] == [began + 20, began + 300, began + 470, None, began + 475]
        assert [row.verdict for row in rows] == ["late", "late", "late", "fresh", "late"]
        assert [event.rebased_at for event in site.events] == [None, None, None, None, began + 475]
        assert site.words("rebased")[0].facts["began_at"] == began
        assert [event.redeemable for event in site.events] == [False, False, False, True, False]
        for seq in (1, 2, 3, 5):
            cti = terminal.chain + seq.to_bytes(8, "big")
            assert await site.ledger.redeem(now=NOW, cti=cti) is Redemption.NOT_REDEEMABLE
        assert await site.ledger.redeem(now=NOW, nonce=b"early020") is Redemption.UNKNOWN
        await site.ledger.close()


async def test_a_boot_that_was_never_synced_stays_without_a_time(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        site = CloudSite(broker.host, broker.port, tmp_path)
        await site.ledger.open()
        terminal = site.register(TappingTerminal())
        tokens = [
            terminal.tap(iat=20, exp=20, up=20, clk=ClockTrust.UNSET, boot=b"boot---1"),
            terminal.tap(up=100, boot=b"boot---2"),
            terminal.tap(up=30, clk=ClockTrust.HOLDOVER, boot=b"boot---1"),
        ]
        async with site.receiving(), site.wire(terminal) as wire:
            for token in tokens:
                await wire.tap(token)
            await wire.acked(3)
        assert [row.rebased_at for row in ledger_rows(tmp_path / "ledger.db")] == [None] * 3
        assert site.words("rebased") == []
        await site.ledger.close()
