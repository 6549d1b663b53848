"""PahoLink against a real mosquitto."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from structlog.testing import capture_logs

from edge_agent.errors import UplinkError
from edge_agent.uplink.base import (
    PACKET_MAXIMUM_DEFAULT,
    Acked,
    DownReason,
    LinkDown,
    LinkSettings,
    Message,
    Received,
    Subscribed,
    TlsSettings,
)
from edge_agent.uplink.paho_link import MAX_QUEUED, PahoLink
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.lived_time import LivedTime
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.mqtt_probe import Probe
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system


def settings(broker: Mosquitto, **changes: object) -> LinkSettings:
    values: dict[str, object] = {"host": broker.host, "port": broker.port, "client_id": "t-1"} | changes
    return LinkSettings(**values)  # type: ignore[arg-type] # a test's shorthand


def mqtt_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mqtt-")]


@pytest.mark.parametrize("protocol", [5, 4])
async def test_publishes_subscribes_and_closes(broker: Mosquitto, protocol: int) -> None:
    await eventually(lambda: not mqtt_threads())  # of tests before
    probe = Probe(settings(broker, protocol=protocol))
    up = await probe.up()
    assert up.receive_maximum == (20 if protocol == 5 else 65535)  # mosquitto's default max_inflight_messages
    assert mqtt_threads() == ["mqtt-t-1"]
    probe.link.subscribe(["a/+", "b"])
    await eventually(lambda: probe.of(Subscribed))
    assert probe.of(Subscribed) == [Subscribed(("a/+", "b"), (1, 1))]
    mid = probe.link.publish(Message("a/x", b"hello", content_type="application/cwt", expiry_s=10))
    await eventually(lambda: probe.of(Received) and probe.of(Acked))
    assert probe.of(Acked) == [Acked(mid, 0)]
    (received,) = probe.of(Received)
    assert (received.topic, received.payload, received.qos, received.retain) == ("a/x", b"hello", 1, False)
    await probe.link.close()
    await probe.link.close()
    assert (await probe.down()).reason is DownReason.STOPPED
    await eventually(lambda: not mqtt_threads())
    with pytest.raises(UplinkError):
        probe.link.publish(Message("a/x", b"late"))
    await broker.wait_for_log("Client t-1 disconnected")


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("os.pipe", OSError(24, "Too many open files")),
        ("threading.Thread.start", RuntimeError("can't start new thread")),
    ],
)
async def test_without_a_descriptor_or_thread_it_says_so_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, part: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    link = PahoLink(LinkSettings("127.0.0.1", 1, "t-1"), lambda _: None)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts descriptors
    monkeypatch.setattr(part, fail)
    with pytest.raises(UplinkError, match="cannot begin to connect"):
        link.start()
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above; garbage may close some meanwhile
    await link.close()


async def test_qos_0_has_no_ack(broker: Mosquitto) -> None:
    probe = Probe(settings(broker))
    await probe.up()
    probe.link.publish(Message("a", b"0", qos=0))
    mid = probe.link.publish(Message("a", b"1"))
    await eventually(lambda: probe.of(Acked))
    assert [acked.mid for acked in probe.of(Acked)] == [mid]
    await probe.link.close()


async def test_small_messages_leave_at_once(broker: Mosquitto) -> None:
    probe = Probe(settings(broker))
    await probe.up()
    sock = probe.link._client.socket()
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await probe.link.close()


async def test_a_busy_event_loop_slows_the_broker_down_instead_of_filling_memory(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.uplink.paho_link.MAX_UNDELIVERED", 5)
    probe = Probe(settings(broker))
    await probe.up("flood")
    flood(broker.port)  # all the while this event loop stands still
    until = time.monotonic() + 30
    while not probe.link._crossing.is_full and time.monotonic() < until:
        time.sleep(0.01)  # noqa: ASYNC251 - as above
    assert probe.link._crossing._undelivered == 5
    await eventually(lambda: len(probe.payloads("flood")) == 500)
    await probe.link.close()


def flood(port: int) -> None:
    """Publish 500 messages from another process, and leave a moment for them to arrive."""
    subprocess.run([sys.executable, "-c", FLOOD.format(port=port)], check=True, timeout=60)
    time.sleep(0.2)


FLOOD = """
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", {port})
client.loop_start()
for _ in range(500):
    info = client.publish("flood", b"x")
info.wait_for_publish(50)
client.disconnect()
client.loop_stop()
"""


async def test_never_exceeds_the_receive_maximum(broker: Mosquitto) -> None:
    probe = Probe(settings(broker))
    up = await probe.up()
    broker.pause()
    for _ in range(up.receive_maximum):
        probe.link.publish(Message("a", b"x"))
    with pytest.raises(UplinkError, match="20 messages"):
        probe.link.publish(Message("a", b"x"))
    broker.resume()
    await eventually(lambda: len(probe.of(Acked)) == up.receive_maximum)
    await probe.link.close()
    assert up.receive_maximum < MAX_QUEUED


async def test_tells_how_large_a_packet_the_broker_takes(
    require_system: Callable[[str], str], tmp_path: Path, broker: Mosquitto
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path, lines=["max_packet_size 5000"]) as small:
        for running, largest in ((small, 5000), (broker, PACKET_MAXIMUM_DEFAULT)):
            probe = Probe(settings(running))
            assert (await probe.up()).maximum_packet == largest
            await probe.link.close()
            await probe.down()


async def test_manual_ack_holds_a_message_until_it_is_stored(broker: Mosquitto) -> None:
    keeper = settings(broker, client_id="keeper", manual_ack=True, session_expiry_s=60)
    first = Probe(keeper)
    await first.up("a")
    sender = Probe(settings(broker))
    await sender.up()
    sender.link.publish(Message("a", b"1"))
    await eventually(lambda: first.of(Received))
    await first.link.close()

    second = Probe(keeper)
    assert (await second.up()).session_present
    await eventually(lambda: second.of(Received))
    (again,) = second.of(Received)
    assert again.payload == b"1"
    second.link.ack(again)
    await broker.wait_for_log("Received PUBACK from keeper")
    await second.link.close()

    third = Probe(keeper)
    await third.up("a")
    assert not third.of(Received)
    await third.link.close()
    await sender.link.close()


@pytest.mark.parametrize("protocol", [5, 4])
@pytest.mark.parametrize("send_will", [True, False])
async def test_the_will_speaks_only_when_it_shall(broker: Mosquitto, protocol: int, send_will: bool) -> None:
    watcher = Probe(settings(broker, client_id="watcher"))
    await watcher.up("state", "end")
    probe = Probe(settings(broker, protocol=protocol, will=Message("state", b"lost", content_type="text/plain")))
    await probe.up()
    await probe.link.close(send_will=send_will)
    watcher.link.publish(Message("end", b""))
    await eventually(lambda: watcher.payloads("end"))
    assert watcher.payloads("state") == ([b"lost"] if send_will else [])
    await watcher.link.close()


async def test_tls_with_the_right_authority(tls_broker: Mosquitto, certificates: Certificates) -> None:
    probe = Probe(settings(tls_broker, tls=TlsSettings(ca=certificates.ca)))
    await probe.up()
    for _ in range(20):
        probe.link.publish(Message("a", bytes(16_000)))
    await eventually(lambda: len(probe.of(Acked)) == 20)
    await probe.link.close()


async def test_a_certificate_of_another_authority_is_refused(tls_broker: Mosquitto, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    probe = Probe(settings(tls_broker, tls=TlsSettings(ca=other.ca)))
    probe.link.start()
    down = await probe.down()
    assert down.reason is DownReason.TLS
    assert "refused" in down.text
    assert "New client connected" not in tls_broker.log


async def test_a_certificate_for_another_host_is_refused(tls_broker: Mosquitto, certificates: Certificates) -> None:
    probe = Probe(settings(tls_broker, host="127.0.0.1", tls=TlsSettings(ca=certificates.ca)))
    probe.link.start()
    down = await probe.down()
    assert down.reason is DownReason.TLS
    assert "127.0.0.1" in down.text


async def test_the_systems_trust_store_does_not_know_our_authority(tls_broker: Mosquitto) -> None:
    probe = Probe(settings(tls_broker, tls=TlsSettings()))
    probe.link.start()
    assert (await probe.down()).reason is DownReason.TLS


async def test_a_client_certificate_is_presented_or_its_absence_explained(
    require_system: Callable[[str], str], tmp_path: Path, certificates: Certificates
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path, tls=certificates, client_certificates=True) as broker:
        without = Probe(settings(broker, tls=TlsSettings(ca=certificates.ca)))
        without.link.start()
        down = await without.down()
        assert down.reason is DownReason.TLS, down
        tls = TlsSettings(ca=certificates.ca, cert=certificates.client_cert, key=certificates.client_key)
        probe = Probe(settings(broker, tls=tls))
        await probe.up()
        await probe.link.close()


async def test_files_that_cannot_be_read_are_named(broker: Mosquitto, tmp_path: Path) -> None:
    probe = Probe(settings(broker, tls=TlsSettings(ca=tmp_path / "none.pem")))
    probe.link.start()
    down = await probe.down()
    assert down.reason is DownReason.TLS
    assert "none.pem" in down.text


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_wrong_password_is_an_auth_failure(
    require_system: Callable[[str], str], tmp_path: Path, protocol: int
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path, anonymous=False) as broker:
        probe = Probe(settings(broker, protocol=protocol, username="u", password="wrong"))
        probe.link.start()
        down = await probe.down()
    assert down.reason is DownReason.AUTH
    assert "wrong" not in down.text


CONNACK = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (CONNACK + b"\xe0\x01\x8e", DownReason.TAKEN_OVER, "Session taken over"),
        (CONNACK + b"\xe0\x01\x87", DownReason.AUTH, "Not authorized"),
        (CONNACK + b"\xe0\x01\x8b", DownReason.BROKER, "Server shutting down"),
        (CONNACK + b"\xe0\x06\x97\x04\x1f\x00\x01\x07", DownReason.BUSY, r"Quota exceeded (151), \x07"),
        (CONNACK + b"\xe0\x01\x93", DownReason.LIMIT, "Receive maximum exceeded"),
        (CONNACK + b"\xe0\x01\x95", DownReason.LIMIT, "Packet too large"),
        (CONNACK + b"\xe0\x09\x9d\x07\x1c\x00\x04b\x1b:1", DownReason.MOVED, r"Server moved (157), it names b\x1b:1"),
        (b"\x20\x03\x00\x89\x00", DownReason.BUSY, "Server busy"),
        (b"\x20\x03\x00\x9f\x00", DownReason.BUSY, "Connection rate exceeded"),
        (b"\x20\x03\x00\x9c\x00", DownReason.MOVED, "Use another server"),
        (b"\x20\x06\x00\x00\x03\x21\x00\x00", DownReason.BROKER, "ReceiveMaximum"),
        (CONNACK, DownReason.NETWORK, "lost"),
        (b"\x20\x03\x00\x88\x00", DownReason.BUSY, "Server unavailable"),
        (b"", DownReason.NETWORK, "before CONNACK"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, ""),
        (bytes(64), None, ""),
        (b"\x20\x03\x00\x00\x05", None, ""),
        (b"\x20\xff\xff\xff\xff\x7f", None, ""),
        (b"\x20\x00", None, ""),
        (CONNACK + b"\x32\x03\xff\xff\xff", None, ""),
        (CONNACK + b"\x40\x01\x00", None, ""),
        (CONNACK + b"\x90\x02\x00\x01", None, ""),
    ],
)
async def test_what_a_server_may_say_before_it_hangs_up(said: bytes, reason: DownReason | None, words: str) -> None:
    handled = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # the client may be faster and gone
            await reader.read(1)
            writer.write(said)
            writer.write_eof()
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        handled.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        probe = Probe(LinkSettings(host="127.0.0.1", port=port, client_id="t-1"))
        probe.link.start()
        down = await probe.down()
        await handled.wait()
    assert down.reason in ({reason} if reason else {DownReason.BROKER, DownReason.NETWORK})
    assert words in down.text
    await eventually(lambda: not mqtt_threads())


async def test_reasons_without_a_broker() -> None:
    refused = Probe(LinkSettings(host="127.0.0.1", port=free_port(), client_id="t-1"))
    refused.link.start()
    assert (await refused.down()).reason is DownReason.REFUSED
    unknown = Probe(LinkSettings(host="broker.invalid", port=1883, client_id="t-1"))
    unknown.link.start()
    assert (await unknown.down(deadline_s=60)).reason is DownReason.DNS  # as long as name servers let us wait
    nonsense = Probe(LinkSettings(host="a" * 70 + ".invalid", port=1883, client_id="t-1"))
    nonsense.link.start()
    assert (await nonsense.down()).reason is DownReason.DNS


async def test_the_broker_dies(broker: Mosquitto) -> None:
    probe = Probe(settings(broker))
    await probe.up()
    broker.kill()
    assert (await probe.down()).reason is DownReason.NETWORK


@pytest.mark.parametrize("how", ["half-open", "swallows"])
async def test_a_link_that_is_cut_without_a_word_is_noticed(broker: Mosquitto, how: str) -> None:
    async with TcpProxy(broker.port) as proxy:
        probe = Probe(settings(broker, host="127.0.0.1", port=proxy.port))
        await probe.up("a")
        await cut_silently(proxy, how)
        probe.listens_as_if(keepalive_s=1)
        down = await probe.down()
        assert (down.reason, "silent for" in down.text) == (DownReason.TIMEOUT, True), down
        proxy.go_on()


async def cut_silently(proxy: TcpProxy, how: str) -> None:
    """From now on nothing arrives any more, and nobody is told."""
    proxy.swallow_answers = how == "swallows"
    if how == "half-open":
        proxy.hold()


@pytest.mark.proof
@pytest.mark.parametrize("how", ["half-open", "swallows"])
@pytest.mark.parametrize("talking", [True, False])
async def test_a_dead_link_is_noticed_before_one_and_a_half_keep_alives(
    broker: Mosquitto, how: str, talking: bool
) -> None:
    keepalive_s = 8
    async with TcpProxy(broker.port) as proxy:
        probe = Probe(settings(broker, host="127.0.0.1", port=proxy.port, keepalive_s=keepalive_s))
        await probe.up("a")
        with LivedTime() as lived:
            await cut_silently(proxy, how)
            while not probe.of(LinkDown):
                if talking:  # what we write proves nothing
                    with suppress(UplinkError):
                        probe.link.publish(Message("a", b"x", qos=0))
                await asyncio.sleep(0.1)
            assert lived.monotonic() < 1.5 * keepalive_s
        proxy.go_on()


async def test_a_slow_but_living_idle_link_stays(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    async with TcpProxy(broker.port) as proxy:
        probe = Probe(settings(broker, host="127.0.0.1", port=proxy.port))
        with LivedTime() as lived:  # where all of us stop for a while the line was not slow
            monkeypatch.setattr("edge_agent.uplink.paho_link.time", lived)
            await probe.up("a")
            proxy.delay_s = 0.3
            probe.listens_as_if(keepalive_s=2)
            await eventually(lambda: broker.log.count("Received PINGREQ from t-1") >= 2)
            assert not probe.of(LinkDown)
            await probe.link.close()


async def test_a_keep_alive_that_the_broker_sets_is_the_one_that_counts() -> None:
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x06\x00\x00\x03\x13\x00\x01")  # CONNACK, Server Keep Alive 1 s
        while said := await reader.read(1000):
            if b"\xc0\x00" in said:  # twice, if we are late
                asked.set()
                break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        probe = Probe(LinkSettings(host="127.0.0.1", port=port, client_id="t-1", keepalive_s=3600))
        await probe.up()
        await eventually(asked.is_set)
        await probe.down()


async def test_what_is_not_read_because_the_event_loop_is_busy_is_no_silence(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.uplink.paho_link.MAX_UNDELIVERED", 5)
    probe = Probe(settings(broker))
    await probe.up("flood")
    flood(broker.port)
    probe.listens_as_if(keepalive_s=1)
    time.sleep(1.8)  # noqa: ASYNC251 - longer than a silent link would live
    probe.listens_as_if(keepalive_s=60)
    await eventually(lambda: len(probe.payloads("flood")) == 500)
    assert not probe.of(LinkDown)
    await probe.link.close()


async def test_closing_a_link_that_hangs_is_bounded_and_leaves_no_thread() -> None:
    with silent_server() as port:
        probe = Probe(LinkSettings(host="127.0.0.1", port=port, client_id="t-1", connect_timeout_s=30))
        probe.link.start()
        async with asyncio.timeout(20):
            await probe.link.close()
        assert (await probe.down()).reason is DownReason.STOPPED
        await eventually(lambda: not mqtt_threads())


async def test_a_handshake_that_never_ends_times_out(certificates: Certificates) -> None:
    with silent_server() as port:
        tls = TlsSettings(ca=certificates.ca)
        probe = Probe(LinkSettings(host="127.0.0.1", port=port, client_id="t-1", tls=tls, connect_timeout_s=0.2))
        probe.link.start()
        assert (await probe.down()).reason is DownReason.TIMEOUT


def test_the_event_loop_may_end_first(require_system: Callable[[str], str], tmp_path: Path) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:

        async def connect_and_forget() -> None:
            await Probe(settings(broker, keepalive_s=1)).up()

        asyncio.run(connect_and_forget())
        asyncio.run(eventually(lambda: not mqtt_threads()))


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections in the kernel's backlog and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def test_a_paho_that_lost_what_we_ask_with_keeps_the_link_and_says_so_at_once(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Client, "_send_simple_command")
    monkeypatch.setattr(Client, "_send_pingreq", lambda _client: 0)
    with capture_logs() as logs:
        probe = Probe(settings(broker))
        await probe.up("a")
        probe.listens_as_if(keepalive_s=1)
        await asyncio.sleep(0.8)  # longer than half a keep-alive, when we would ask
        assert not probe.of(LinkDown)
        await probe.link.close()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["silence_not_watched"]


def test_the_paho_that_is_installed_has_what_we_ask_with() -> None:
    assert hasattr(Client, "_send_simple_command")
