"""Alone, against real brokers and servers that answer CONNECT with one code; and by the word of an agent."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.backoff import Backoff
from edge_agent.diag.checks.delivery import login
from edge_agent.diag.checks.delivery.login import CHECK, kind_of
from edge_agent.diag.finding import CannotLook, Finding, Seen
from edge_agent.diag.outbox_look import Held
from edge_agent.diag.site import Site
from edge_agent.uplink.base import DownReason, LinkDown, LinkUp, Subscribed
from edge_agent.uplink.session import Retry, Session, Start
from tests.diag.checks.delivery.site import CONNECTED, Place
from tests.fakes.certificates import make_certificates
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.mqtt_refuser import MqttRefuser
from tests.fakes.outbox_site import OutboxSite
from tests.fakes.tls_listener import TlsListener
from tests.fakes.uplink_terminal import link_settings

DOWN = CONNECTED | {"up": False, "puback_ms": None, "ack_ms": None, "ahead_s": None}


def place_of(folder: Path, port: int, *more: str) -> Place:
    return Place(folder, 'host = "localhost"', f"port = {port}", *more)


def test_a_connected_agent_is_taken_at_its_word(tmp_path: Path) -> None:
    place = place_of(tmp_path, 1)
    with place.agent():
        assert place.look(CHECK) == [Seen("the agent is connected")]


@pytest.mark.parametrize(
    ("reason", "code", "text", "kind"),
    [
        ("auth", 0x87, "the broker refuses us: Not authorized (135)", "login-refused"),
        ("auth", 0, "cannot read the settings of the uplink: x", "password-unusable"),
        ("busy", 0x89, "the broker refuses us: Server busy (137)", "broker-busy"),
        ("moved", 0x9D, "the broker refuses us: Server moved (157)", "broker-moved"),
        ("tls", 0, "b:8883 ended TLS: tlsv13 alert certificate required", "login-certificate-refused"),
        ("broker", 0x84, "the broker refuses us: Unsupported protocol version (132)", "login-protocol-refused"),
        ("broker", 0x85, "the broker refuses us: Client identifier not valid (133)", "login-client-id-refused"),
        ("timeout", 0, "no CONNACK within the connect timeout", "broker-hangs-up"),
        ("network", 0, "b:1883 closed the connection before CONNACK", "broker-hangs-up"),
        ("network", 0, "the connection to b:1883 was lost", "uplink-down"),
        ("dns", 0, "cannot resolve b", "uplink-down"),
        ("", 0, "", "uplink-down"),
    ],
)
def test_why_an_agent_is_not_connected_is_told(tmp_path: Path, reason: str, code: int, text: str, kind: str) -> None:
    place = place_of(tmp_path, 1)
    with place.agent(round_trip=DOWN | {"reason": reason, "code": code, "text": text}):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == kind
    assert one.text


def test_a_refusal_of_its_topics_is_told(tmp_path: Path) -> None:
    place = place_of(tmp_path, 1)
    with place.agent(round_trip=CONNECTED | {"refusal": {"topic": "evt/tap", "code": 135}}):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert (one.kind.id, one.text) == ("topics-refused", "it refuses evt/tap with code 135")


def test_a_refused_subscription_is_no_refused_login() -> None:
    session = Session(filters=("ack",), backoff=Backoff(1.0, 1.0, 1.0))
    session.step(Start(), 0.0)
    session.step(LinkUp(session_present=False, receive_maximum=10), 0.0)
    session.step(Subscribed(("ack",), (0x87,)), 0.0)
    told = session.step(LinkDown(DownReason.STOPPED, "stopped"), 0.0)
    (down,) = (effect.down for effect in told if isinstance(effect, Retry))
    assert kind_of(down.reason.value, down.code, down.text) is login.TOPICS


@pytest.mark.system
def test_alone_it_logs_in_and_leaves_nothing_behind(require_system: Callable[[str], str], tmp_path: Path) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        place = place_of(tmp_path, broker.port)
        (seen,) = place.look(CHECK)

        async def retained() -> list[str]:
            probe = Probe(link_settings(broker.port, client_id="witness"))
            await probe.up("tap/#")
            await probe.link.close()
            return [event.topic for event in probe.events if hasattr(event, "topic")]

        with asyncio.Runner() as runner:
            left = runner.run(retained())
        log = broker.log
    assert seen == Seen("the broker lets sh-000777-b in; no agent runs")
    assert left == []
    assert "as sh-000777-b (p5, c1, k60)" in log
    assert "Received DISCONNECT from sh-000777-b" in log
    assert "Received PUBLISH from sh-000777-b" not in log


@pytest.mark.system
def test_alone_it_learns_of_a_wrong_password_and_tells_none(
    require_system: Callable[[str], str], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text("")
    users.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    password.chmod(0o600)
    lines = [f"password_file {users}"]
    with Mosquitto(require_system("mosquitto"), tmp_path, anonymous=False, lines=lines) as broker:
        place = place_of(tmp_path, broker.port, 'username = "t"', f'password_file = "{password}"')
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "login-refused"
    assert "hunter2" not in one.text


@pytest.mark.system
def test_alone_it_learns_that_the_broker_wants_a_certificate(
    require_system: Callable[[str], str], tmp_path: Path
) -> None:
    made = make_certificates(tmp_path / "tls")
    with Mosquitto(require_system("mosquitto"), tmp_path, tls=made, client_certificates=True) as broker:
        place = place_of(tmp_path, broker.port, "tls = true", f'ca = "{made.ca}"')
        assert place.kinds(CHECK) == ["login-certificate-refused"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x84, "login-protocol-refused"),
        (0x85, "login-client-id-refused"),
        (0x86, "login-refused"),
        (0x89, "broker-busy"),
        (0x9C, "broker-moved"),
    ],
)
def test_alone_it_learns_why_it_is_refused(tmp_path: Path, code: int, kind: str) -> None:
    with MqttRefuser(code) as broker:
        assert place_of(tmp_path, broker.port).kinds(CHECK) == [kind]


def test_an_agent_that_answers_elsewhere_is_not_pushed_out(tmp_path: Path) -> None:
    terminal = OutboxSite(tmp_path)
    with terminal.running(), socket.create_server(("127.0.0.1", 0)) as broker:
        broker.setblocking(False)
        text = terminal.config.read_text().replace("control.sock", "elsewhere.sock")
        more = f'host = "127.0.0.1"\nport = {broker.getsockname()[1]}'
        terminal.config.write_text(text.replace('host = "localhost"', more))
        with pytest.raises(Held):
            list(CHECK.look(Site(terminal.config, env={})))
        with pytest.raises(BlockingIOError):
            broker.accept()


def test_alone_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "CONNACK_S", 0.1)
    with MqttRefuser(None) as broker:
        assert place_of(tmp_path, broker.port).kinds(CHECK) == ["broker-hangs-up"]


def test_alone_on_a_slow_way_it_blames_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "LOOK_S", 0.0)
    with MqttRefuser(None) as broker, pytest.raises(CannotLook, match="too slow"):
        place_of(tmp_path, broker.port).look(CHECK)


@pytest.mark.parametrize(("text", "mode"), [("", 0o600), ("secret\n", 0o644)])
def test_a_password_that_cannot_be_used_is_told_by_its_file(tmp_path: Path, text: str, mode: int) -> None:
    password = tmp_path / "password"
    password.write_text(text)
    password.chmod(mode)
    place = place_of(tmp_path, 1, 'username = "t"', f'password_file = "{password}"')
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert (one.kind.id, one.subject) == ("password-unusable", str(password))
    assert "secret" not in one.text


def test_a_pair_that_does_not_fit_is_the_certificates_business(tmp_path: Path) -> None:
    made, other = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "other")
    with TlsListener(made.server_cert, made.server_key) as broker:
        own = (f'cert = "{made.client_cert}"', f'key = "{other.client_key}"')
        place = place_of(tmp_path, broker.port, "tls = true", f'ca = "{made.ca}"', *own)
        with pytest.raises(CannotLook) as lost:
            place.look(CHECK)
    assert lost.value.because == "own-certificate-other-key"
