import socket
from pathlib import Path

import pytest

from edge_agent.diag.checks.delivery.network import CHECK
from edge_agent.diag.finding import CannotLook, Finding, NotHere, Seen
from tests.diag.checks.delivery.site import Place
from tests.fakes.mosquitto import free_port

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
WAY_OUT = "eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
OWN = "eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
REJECTED = "eth0\t00000000\t00000000\t0203\t0\t0\t0\t00000000\t0\t0\t0\n"
ZEROS = "0" * 32
WAY_OUT_6 = f"{ZEROS} 00 {ZEROS} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
NONE_6 = f"{ZEROS} 00 {ZEROS} 00 {ZEROS} ffffffff 00000001 00000000 00200200       lo\n"


def far_away(folder: Path) -> Place:
    place = Place(folder, 'host = "broker.lift.invalid"', f"port = {free_port()}")
    place.lookup = lambda _host: ["127.0.0.2"]
    return place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The broker is somewhere, and no port of it answers."""
    place = far_away(tmp_path)
    place.put("/sys/class/net/eth0/carrier", "1\n")
    place.put("/sys/class/net/lo/carrier", "1\n")
    place.put("/sys/class/net/bonding_masters", "\n")
    return place


def test_a_link_and_a_way_out_are_well(place: Place) -> None:
    place.put("/proc/net/route", HEAD + OWN + WAY_OUT)
    place.put("/proc/net/ipv6_route", WAY_OUT_6)
    assert place.look(CHECK) == [Seen("eth0; default route over eth0, gateway 198.51.100.1")]


def test_ipv6_alone_is_a_way_out(place: Place) -> None:
    place.put("/proc/net/ipv6_route", NONE_6 + WAY_OUT_6)
    assert place.look(CHECK) == [Seen("eth0; IPv6 default route over eth0, gateway fe80::1")]


def test_without_a_carrier_there_is_no_link(place: Place) -> None:
    place.put("/sys/class/net/eth0/carrier", "0\n")
    place.put("/sys/class/net/wlan0/operstate", "down\n")
    assert place.kinds(CHECK) == ["network-no-link"]


def test_a_route_over_a_cable_that_is_pulled_is_no_way_out(place: Place) -> None:
    place.put("/proc/net/route", HEAD + OWN + WAY_OUT)
    place.put("/proc/net/ipv6_route", WAY_OUT_6)
    place.put("/sys/class/net/eth0/carrier", "0\n")
    assert place.kinds(CHECK) == ["network-no-link"]
    place.put("/sys/class/net/wlan0/carrier", "1\n")
    place.put("/proc/net/if_inet6", "20010db8000000000000000000000002 02 40 00 80     wlan0\n")
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert (one.kind.id, one.text) == ("network-no-route", "the default route leads over eth0, which has no carrier")


def test_a_second_way_out_is_one(place: Place) -> None:
    place.put("/proc/net/route", HEAD + WAY_OUT + WAY_OUT.replace("eth0", "wwan0"))
    place.put("/sys/class/net/eth0/carrier", "0\n")
    place.put("/sys/class/net/wwan0/carrier", "1\n")
    assert place.look(CHECK) == [Seen("wwan0; default route over wwan0, gateway 198.51.100.1")]


def test_without_an_interface_there_is_no_link(tmp_path: Path) -> None:
    place = far_away(tmp_path)
    place.put("/sys/class/net/lo/carrier", "1\n")
    assert place.kinds(CHECK) == ["network-no-link"]


def test_without_an_address_the_link_is_of_no_use(place: Place) -> None:
    place.put("/proc/net/route", HEAD)
    place.put("/proc/net/if_inet6", "fe80000000000000000000000000aaaa 02 40 20 80     eth0\n")
    assert place.kinds(CHECK) == ["network-no-address"]


@pytest.mark.parametrize("routes", [OWN, OWN + REJECTED, "eth0\tnonsense\n" + OWN])
def test_without_a_default_route_there_is_no_way_out(place: Place, routes: str) -> None:
    place.put("/proc/net/route", HEAD + routes)
    place.put("/proc/net/ipv6_route", NONE_6)
    assert place.kinds(CHECK) == ["network-no-route"]


def test_an_address_of_ipv6_counts_from_the_site_on(place: Place) -> None:
    place.put("/proc/net/if_inet6", "20010db8000000000000000000000002 02 40 00 80     eth0\n")
    assert place.kinds(CHECK) == ["network-no-route"]


def test_a_broker_on_this_machine_needs_no_network(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="this machine"):
        Place(tmp_path, 'host = "localhost"').look(CHECK)


def test_without_sysfs_it_cannot_look(tmp_path: Path) -> None:
    with pytest.raises(CannotLook, match="class/net"):
        far_away(tmp_path).look(CHECK)


def test_a_broker_that_answers_is_way_out_enough(place: Place) -> None:
    place.put("/proc/net/route", HEAD + OWN)
    with socket.create_server(("127.0.0.2", 0)) as server:
        text = place.config.read_text().partition("port = ")[0]
        place.config.write_text(f"{text}port = {server.getsockname()[1]}\n")
        assert place.look(CHECK) == [Seen("no default gateway, but the broker answers")]
