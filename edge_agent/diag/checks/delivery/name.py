"""The broker's name leads to an address, and to a sensible one."""

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

UNKNOWN = Kind(
    way.NAME_UNKNOWN,
    Severity.ERROR,
    "Nobody knows the broker's name",
    "Compare [uplink] host with what the fleet's operators say: a typing error, or a name that this network's name "
    "servers do not know.",
    ("edge-agent config explain uplink.host", "cat /etc/resolv.conf"),
    hides=way.AFTER_NAME,
)
SILENT = Kind(
    way.NAME_SILENT,
    Severity.ERROR,
    "The name servers do not answer",
    "Without DNS the broker is not found. See whether the way out of the building is open for it (port 53), and "
    "whether these servers are the right ones.",
    ("cat /etc/resolv.conf", "resolvectl status"),
    hides=way.AFTER_NAME,
)
NOT_SET = Kind(
    way.NO_SERVER,
    Severity.ERROR,
    "No name server is set",
    "The network told none, or /etc/resolv.conf was overwritten. Set one, or give the broker by its address.",
    ("cat /etc/resolv.conf", "resolvectl status"),
    hides=(way.NAME_UNKNOWN, way.NAME_SILENT, *way.AFTER_NAME),
)
WRONG_ADDRESS = Kind(
    "name-wrong-address",
    Severity.ERROR,
    "The broker's name leads to an address that cannot be right",
    "A line in /etc/hosts, a filter in the network or a login page in front of it answers in place of the broker's "
    "owner. Remove it, or ask who runs the network.",
    ("getent ahosts BROKER", "cat /etc/hosts"),
    hides=way.AFTER_NAME,
)
SAMPLE = Kind(
    "sample-broker",
    Severity.ERROR,
    "The broker is still the sample's",
    "Write the host that the fleet's operators name into [uplink] host, or let `edge-agent enrol` bring it.",
    ("edge-agent config explain uplink.host",),
    hides=(way.NAME_UNKNOWN, way.NAME_SILENT, "name-wrong-address", way.NO_SERVER, *way.AFTER_NAME),
)


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Resolve it."""
    host = way.uplink_of(site).host
    plain = host.lower().rstrip(".")
    if way.is_sample(host):
        yield Finding(SAMPLE, f"[uplink] host is {printable(host, 100)}, a name for examples that belongs to nobody")
    if way.is_address(host):
        raise NotHere("the broker is given by its address")
    found = way.names(site)
    if found.trouble:
        servers = way.name_servers(site)
        if found.trouble == NOT_SET.id:
            yield Finding(NOT_SET, f"/etc/resolv.conf names none, and {printable(host, 100)} is not in /etc/hosts")
            return
        asked = f"; asked: {', '.join(servers)}" if servers else ""
        yield Finding(UNKNOWN if found.trouble == UNKNOWN.id else SILENT, f"{found.text}{asked}")
        return
    wrong = [address for address in found.addresses if plain != "localhost" and _cannot_be(address)]
    if wrong and not (all(map(way.is_this_machine, wrong)) and _is_known(site)):
        text = f"{printable(host, 100)} is {', '.join(wrong)}{_from_hosts(site, plain)}"
        yield Finding(WRONG_ADDRESS, text, commands=(f"getent ahosts {host}", "cat /etc/hosts"))
        return
    yield Seen(f"{printable(host, 100)} is {', '.join(found.addresses)}, {found.seconds * 1000:.0f} ms")


def _cannot_be(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return found.is_loopback or found.is_unspecified or found.is_multicast


def _is_known(site: "Site") -> bool:
    """Whether what answers there proves by its certificate that it is the broker: then it is here on purpose."""
    if not way.uplink_of(site).uses_tls:
        return False
    with suppress(CannotLook):
        done = way.handshake(site)
        return done.leaf is not None and done.error is None
    return False


def _from_hosts(site: "Site", host: str) -> str:
    lines = (line.partition("#")[0].lower().split() for line in (site.read("/etc/hosts") or "").splitlines())
    return ", as /etc/hosts says" if any(host in words[1:] for words in lines) else ""


CHECK = Check("name", "the broker's name leads to an address", (UNKNOWN, SILENT, NOT_SET, WRONG_ADDRESS, SAMPLE), look)
