"""The way to the broker, gone once for all checks: its name, its addresses, TLS. No MQTT is spoken on it.

Each step is bounded, and all of them together stay below what one check has. What went wrong is a value, not an error.
"""

import contextlib
import errno
import ipaddress
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge_agent.diag.finding import CannotLook
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.config.uplink import Uplink
    from edge_agent.diag.site import Site
    from edge_agent.uplink.base import TlsSettings

NAME_S, TCP_S, TLS_S = 1.5, 2.5, 3.5
"""When each step has to be over, in seconds since the first of them began."""
LEAST_S = 0.5
MAX_ADDRESSES = 8

NAME_UNKNOWN = "name-unknown"
NAME_SILENT = "name-servers-silent"
NO_SERVER = "name-servers-not-set"
UNREACHABLE = "broker-unreachable"
REFUSED = "broker-refuses-connections"

NO_START = ("agent-down", "service-failed", "service-restarting", "service-stopped")
"""Ids of what is seen of an agent that ends at its start; and below of other consequences."""
BACKLOG = ("backlog-stuck", "backlog-old", "backlog-unconfirmed")
AFTER_LOGIN = ("uplink-down", "receiver-silent", "receiver-unheard", "broker-slow", *BACKLOG)
"""Where no login is possible; and so on upwards."""
AFTER_TLS = (
    "broker-swallows",
    "login-refused",
    "login-certificate-refused",
    "login-client-id-refused",
    "login-protocol-refused",
    "broker-hangs-up",
    "topics-refused",
    *AFTER_LOGIN,
)
AFTER_TCP = (
    "tls-silent",
    "tls-failed",
    "broker-certificate-untrusted",
    "broker-certificate-other-host",
    "broker-certificate-expired",
    "broker-certificate-not-yet-valid",
    *AFTER_TLS,
)
AFTER_NAME = (UNREACHABLE, REFUSED, "broker-address-dead", *AFTER_TCP)
AFTER_NETWORK = (NAME_UNKNOWN, NAME_SILENT, NO_SERVER, *AFTER_NAME)

# RFC 2606 and RFC 6761: nobody's names. `.invalid` and `.test` are what people try doctor with.
_SAMPLES = ("example", "example.net", "example.com", "example.org")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """Where the broker's name leads; one of ``addresses`` and ``trouble`` is empty."""

    addresses: tuple[str, ...]
    trouble: str = ""
    """Id of the finding."""
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tried:
    """One address; ``error`` is 0 where a connection came about, else an errno."""

    address: str
    error: int
    seconds: float = 0.0

    @property
    def why(self) -> str:
        """One or two words for people."""
        return {
            0: "answers",
            errno.ECONNREFUSED: "refuses connections",
            errno.ETIMEDOUT: "does not answer",
            errno.ENETUNREACH: "no route to it",
            errno.EHOSTUNREACH: "the network says that it cannot be reached",
        }.get(self.error, os.strerror(self.error).lower())


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of each address; ``trouble`` is empty if one of them answers."""

    tried: tuple[Tried, ...]
    trouble: str = ""
    seconds: float = 0.0

    @property
    def address(self) -> str:
        """The first one that answers."""
        return next(one.address for one in self.tried if not one.error)


@dataclass(frozen=True, slots=True)
class Handshake:
    """What TLS came to with verification on, and what certificate the broker showed, trusted or not."""

    error: OSError | None = None
    leaf: bytes | None = None
    """DER."""
    version: str = ""
    anonymous: str = ""
    """Why it was tried without the terminal's own certificate; empty: it was shown."""
    wrong_pair: bool = False
    """It was: the terminal's certificate or its key cannot be used."""
    own_files: str = ""
    """What is wrong with the files that TLS needs; then nothing was tried."""


def uplink_of(site: "Site") -> "Uplink":
    """The settings; raises CannotLook while the configuration is wrong."""
    return site.settings.uplink


def is_address(host: str) -> bool:
    """Whether it is no name but an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_this_machine(host: str) -> bool:
    """Whether ``host`` can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_sample(host: str) -> bool:
    """Whether ``host`` is a name for examples, which belongs to nobody."""
    plain = host.lower().rstrip(".")
    return any(plain == name or plain.endswith(f".{name}") for name in _SAMPLES)


def names(site: "Site") -> Names:
    """Resolve the broker's name; an address is its own answer."""
    host = uplink_of(site).host

    def look() -> Names:
        found = _names(host, site.lookup)
        return replace(found, trouble=NO_SERVER) if found.trouble and name_servers(site) == [] else found

    return site.once("way.names", look)


def name_servers(site: "Site") -> list[str] | None:
    """What resolv.conf(5) names; None if there is none to read, which means the server on this machine."""
    text = site.read("/etc/resolv.conf")
    if text is None:
        return None
    lines = [line.split() for line in text.splitlines()]
    return [printable(words[1], 60) for words in lines if len(words) > 1 and words[0] == "nameserver"]


def reached(site: "Site") -> Reached:
    """Connect to each address of the broker; raises CannotLook where there is none."""
    found = names(site)
    if found.trouble:
        raise CannotLook("the broker's name leads nowhere", because=found.trouble)
    port = uplink_of(site).effective_port
    return site.once("way.reached", lambda: _reached(found.addresses, port, max(LEAST_S, TCP_S - found.seconds)))


def handshake(site: "Site") -> Handshake:
    """TLS with the broker, as the agent would do it; raises CannotLook where no connection comes about."""
    found = reached(site)
    if found.trouble:
        raise CannotLook("the broker cannot be reached", because=found.trouble)
    left = max(LEAST_S, TLS_S - names(site).seconds - found.seconds)
    return site.once("way.handshake", lambda: _handshake(site, found.address, left))


def bounded(call: Callable[[], T], timeout_s: float) -> T:
    """Run what cannot be interrupted in a thread that is left behind; raises TimeoutError, or what ``call`` raised."""
    done: queue.SimpleQueue[T | OSError | UnicodeError] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(call())
        except (OSError, UnicodeError) as error:
            done.put(error)

    threading.Thread(target=run, name="look-up", daemon=True).start()
    try:
        outcome = done.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(outcome, (OSError, UnicodeError)):
        raise outcome
    return outcome


def _names(host: str, lookup: Callable[[str], list[str]]) -> Names:
    if is_address(host):
        return Names((host,))
    began = time.monotonic()
    try:
        found = bounded(lambda: lookup(host), NAME_S)
    except TimeoutError:
        return Names((), NAME_SILENT, f"no answer about {host} within {NAME_S:g} s")
    except socket.gaierror as error:
        text = f"{host}: {printable(error.strerror or str(error), 100)}"
        return Names((), NAME_SILENT if error.errno == socket.EAI_AGAIN else NAME_UNKNOWN, text)
    except (OSError, UnicodeError) as error:
        return Names((), NAME_UNKNOWN, f"{host}: {printable(str(error), 100)}")
    if not found:
        return Names((), NAME_UNKNOWN, f"{host} has no address")
    return Names(tuple(found[:MAX_ADDRESSES]), seconds=time.monotonic() - began)


def _reached(addresses: tuple[str, ...], port: int, timeout_s: float) -> Reached:
    began = time.monotonic()
    ends = began + timeout_s
    found: dict[str, Tried] = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            except OSError as error:  # no IPv6 in this kernel
                found[address] = Tried(address, error.errno or errno.EINVAL)
                continue
            code = sock.connect_ex((address, port))
            if code == errno.EINPROGRESS:
                selector.register(sock, selectors.EVENT_WRITE, address)
            else:
                found[address] = Tried(address, code)
        while selector.get_map() and (left := ends - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr] # ours
                found[key.data] = Tried(key.data, code, time.monotonic() - began)
    tried = tuple(found.get(address, Tried(address, errno.ETIMEDOUT)) for address in addresses)
    if any(not one.error for one in tried):
        trouble = ""
    else:
        trouble = REFUSED if any(one.error == errno.ECONNREFUSED for one in tried) else UNREACHABLE
    return Reached(tried, trouble, time.monotonic() - began)


def _handshake(site: "Site", address: str, timeout_s: float) -> Handshake:
    from edge_agent.uplink.base import TlsSettings  # noqa: PLC0415 -- where TLS is configured
    from edge_agent.uplink.tls import client_context  # noqa: PLC0415 -- as above

    uplink = uplink_of(site)
    ends = time.monotonic() + timeout_s
    own, anonymous = _own(site)
    wrong_pair = False
    try:
        context = client_context(own)
    except OSError as error:
        try:
            context, anonymous, wrong_pair = client_context(TlsSettings(own.ca)), printable(str(error), 2000), True
        except OSError as of_ca:
            return Handshake(own_files=printable(str(of_ca), 2000))
    done = Handshake(anonymous=anonymous, wrong_pair=wrong_pair)
    try:
        with _shaken(context, address, uplink.effective_port, uplink.host, ends) as sock:
            return replace(done, leaf=sock.getpeercert(binary_form=True), version=sock.version() or "")
    except ssl.SSLCertVerificationError as error:
        return replace(done, error=error, leaf=_shown(address, uplink.effective_port, uplink.host, ends))
    except OSError as error:
        return replace(done, error=error)


def _own(site: "Site") -> "tuple[TlsSettings, str]":
    """The files of TLS; without the terminal's own where this user may not read its key, and why."""
    from edge_agent.credentials import located  # noqa: PLC0415 -- where TLS is configured
    from edge_agent.errors import ConfigError  # noqa: PLC0415 -- as above
    from edge_agent.uplink.base import TlsSettings  # noqa: PLC0415 -- as above

    uplink = uplink_of(site)
    if uplink.cert is None or uplink.key is None:
        return TlsSettings(uplink.ca), ""
    try:
        key = located(uplink.key, site.env)
    except ConfigError as error:
        return TlsSettings(uplink.ca), printable(error.problems[0], 200)
    if not may_read(key):
        return TlsSettings(uplink.ca), f"no permission for {key}"
    return TlsSettings(uplink.ca, uplink.cert, key), ""


def may_read(path: Path) -> bool:
    """Whether nothing but rights could keep us from reading it: what is not there may be looked for."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, os.R_OK)


def _shaken(context: ssl.SSLContext, address: str, port: int, host: str, ends: float) -> ssl.SSLSocket:
    sock = socket.create_connection((address, port), timeout=_left(ends))
    try:
        sock.settimeout(_left(ends))
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def _shown(address: str, port: int, host: str, ends: float) -> bytes | None:
    """The certificate that was refused, to tell whose it is: nothing is sent, and nothing that comes is believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _shaken(context, address, port, host, ends) as sock:
            return sock.getpeercert(binary_form=True)
    except OSError:
        return None


def _left(ends: float) -> float:
    return max(0.2, ends - time.monotonic())
