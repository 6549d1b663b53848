"""What breaks between a tap and the cloud: outbox, network, broker, identity."""

import asyncio
import datetime as dt
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import trustme

from edge_agent.control_client import ask
from edge_agent.tokens.keyring import create_key_file
from edge_agent.uplink.base import Acked, LinkDown, LinkSettings, LinkUp, Message, TlsSettings
from edge_agent.uplink.wire import State, StateWord, Topics
from tests.diag.faults.base import Fault
from tests.diag.faults.healthy_root import put
from tests.diag.faults.terminal import FLEET, PASSWORD, TERMINAL, USER, Terminal
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mqtt_probe import Probe
from tests.fakes.mqtt_refuser import MqttRefuser
from tests.fakes.waiting import eventually

Breaks = Callable[[Terminal], AbstractContextManager[None]]

_ROUTES = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
_WAY_OUT = "eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
_OWN_NETWORK = "eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
_TLS_LINES = ("tls = true\n", "ca = ", "cert = ", "key = ")


# The network and the name.


def network(*, carrier: str, routes: str) -> Breaks:
    """The broker is far away, and the board's network is like this."""

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        put(terminal.root, "/sys/class/net/eth0/carrier", f"{carrier}\n")
        put(terminal.root, "/sys/class/net/lo/carrier", "1\n")
        put(terminal.root, "/proc/net/route", _ROUTES + routes)
        terminal.edit('host = "localhost"', 'host = "broker.lift.invalid"')
        terminal.lookup = not_now
        restarted(terminal)
        yield

    return breaks


def name(lookup: Callable[[str], list[str]], *, servers: str = "nameserver 198.51.100.53\n") -> Breaks:
    """The broker has a name, and the resolver says this."""

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        put(terminal.root, "/sys/class/net/eth0/carrier", "1\n")
        put(terminal.root, "/proc/net/route", _ROUTES + _WAY_OUT)
        put(terminal.root, "/etc/resolv.conf", servers)
        terminal.edit('host = "localhost"', 'host = "broker.lift.invalid"')
        terminal.lookup = lookup
        restarted(terminal)
        yield

    return breaks


def nobody_knows(_host: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def not_now(_host: str) -> list[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def never(_host: str) -> list[str]:
    threading.Event().wait(30)
    return []


@contextmanager
def sample_broker(terminal: Terminal) -> Iterator[None]:
    terminal.edit('host = "localhost"', 'host = "broker.example.net"')
    terminal.lookup = nobody_knows
    put(terminal.root, "/sys/class/net/eth0/carrier", "1\n")
    put(terminal.root, "/proc/net/route", _ROUTES + _WAY_OUT)
    restarted(terminal)
    yield


# The broker.


@contextmanager
def broker_down(terminal: Terminal) -> Iterator[None]:
    terminal.broker.stop()
    _until_down(terminal)
    yield


@contextmanager
def broker_frozen(terminal: Terminal) -> Iterator[None]:
    terminal.broker.pause()
    yield


def another_broker(code: int | None) -> Breaks:
    """Without TLS, and it answers CONNECT with this code, or not at all."""

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        with MqttRefuser(code) as broker:
            lines = terminal.config.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = "".join(line for line in lines if not line.startswith(_TLS_LINES))
            terminal.config.write_text(kept, encoding="utf-8")
            terminal.edit(f"port = {terminal.broker.port}", f"port = {broker.port}")
            restarted(terminal)
            yield

    return breaks


@contextmanager
def no_rights(terminal: Terminal) -> Iterator[None]:
    rules = terminal.folder / "acl"
    rules.write_text(f"user {USER}\ntopic read tap/#\n", encoding="utf-8")
    rules.chmod(0o600)
    terminal.broker._lines.append(f"acl_file {rules}")
    terminal.broker.restart()
    terminal.until(lambda: terminal.status()["uplink"]["refusal"] is not None, "a refusal")
    yield


@contextmanager
def wrong_password(terminal: Terminal) -> Iterator[None]:
    terminal.password.write_text("forgotten\n", encoding="utf-8")
    restarted(terminal)
    yield


@contextmanager
def empty_password(terminal: Terminal) -> Iterator[None]:
    terminal.password.write_text("\n", encoding="utf-8")
    restarted(terminal)
    yield


# Certificates.


def certificates(
    change: Callable[[Terminal, trustme.CA], None], *, trusted: bool = True, online: bool = False
) -> Breaks:
    """A new authority for all, then ``change``; without ``trusted`` the terminal has not heard of it.

    ``online``: it can connect all the same.
    """

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        old = terminal.certificates.ca.read_bytes()
        authority = trustme.CA()
        make_certificates(terminal.folder / "tls", client=TERMINAL, authority=authority)
        change(terminal, authority)
        terminal.broker.restart()
        if not trusted:
            # In a file of its own: a broker that has just begun to listen may still be reading the new one.
            kept = terminal.folder / "tls" / "old-ca.pem"
            kept.write_bytes(old)
            terminal.edit(f'ca = "{terminal.certificates.ca}"', f'ca = "{kept}"')
        restarted(terminal, online=online)
        yield

    return breaks


def nothing(_terminal: Terminal, _authority: trustme.CA) -> None:
    """The new authority is all."""


def of_broker(*hosts: str, begins: int = -10, ends: int = 1000) -> Callable[[Terminal, trustme.CA], None]:
    """The broker gets a certificate of this authority for these hosts; in days from now."""

    def change(terminal: Terminal, authority: trustme.CA) -> None:
        issued = authority.issue_cert(*(hosts or ("localhost",)), not_before=_days(begins), not_after=_days(ends))
        made = terminal.certificates
        _write(issued, made.server_cert, made.server_key)

    return change


def of_terminal(
    *, client: str = TERMINAL, begins: int = -10, ends: int = 1000
) -> Callable[[Terminal, trustme.CA], None]:
    """The terminal gets a certificate of this authority."""

    def change(terminal: Terminal, authority: trustme.CA) -> None:
        issued = authority.issue_cert(
            f"{client}@example.org", common_name=client, not_before=_days(begins), not_after=_days(ends)
        )
        made = terminal.certificates
        _write(issued, made.client_cert, made.client_key)

    return change


@contextmanager
def key_of_another(terminal: Terminal) -> Iterator[None]:
    other: Certificates = make_certificates(terminal.folder / "other")
    terminal.certificates.client_key.write_bytes(other.client_key.read_bytes())
    restarted(terminal)
    yield


@contextmanager
def certificate_torn(terminal: Terminal) -> Iterator[None]:
    whole = terminal.certificates.client_cert.read_bytes()
    terminal.certificates.client_cert.write_bytes(whole[: len(whole) // 3])
    restarted(terminal)
    yield


# Behind the broker.


@contextmanager
def receiver_dead(terminal: Terminal) -> Iterator[None]:
    terminal._loop.call_soon_threadsafe(terminal.receiver.stop)
    terminal.until(lambda: not terminal.receiver.is_up, "end of the receiver")
    ask(terminal.folder / "control.sock", {"op": "simulate-tap"})
    terminal.until(lambda: terminal.status()["outbox"]["sent"] == 1, "PUBACK")
    yield


def clock_ahead(seconds: float) -> Breaks:
    """By the terminal's clock, which says that it is synchronised."""

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        terminal.clock.ahead_s = seconds
        yield

    return breaks


@contextmanager
def cloned(terminal: Terminal) -> Iterator[None]:
    made = terminal.certificates
    tls = TlsSettings(made.ca, made.client_cert, made.client_key)

    settings = LinkSettings("localhost", terminal.broker.port, TERMINAL, tls=tls, username=USER, password=PASSWORD)

    async def connect() -> bool:
        """Whether its word was taken before the terminal pushed it out again, which is at it within 100 ms."""
        twin = Probe(settings)
        twin.link.start()
        await eventually(lambda: twin.events)
        if twin.of(LinkUp):
            twin.link.publish(Message(Topics(FLEET, TERMINAL).state, _born().encode(), retain=True))
        await eventually(lambda: twin.of(Acked) or twin.of(LinkDown))
        await twin.link.close()
        return bool(twin.of(Acked))

    terminal.until(lambda: asyncio.run(connect()), "word of the twin")
    terminal.until(lambda: terminal.status()["uplink"]["identity"], "an identity conflict")
    yield


# On the disk.


@contextmanager
def outbox_torn(terminal: Terminal) -> Iterator[None]:
    ask(terminal.folder / "control.sock", {"op": "simulate-tap"})
    terminal.stop_agent()
    with (terminal.state / "outbox.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    terminal.start_agent()
    terminal.until_settled()
    yield


@contextmanager
def key_replaced(terminal: Terminal) -> Iterator[None]:
    (terminal.state / "tap.key").unlink()
    create_key_file(terminal.state / "tap.key")
    yield


def restarted(terminal: Terminal, *, online: bool = False) -> None:
    """Another agent, with the files of now; all but its uplink is well, and with ``online`` that, too."""
    terminal.restart_agent()
    terminal.until_settled(online=online)


def _until_down(terminal: Terminal) -> None:
    terminal.until(lambda: terminal.status()["uplink"]["up"] is False, "end of the connection")


def _born() -> State:
    """What the terminal says from which the card was copied."""
    return State(
        state=StateWord.ONLINE,
        session="00112233445566ff",
        version="0.1.0",
        kid=bytes(8),
        chain=bytes(8),
        next_seq=1,
        config="",
        screens={},
        readers={},
        at=1_795_000_000,
    )


def _days(number: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=number)


def _write(issued: trustme.LeafCert, cert: Path, key: Path) -> None:
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)


FAULTS: tuple[Fault, ...] = (
    Fault("network cable unplugged", network(carrier="0", routes=""), "network-no-link"),
    Fault("no address from DHCP", network(carrier="1", routes=""), "network-no-address"),
    Fault("no default gateway", network(carrier="1", routes=_OWN_NETWORK), "network-no-route"),
    Fault("broker's name unknown", name(nobody_knows), "name-unknown"),
    Fault("name servers out of reach", name(not_now), "name-servers-silent"),
    Fault("name servers never answer", name(never), "name-servers-silent"),
    Fault("no name server set", name(not_now, servers="# empty\n"), "name-servers-not-set"),
    Fault("wrong answer of DNS", name(lambda _host: ["127.0.0.1"]), "name-wrong-address"),
    Fault("the sample's broker", sample_broker, "sample-broker"),
    Fault("broker down", broker_down, "broker-refuses-connections"),
    Fault("broker hangs", broker_frozen, "tls-silent"),
    Fault("another service at the broker's port", another_broker(None), "broker-hangs-up"),
    Fault("broker without MQTT 5", another_broker(0x84), "login-protocol-refused"),
    Fault("broker refuses the client id", another_broker(0x85), "login-client-id-refused"),
    Fault("broker overloaded", another_broker(0x89), "broker-busy"),
    Fault("broker moved", another_broker(0x9D), "broker-moved"),
    Fault("wrong CA", certificates(nothing, trusted=False), "broker-certificate-untrusted"),
    Fault(
        "broker's certificate for another host", certificates(of_broker("other.lift")), "broker-certificate-other-host"
    ),
    Fault("broker's certificate expired", certificates(of_broker(ends=-1)), "broker-certificate-expired"),
    Fault("broker's certificate of tomorrow", certificates(of_broker(begins=1)), "broker-certificate-not-yet-valid"),
    Fault(
        "broker's certificate ends in five days",
        certificates(of_broker(ends=5), online=True),
        "broker-certificate-expiring",
    ),
    Fault("own certificate expired", certificates(of_terminal(ends=-1)), "own-certificate-expired"),
    Fault(
        "own certificate ends in five days", certificates(of_terminal(ends=5), online=True), "own-certificate-expiring"
    ),
    Fault(
        "certificate of another terminal",
        certificates(of_terminal(client="sh-9"), online=True),
        "own-certificate-other-name",
    ),
    Fault("TLS key of another certificate", key_of_another, "own-certificate-other-key"),
    Fault("own certificate torn", certificate_torn, "certificate-unusable"),
    Fault("wrong password", wrong_password, "login-refused"),
    Fault("empty password file", empty_password, "password-unusable"),
    Fault("no rights for its topics", no_rights, "topics-refused"),
    Fault("receiver dead", receiver_dead, "receiver-silent"),
    Fault("cloned identity", cloned, "identity-conflict"),
    Fault("clock 30 s fast", clock_ahead(30), "clock-skewed"),
    Fault("clock an hour fast", clock_ahead(3600), "clock-far-off"),
    Fault("outbox damaged", outbox_torn, "outbox-set-aside"),
    Fault("signing key replaced while it ran", key_replaced, "signing-key-changed"),
)
