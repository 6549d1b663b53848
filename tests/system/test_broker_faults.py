"""A running agent and a real broker on its bad days: every phone is served, every token arrives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from firmware_bridge.cues import CueName
from tests.fakes.certificates import make_certificates
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import WholeAgent, WholePath, cloud_site, register, whole_agent

pytestmark = pytest.mark.system


@pytest.fixture(name="mosquitto")
def _mosquitto(require_system: Callable[[str], str]) -> str:
    return require_system("mosquitto")


@asynccontextmanager
async def served_by(broker: Mosquitto, terminal: WholeAgent) -> AsyncIterator[WholePath]:
    """The cloud half on a broker."""
    site = cloud_site(terminal.folder, broker.host, broker.port)
    register(site, terminal.public)
    await site.ledger.open()
    async with site.receiving():
        yield WholePath(terminal, site)
    await site.ledger.close()


async def test_without_a_broker_phones_are_served_at_once_and_their_taps_arrive_when_it_appears(
    tmp_path: Path, mosquitto: str
) -> None:
    port = free_port()
    async with whole_agent(tmp_path, port=port) as terminal:
        tokens = []
        for _ in range(3):
            shown = len(terminal.cues)
            tokens.append(await terminal.good_tap())
            await eventually(lambda shown=shown: terminal.showed_tap(shown, CueName.THANKS))
        await terminal.uplink_fails("refused")
        await terminal.has_component("uplink", "degraded")
        with Mosquitto(mosquitto, tmp_path) as broker:
            async with served_by(broker, terminal) as path, TcpProxy(broker.port, port=port):
                await path.all_stored()
                assert [row.token for row in path.rows] == tokens
                assert {row.verdict for row in path.rows} == {"fresh"}
                await path.audit()


async def test_a_broker_that_is_killed_and_comes_back_amid_taps_loses_nothing(tmp_path: Path, mosquitto: str) -> None:
    with Mosquitto(mosquitto, tmp_path) as broker:
        async with (
            whole_agent(tmp_path, host=broker.host, port=broker.port, uplink__resend_after_s=5) as terminal,
            served_by(broker, terminal) as path,
        ):
            tokens = [await terminal.good_tap()]
            for _ in range(2):
                broker.kill()
                tokens += [await terminal.good_tap()]
                broker.start()
                tokens += [await terminal.good_tap()]
            await path.all_stored()
            assert [row.token for row in path.rows] == tokens
            await path.audit()


async def test_a_broker_that_accepts_and_never_acknowledges_does_not_stop_taps(tmp_path: Path, mosquitto: str) -> None:
    with Mosquitto(mosquitto, tmp_path) as broker:
        async with (
            TcpProxy(broker.port) as proxy,
            whole_agent(tmp_path, port=proxy.port) as terminal,
            served_by(broker, terminal) as path,
        ):
            await terminal.connected()
            proxy.swallow_answers = True
            tokens = [await terminal.good_tap() for _ in range(3)]
            stats = await terminal.agent.outbox.stats()
            assert (stats.leased, stats.sent) == (3, 0)
            proxy.swallow_answers = False
            proxy.cut()
            await path.all_stored()
            assert [row.token for row in path.rows] == tokens
            await path.audit()


async def test_a_broker_that_never_answers_a_connect_does_not_stop_taps(tmp_path: Path, mosquitto: str) -> None:
    with Mosquitto(mosquitto, tmp_path) as broker:
        async with TcpProxy(broker.port) as proxy:
            proxy.swallow_answers = True
            async with whole_agent(tmp_path, port=proxy.port, uplink__connect_timeout_s=0.5) as terminal:
                await terminal.good_tap()
                await terminal.until(lambda: proxy.accepted >= 2)
                await terminal.uplink_fails("timeout")


@pytest.mark.parametrize(("host", "authority"), [("localhost", "another"), ("another.example", "ours")])
async def test_a_wrong_certificate_is_named_and_taps_go_on(
    tmp_path: Path, mosquitto: str, host: str, authority: str
) -> None:
    certificates = make_certificates(tmp_path / "ours", host=host)
    make_certificates(tmp_path / "another")
    with Mosquitto(mosquitto, tmp_path, tls=certificates) as broker:
        where = {"host": "localhost", "port": broker.port, "uplink__tls": "true"}
        async with whole_agent(tmp_path, **where, uplink__ca=tmp_path / authority / "ca.pem") as terminal:
            await terminal.good_tap()
            await terminal.has_component("uplink", "degraded")
            uplink = await terminal.uplink_fails("tls")
            assert "certificate" in uplink["text"].lower()
            stats = await terminal.agent.outbox.stats()
            assert (stats.pending, stats.leased) == (1, 0)
        assert "PUBLISH" not in broker.log


async def test_tls_is_never_given_up_for_a_broker_that_speaks_plain(tmp_path: Path) -> None:
    first_bytes: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if first := await reader.read(1):  # nothing from a client that was stopped just then
                first_bytes.append(first)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with whole_agent(tmp_path, port=port, uplink__tls="true") as terminal:
            await terminal.good_tap()
            await terminal.until(lambda: len(first_bytes) >= 4)
    assert set(first_bytes) == {b"\x16"}  # a TLS handshake record, RFC 8446, 5.1; MQTT's CONNECT is 10


async def test_tls_with_a_client_certificate_and_a_password(tmp_path: Path, mosquitto: str) -> None:
    certificates = make_certificates(tmp_path / "ours")
    password = tmp_path / "password"
    password.write_text("s3cret\n", encoding="utf-8")
    password.chmod(0o600)
    with Mosquitto(mosquitto, tmp_path, tls=certificates, client_certificates=True) as broker:
        settings = {
            "tls": "true",
            "ca": certificates.ca,
            "cert": certificates.client_cert,
            "key": certificates.client_key,
            "username": "terminal",
            "password_file": password,
        }
        uplink = {f"uplink__{name}": value for name, value in settings.items()}
        async with whole_agent(tmp_path, host="localhost", port=broker.port, **uplink) as terminal:
            await terminal.connected()
            token = await terminal.good_tap()
            await terminal.until(lambda: terminal.steps and terminal.steps[-1].sent)
            assert f"u'{settings['username']}'" in broker.log
            assert (await terminal.issued())[-1].token == token
