"""The broker's port answers at each of its addresses."""

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

UNREACHABLE = Kind(
    way.UNREACHABLE,
    Severity.ERROR,
    "The broker cannot be reached",
    "A firewall between here and there, a wrong address, or a broker that is gone. Ask the network's people to let "
    "this machine out to this address and port.",
    ("ip route", "edge-agent config explain uplink.host"),
    hides=way.AFTER_TCP,
)
REFUSED = Kind(
    way.REFUSED,
    Severity.ERROR,
    "Nothing listens at the broker's port",
    "The machine is there, the broker is not: it does not run, or [uplink] port is wrong.",
    ("edge-agent config explain uplink.port",),
    hides=way.AFTER_TCP,
)
ADDRESS_DEAD = Kind(
    "broker-address-dead",
    Severity.WARNING,
    "One of the broker's addresses does not answer",
    "The agent gets through by another one, but loses time with each connection. Tell the operators of the broker, or "
    "the network's people where it is IPv6 that leads nowhere.",
)
# Of a machine without IPv6 (or without IPv4) no address of that kind is expected to answer.
_NOT_OURS = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Connect and hang up, to all of them at once."""
    found = way.reached(site)
    port = way.uplink_of(site).effective_port
    told = ", ".join(f"{one.address}: {one.why}" for one in found.tried)
    if found.trouble:
        yield Finding(REFUSED if found.trouble == REFUSED.id else UNREACHABLE, f"port {port}, {told}")
        return
    good = [one for one in found.tried if not one.error]
    yield Seen(f"port {port} at " + ", ".join(f"{one.address} ({one.seconds * 1000:.0f} ms)" for one in good))
    if way.uplink_of(site).host == "localhost":
        return  # ::1 and 127.0.0.1: a broker that listens at one of them is none the worse for it
    dead = [one for one in found.tried if one.error and one.error not in _NOT_OURS]
    if dead:
        yield Finding(ADDRESS_DEAD, f"port {port}, " + ", ".join(f"{one.address}: {one.why}" for one in dead))


CHECK = Check("tcp", "the broker's port answers", (UNREACHABLE, REFUSED, ADDRESS_DEAD), look)
