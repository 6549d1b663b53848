"""Story 2: a backlog that waits for a restart or a new message. The connection that comes up drains it."""

from pathlib import Path

from edge_agent.cloud.broker import EmbeddedBroker
from tests.fakes.mosquitto import free_port
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.whole_agent import WholePath, cloud_site, register, whole_agent


async def test_what_waited_is_delivered_when_the_link_comes_up_without_another_tap(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedBroker() as broker:
        site = cloud_site(tmp_path, broker.host, broker.port)
        await site.ledger.open()
        async with site.receiving(), whole_agent(tmp_path, port=port) as terminal:
            register(site, terminal.public)
            tokens = [await terminal.good_tap() for _ in range(3)]
            async with TcpProxy(broker.port, port=port):
                path = WholePath(terminal, site)
                await path.all_stored()
                assert [row.token for row in path.rows] == tokens
                assert {event.lane.value for event in site.events} == {"batch"}
                await path.audit()
        await site.ledger.close()
