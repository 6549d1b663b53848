"""Story 1: "sent" before it was acknowledged. A row is done by the PUBACK of its own message in its own connection."""

from pathlib import Path

from edge_agent.cloud.broker import EmbeddedBroker
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.whole_agent import WholePath, cloud_site, register, whole_agent


async def test_taps_that_a_dying_link_swallows_are_sent_again(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        site = cloud_site(tmp_path, broker.host, broker.port)
        await site.ledger.open()
        async with (
            site.receiving(),
            TcpProxy(broker.port) as proxy,
            whole_agent(tmp_path, host="127.0.0.1", port=proxy.port) as terminal,
        ):
            register(site, terminal.public)
            path = WholePath(terminal, site)
            tokens = []
            for _ in range(3):
                await terminal.connected()
                proxy.hold()  # TCP takes what is written; nobody ever reads it
                tokens.append(await terminal.good_tap())
                stats = await terminal.agent.outbox.stats()
                assert (stats.leased, stats.sent) == (1, 0), "nobody acknowledged this row"
                proxy.cut()
                proxy.go_on()
                await path.all_stored()
            assert [row.token for row in path.rows] == tokens
            await path.audit()
        await site.ledger.close()
