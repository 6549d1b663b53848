"""The network of this machine is up: a link, an address, a way out."""

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

NO_LINK = Kind(
    "network-no-link",
    Severity.ERROR,
    "No network cable or radio link is connected",
    "Plug in the cable, look at the lamps of its socket, or at the SIM card and aerial of the modem.",
    ("ip -br link", "sudo dmesg | grep -i -e eth -e wlan -e link | tail"),
    hides=("network-no-address", "network-no-route", *way.AFTER_NETWORK),
)
NO_ADDRESS = Kind(
    "network-no-address",
    Severity.ERROR,
    "The network gave this machine no address",
    "The link is there, but nobody answers DHCP, or no address is configured. Ask who runs the network.",
    ("ip -br address", "journalctl -b -n 50 -u NetworkManager -u systemd-networkd -u dhcpcd"),
    hides=("network-no-route", *way.AFTER_NETWORK),
)
NO_ROUTE = Kind(
    "network-no-route",
    Severity.ERROR,
    "There is no way out of this network",
    "The machine has an address but no default gateway. Ask who runs the network, or set one.",
    ("ip route", "ip -6 route"),
    hides=way.AFTER_NETWORK,
)

_UP, _REJECT = 0x1, 0x200  # RTF_UP, RTF_REJECT of linux/route.h


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Read what the kernel says of links and routes; a broker that answers anyway is proof enough."""
    host = way.uplink_of(site).host
    if way.is_this_machine(host):
        raise NotHere("the broker is this machine")
    links = _links(site)
    routes = list(_defaults(site))
    dead = [name for name, _ in routes if site.read(f"/sys/class/net/{name}/carrier") == "0"]
    via = next((text for name, text in routes if name not in dead), "")
    if via:
        yield Seen(f"{', '.join(sorted(up for up, carrier in links.items() if carrier)) or 'up'}; {via}")
        return
    with suppress(CannotLook):
        if not way.reached(site).trouble:
            yield Seen("no default gateway, but the broker answers")
            return
    up = sorted(name for name, carrier in links.items() if carrier)
    if links and not up:
        yield Finding(NO_LINK, f"no carrier: {', '.join(sorted(links))}")
    elif not links:
        yield Finding(NO_LINK, "this machine has no network interface but the loopback")
    elif not _has_address(site, up):
        yield Finding(NO_ADDRESS, f"{', '.join(up)} is connected, but has no address")
    elif dead:  # a route that was set by hand stays when the cable goes
        yield Finding(NO_ROUTE, f"the default route leads over {', '.join(sorted(set(dead)))}, which has no carrier")
    else:
        yield Finding(NO_ROUTE, f"{', '.join(up)} has an address; neither IPv4 nor IPv6 has a default route")


def _links(site: "Site") -> dict[str, bool]:
    """Interfaces but the loopback, and whether something is connected to them."""
    folder = site.path("/sys/class/net")
    try:
        found = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise CannotLook(f"{folder} cannot be read: {error.strerror}") from None
    return {
        printable(name, 20): site.read(f"/sys/class/net/{name}/carrier") == "1"
        for name in found
        if name != "lo" and (folder / name).is_dir()
    }


def _defaults(site: "Site") -> Iterator[tuple[str, str]]:
    """Interfaces of the default routes, IPv4 first, with where each leads."""
    for words in _table(site, "/proc/net/route"):
        # Iface Destination Gateway Flags ... Mask: little-endian hex
        if len(words) > 7 and words[1] == words[7] == "00000000" and _is_usable(words[3]):
            gateway = ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(words[2]), "little"))
            name = printable(words[0], 20)
            yield name, f"default route over {name}, gateway {gateway}"
    for words in _table(site, "/proc/net/ipv6_route"):
        # destination, prefix length, source, its length, next hop, metric, references, use, flags, device
        usable = len(words) > 9 and words[9] != "lo" and _is_usable(words[8])
        if usable and words[0] == "0" * 32 and words[1] == "00":
            gateway6 = ipaddress.IPv6Address(bytes.fromhex(words[4]))
            name = printable(words[9], 20)
            yield name, f"IPv6 default route over {name}, gateway {gateway6}"


def _has_address(site: "Site", up: list[str]) -> bool:
    """An interface with an IPv4 address has a route to its own network; IPv6 counts from the site's scope on."""
    if any(words and words[0] in up for words in _table(site, "/proc/net/route")):
        return True
    # address, index, prefix length, scope (00: global, 20: link), flags, device
    return any(len(words) > 5 and words[5] in up and words[3] == "00" for words in _table(site, "/proc/net/if_inet6"))


def _table(site: "Site", path: str) -> Iterator[list[str]]:
    for line in (site.read(path) or "").splitlines():
        yield line.split()


def _is_usable(flags: str) -> bool:
    try:
        value = int(flags, 16)
    except ValueError:
        return False
    return bool(value & _UP) and not value & _REJECT


CHECK = Check("network", "the network of this machine is up", (NO_LINK, NO_ADDRESS, NO_ROUTE), look)
