"""The whole uplink on real parts: outbox on disk, paho, mosquitto, and a proxy for the bad days."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.uplink.base import DownReason, Message, Received, TlsSettings
from edge_agent.uplink.lanes import BatchSize
from edge_agent.uplink.publisher import PublisherSettings
from edge_agent.uplink.wire import (
    Ack,
    Alarm,
    Command,
    Response,
    ResponseStatus,
    Result,
    State,
    StateWord,
    decode_batch,
)
from tests.conftest import skip_or_fail
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.uplink_terminal import TOPICS, Terminal, link_settings, running_terminal, seq_of
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

IMPATIENT = PublisherSettings(ack_timeout_s=0.4)


async def listening(port: int, *filters: str, client_id: str = "cloud") -> Probe:
    probe = Probe(link_settings(port, client_id=client_id))
    await probe.up(*(filters or ("tap/#",)))
    return probe


def seqs(probe: Probe) -> list[int]:
    """Every token that arrived, repetitions too, in order of arrival."""
    found: list[int] = []
    for received in probe.of(Received):
        if received.topic == TOPICS.evt_tap:
            found.append(seq_of(received.payload))
        elif received.topic == TOPICS.evt_batch:
            found.extend(seq_of(token) for token in decode_batch(received.payload))
    return found


def states(probe: Probe) -> list[State]:
    return [State.decode(payload) for payload in probe.payloads(TOPICS.state)]


async def send(probe: Probe, topic: str, payload: bytes) -> None:
    probe.link.publish(Message(topic, payload))


async def up(terminal: Terminal) -> None:
    await eventually(lambda: terminal.publisher.snapshot().up)


@pytest.mark.usefixtures("heard_to_the_end")
@pytest.mark.parametrize("protocol", [5, 4])
async def test_state_then_live_taps_then_a_clean_end(broker: Mosquitto, tmp_path: Path, protocol: int) -> None:
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port, protocol=protocol)) as terminal:
        await up(terminal)
        stored = await terminal.tap()
        await eventually(lambda: terminal.sent == [(1, 1)] and cloud.payloads(TOPICS.evt_tap))
        assert cloud.payloads(TOPICS.evt_tap) == [stored.token]
        stats = await terminal.outbox.stats()
        assert (stats.pending, stats.leased, stats.sent) == (0, 0, 1)
    await eventually(lambda: len(states(cloud)) == 2)
    assert [state.state for state in states(cloud)] == [StateWord.ONLINE, StateWord.STOPPED]
    assert cloud.of(Received)[0].topic == TOPICS.state
    assert len({state.session for state in states(cloud)}) == 1
    late = await listening(broker.port, TOPICS.state, client_id="late")
    await eventually(lambda: states(late))
    assert states(late)[0].state is StateWord.STOPPED
    assert late.of(Received)[0].retain
    await late.link.close()
    await cloud.link.close()


async def test_the_will_of_a_cut_connection_bears_its_session(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port, TOPICS.state)
    async with TcpProxy(broker.port) as proxy, running_terminal(tmp_path, link_settings(proxy.port)) as terminal:
        await up(terminal)
        await eventually(lambda: states(cloud))
        proxy.cut()
        await eventually(lambda: len(states(cloud)) == 3)
        online, lost, again = states(cloud)
        assert [online.state, lost.state, again.state] == [StateWord.ONLINE, StateWord.LOST, StateWord.ONLINE]
        assert online.session == lost.session != again.session
    await cloud.link.close()


async def test_a_backlog_is_drained_in_batches_without_a_new_tap(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchSize, "SLOW_S", 60.0)  # on a slow line they get smaller, as they should
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port), backlog=1000) as terminal:
        await eventually(lambda: terminal.publisher.snapshot().acked == 1000)
        await eventually(lambda: len(seqs(cloud)) == 1000)
    assert seqs(cloud) == list(range(1, 1001))
    assert len(cloud.payloads(TOPICS.evt_batch)) < 20
    await cloud.link.close()


async def test_live_taps_do_not_wait_behind_the_backlog(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port), backlog=6000) as terminal:
        await eventually(lambda: terminal.publisher.snapshot().acked > 0)
        broker.pause()  # else the backlog may be gone before a slow disk has the tap
        stored = await terminal.tap()
        broker.resume()
        await eventually(lambda: stored.seq in seqs(cloud))
        assert seqs(cloud).index(stored.seq) < 6000, "it came after the backlog"
        await eventually(lambda: len(seqs(cloud)) >= 6001)
    assert sorted(seqs(cloud)) == list(range(1, 6002))
    await cloud.link.close()


async def test_a_broker_that_dies_amid_the_drain_costs_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    confirmed: set[int] = set()
    async with running_terminal(tmp_path, link_settings(broker.port), backlog=4000) as terminal:
        await eventually(lambda: terminal.publisher.snapshot().acked > 0)
        broker.kill()
        await eventually(lambda: not terminal.publisher.snapshot().up)
        before = terminal.publisher.snapshot()
        assert before.acked < 4000
        stats = await terminal.outbox.stats()
        assert (stats.leased, stats.sent, stats.pending) == (0, before.acked, 4000 - before.acked)
        broker.start()
        await eventually(lambda: terminal.publisher.snapshot().acked == 4000)
        for first, last in terminal.sent:
            confirmed.update(range(first, last + 1))
    assert confirmed == set(range(1, 4001))


async def test_a_broker_that_accepts_and_never_answers(broker: Mosquitto, tmp_path: Path) -> None:
    async with (
        TcpProxy(broker.port) as proxy,
        running_terminal(tmp_path, link_settings(proxy.port), IMPATIENT) as terminal,
    ):
        await up(terminal)
        await eventually(lambda: terminal.publisher.snapshot().in_flight == 0)
        proxy.swallow_answers = True
        await terminal.taps(3)
        await eventually(lambda: terminal.publisher.snapshot().reason == DownReason.TIMEOUT)
        assert "no PUBACK" in terminal.publisher.snapshot().text
        assert terminal.sent == []
        proxy.swallow_answers = False
        await eventually(lambda: terminal.publisher.snapshot().acked == 3)
        assert proxy.accepted >= 2


async def test_a_half_open_connection_is_given_up(broker: Mosquitto, tmp_path: Path) -> None:
    async with (
        TcpProxy(broker.port) as proxy,
        running_terminal(tmp_path, link_settings(proxy.port), IMPATIENT) as terminal,
    ):
        await up(terminal)
        await eventually(lambda: terminal.publisher.snapshot().in_flight == 0)
        proxy.hold()
        await terminal.taps(3)
        await eventually(lambda: not terminal.publisher.snapshot().up)
        proxy.go_on()
        await eventually(lambda: terminal.publisher.snapshot().acked == 3)


async def test_no_plain_fallback_and_back_when_the_right_broker_comes(
    require_system: Callable[[str], str], tmp_path: Path, certificates: Certificates
) -> None:
    binary = require_system("mosquitto")
    wrong = Mosquitto(binary, tmp_path, tls=make_certificates(tmp_path / "wrong"))
    wrong.start()
    settings = link_settings(wrong.port, tls=TlsSettings(ca=certificates.ca))
    async with running_terminal(tmp_path, settings) as terminal:
        await terminal.tap()
        await wrong.wait_for_log("alert")
        await eventually(lambda: terminal.publisher.snapshot().reason == "tls")
        assert not terminal.publisher.snapshot().up
        assert "New client connected" not in wrong.log
        wrong.stop()
        with Mosquitto(binary, tmp_path, tls=certificates, port=wrong.port):
            await eventually(lambda: terminal.publisher.snapshot().acked == 1)
            assert terminal.publisher.snapshot().reason == ""


async def test_acks_confirm_and_false_acks_change_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await up(terminal)
        await terminal.taps(5)
        await eventually(lambda: terminal.publisher.snapshot().acked == 5)
        chain = (await terminal.outbox.stats()).chain
        await send(cloud, TOPICS.ack, Ack(b"stranger", 5).encode())
        await send(cloud, TOPICS.ack, Ack(chain, 2**63).encode())
        await send(cloud, TOPICS.ack, Ack(chain, 4, ((2, 2),)).encode())
        await eventually(lambda: len(terminal.stored) == 3)
        stats = await terminal.outbox.stats()
        assert (stats.sent, stats.stored) == (2, 3)
        assert terminal.publisher.snapshot().stored == 3
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().acked == 6)
    await cloud.link.close()


async def test_what_the_receiver_never_confirms_is_sent_again(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    forgetful = PublisherSettings(confirm_timeout_s=0.2)
    async with running_terminal(tmp_path, link_settings(broker.port), forgetful) as terminal:
        await up(terminal)
        stored = await terminal.tap()
        await eventually(lambda: len(seqs(cloud)) >= 2)
        assert set(seqs(cloud)) == {1}
        await send(cloud, TOPICS.ack, Ack(stored.chain, 1).encode())
        await eventually(lambda: terminal.publisher.snapshot().stored == 1)
        assert terminal.publisher.snapshot().requeued >= 1
    await cloud.link.close()


async def test_garbage_is_dropped_and_the_next_message_works(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await up(terminal)
        garbage = [b"", b"\xff" * 100, b"[1]", b'{"chain":1}', b"[" * 60_000, b"{" + b" " * 60_000 + b"}"]
        topics = [TOPICS.ack, TOPICS.result, TOPICS.cmd("rebirth"), TOPICS.cmd("No Name")]
        for topic in topics:
            for payload in garbage:
                cloud.link.publish(Message(topic, payload))
            await eventually(lambda: len(cloud.of(Received)) and not cloud.link._awaiting)
        result = Result(bytes(16), "reward", "thanks", 5)
        await send(cloud, TOPICS.result, result.encode())
        await eventually(lambda: terminal.results)
        assert terminal.results == [result]
        assert terminal.publisher.snapshot().dropped == len(garbage) * len(topics)
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().acked == 1)
    await cloud.link.close()


async def test_commands_are_answered_once(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await up(terminal)
        future = terminal.clock.read().unix + 60
        for name, id_, exp in [
            ("rebirth", "1", future),
            ("identify", "2", future),
            ("identify", "2", future),
            ("identify", "3", 1),
            ("self-destruct", "4", future),
        ]:
            await send(cloud, TOPICS.cmd(name), Command(name, id_, exp).encode())
        await eventually(lambda: cloud.payloads(TOPICS.res("self-destruct")))
        answers = [Response.decode(payload) for payload in cloud.payloads(TOPICS.res("identify"))]
        assert [(answer.id, answer.status) for answer in answers] == [
            ("2", ResponseStatus.DONE),
            ("3", ResponseStatus.REFUSED),
        ]
        assert terminal.identified == ["2"]
        (unsupported,) = cloud.payloads(TOPICS.res("self-destruct"))
        assert Response.decode(unsupported).status is ResponseStatus.UNSUPPORTED
        assert [state.state for state in states(cloud)] == [StateWord.ONLINE, StateWord.ONLINE]
    await cloud.link.close()


async def test_an_alarm_of_a_bad_day_arrives_on_the_next_good_one(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    async with TcpProxy(broker.port) as proxy, running_terminal(tmp_path, link_settings(proxy.port)) as terminal:
        await up(terminal)
        proxy.refuse = True
        proxy.cut()
        await eventually(lambda: not terminal.publisher.snapshot().up)
        terminal.publisher.alarm("reader_deaf", "power-cycle the reader", {"reader": "r1"})
        proxy.refuse = False
        await eventually(lambda: cloud.payloads(TOPICS.evt_alarm))
        alarm = Alarm.decode(cloud.payloads(TOPICS.evt_alarm)[0])
        assert (alarm.code, alarm.data) == ("reader_deaf", {"reader": "r1"})
        assert [received.topic for received in cloud.of(Received)][-2:] == [TOPICS.state, TOPICS.evt_alarm]
    await cloud.link.close()


def access(folder: Path, *, publish: bool, subscribe: bool) -> list[str]:
    """Lines for a broker that everybody may connect to, and that may refuse to publish or subscribe."""
    rules = {"publishClientSend": publish, "publishClientReceive": True, "subscribe": subscribe, "unsubscribe": True}
    path = folder / "access.json"
    path.write_text(json.dumps({"defaultACLAccess": rules}), encoding="utf-8")
    plugin = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        skip_or_fail("this mosquitto comes without its dynamic security plugin: install Debian's package")
    return [f"plugin {plugin}", f"plugin_opt_config_file {path}"]


@pytest.mark.parametrize("protocol", [5, 4])
async def test_a_refused_subscription_is_a_failure_with_its_reason(
    require_system: Callable[[str], str], tmp_path: Path, protocol: int
) -> None:
    lines = access(tmp_path, publish=True, subscribe=False)
    with Mosquitto(require_system("mosquitto"), tmp_path, lines=lines) as broker:
        async with running_terminal(tmp_path, link_settings(broker.port, protocol=protocol)) as terminal:
            await broker.wait_for_log(
                "Client t-1 disconnected" if protocol == 5 else "Client t-1 closed its connection"
            )
            assert not terminal.publisher.snapshot().up
            assert terminal.publisher.snapshot().sent == 0


async def test_a_broker_that_refuses_every_tap_costs_none(require_system: Callable[[str], str], tmp_path: Path) -> None:
    lines = access(tmp_path, publish=False, subscribe=True)
    with Mosquitto(require_system("mosquitto"), tmp_path, lines=lines) as broker:
        async with running_terminal(tmp_path, link_settings(broker.port), backlog=100) as terminal:
            await eventually(lambda: terminal.publisher.snapshot().refused >= 3)
            stats = await terminal.outbox.stats()
            assert (stats.parked, stats.sent) == (0, 0)
            assert stats.pending + stats.leased == 100


async def test_health_comes_by_the_clock(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port)
    often = replace(IMPATIENT, health_interval_s=0.05)
    async with running_terminal(tmp_path, link_settings(broker.port), often):
        await eventually(lambda: len(cloud.payloads(TOPICS.tele_health)) >= 2)
    await cloud.link.close()


async def test_a_cancelled_uplink_leaves_its_will(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = await listening(broker.port, TOPICS.state)
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await up(terminal)
        terminal.running.cancel()
        await eventually(terminal.running.done)
    await eventually(lambda: len(states(cloud)) == 2)
    assert states(cloud)[1].state is StateWord.LOST
    await cloud.link.close()


async def test_an_uplink_that_ends_at_once_gives_its_rows_back(broker: Mosquitto, tmp_path: Path) -> None:
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await up(terminal)
        broker.pause()
        try:
            await terminal.tap()
            assert (await terminal.outbox.stats()).leased == 1
            terminal.running.cancel()  # as a crash: nobody tells the publisher that the link is down
            await eventually(terminal.running.done)
        finally:
            broker.resume()
        stats = await terminal.outbox.stats()
        assert (stats.pending, stats.leased) == (1, 0)
