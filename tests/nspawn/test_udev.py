"""60-edge-agent.rules, judged by the real udev over a made-up /sys: names, groups, latency, whom it leaves alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nspawn.container import Container, booted

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

RULES = "60-edge-agent.rules"
SITE_RULES = "/etc/udev/rules.d/59-edge-agent-site.rules"
SOCKET = "/devices/usb1/1-1/1-1.2"
# A converter in socket 1-1.2 as Linux shows it: $1 vendor, $2 product, $3 name of the tty, $4 driver.
PLUG = f"""
mount -t tmpfs tmpfs /sys
mkdir -p /sys/bus/usb /sys/bus/usb-serial/drivers/$4 /sys/class/tty /sys/class/i2c-dev /sys/class/gpio
usb=/sys{SOCKET} face=/sys{SOCKET}/1-1.2:1.0 port=/sys{SOCKET}/1-1.2:1.0/$3 tty=/sys{SOCKET}/1-1.2:1.0/$3/tty/$3
mkdir -p $tty
for place in /sys/devices/usb1 /sys/devices/usb1/1-1 $usb; do
    echo DEVTYPE=usb_device >$place/uevent
    ln -s /sys/bus/usb $place/subsystem
done
echo $1 >$usb/idVendor
echo $2 >$usb/idProduct
echo DEVTYPE=usb_interface >$face/uevent
ln -s /sys/bus/usb $face/subsystem
echo DRIVER=$4 >$port/uevent
ln -s /sys/bus/usb-serial $port/subsystem
ln -s /sys/bus/usb-serial/drivers/$4 $port/driver
echo 16 >$port/latency_timer
printf 'MAJOR=188\\nMINOR=0\\nDEVNAME=%s\\n' $3 >$tty/uevent
ln -s /sys/class/tty $tty/subsystem
mkdir -p /sys/devices/i2c/i2c-1 /sys/devices/gpio/gpiochip0
printf 'MAJOR=89\\nMINOR=1\\nDEVNAME=i2c-1\\n' >/sys/devices/i2c/i2c-1/uevent
ln -s /sys/class/i2c-dev /sys/devices/i2c/i2c-1/subsystem
printf 'MAJOR=254\\nMINOR=0\\nDEVNAME=gpiochip0\\n' >/sys/devices/gpio/gpiochip0/uevent
ln -s /sys/class/gpio /sys/devices/gpio/gpiochip0/subsystem
export SYSTEMD_DEVICE_VERIFY_SYSFS=0 SYSTEMD_LOG_LEVEL=debug
exec udevadm test --action=$6 $5
"""


@pytest.fixture(scope="module")
def inside(image: Path) -> Iterator[Container]:
    """One terminal for all of these: asking udev changes nothing."""
    with booted(image) as container:
        yield container


@dataclass(frozen=True, slots=True)
class Judged:
    """What udev would do."""

    text: str

    @property
    def properties(self) -> dict[str, str]:
        """What it would keep of the device."""
        return dict(re.findall(r"(?m)^\s*([A-Z][A-Z0-9_]*)=(.*)$", self.text))

    @property
    def name(self) -> str:
        """What it is called for the agent."""
        links = self.properties.get("DEVLINKS", "").split()
        return next((link for link in links if re.fullmatch("/dev/(nfc-reader|edge-screen).*", link)), "")

    def ours(self, word: str) -> list[str]:
        """What our rules, and no others, say after GROUP, MODE or ATTR."""
        return re.findall(rf"{RULES}:\d+.*?\b{word}\b[^\w/]*(.*)", self.text)


def judge(inside: Container, chip: str, tty: str = "ttyUSB0", *, device: str = "", action: str = "add") -> Judged:
    """Plug in a converter, and ask udev about its tty or about ``device``."""
    vendor, product = chip.split(":")
    driver = {"0403": "ftdi_sio"}.get(vendor, "ch341-uart")
    about = device or f"{SOCKET}/1-1.2:1.0/{tty}/tty/{tty}"
    script = ["unshare", "--mount", "sh", "-euc", PLUG, "plug", vendor, product, tty, driver, about, action]
    return Judged(inside.run(*script))


@pytest.mark.parametrize(
    ("chip", "tty", "name"),
    [
        ("1a86:7523", "ttyUSB0", "/dev/nfc-reader0"),
        ("10c4:ea60", "ttyUSB0", "/dev/nfc-reader0"),
        ("0403:6001", "ttyUSB0", "/dev/nfc-reader0"),
        ("0403:6015", "ttyUSB0", "/dev/nfc-reader0"),
        ("2e8a:000a", "ttyACM0", "/dev/edge-screen"),
        ("303a:1001", "ttyACM0", "/dev/edge-screen"),
        ("0483:5740", "ttyACM0", "/dev/edge-screen"),
        ("12d1:1506", "ttyUSB0", ""),
    ],
    ids=["CH340", "CP210x", "FT232R", "FT-X", "Pico", "ESP32-S3", "STM32", "a modem"],
)
def test_a_converter_gets_its_name_and_group_and_no_modem_manager(
    inside: Container, chip: str, tty: str, name: str
) -> None:
    dialout = inside.run("getent", "group", "dialout").split(":")[2]
    seen = judge(inside, chip, tty)
    assert seen.name == name
    if name:
        assert seen.properties["ID_MM_PORT_IGNORE"] == "1"
        assert seen.ours("GROUP") == [dialout]
        assert seen.ours("MODE") == ["0660"]
    else:
        assert seen.ours("GROUP") == []
        assert "ID_MM_PORT_IGNORE" not in seen.properties, "somebody else's modem is left alone"


def test_the_site_names_them_by_the_socket(inside: Container) -> None:
    for told, name in (("nfc-reader1", "/dev/nfc-reader1"), ("edge-screen", "/dev/edge-screen"), ("none", "")):
        inside.write(SITE_RULES, f'SUBSYSTEM=="tty", KERNELS=="1-1.2", ENV{{EDGE_AGENT_NAME}}="{told}"\n')
        assert judge(inside, "1a86:7523").name == name
    inside.write(SITE_RULES, 'SUBSYSTEM=="tty", KERNELS=="1-1.3", ENV{EDGE_AGENT_NAME}="nfc-reader1"\n')
    assert judge(inside, "1a86:7523").name == "/dev/nfc-reader0", "another socket is meant"
    inside.run("rm", SITE_RULES)


def test_ftdi_converters_lose_their_delay_and_others_have_none(inside: Container) -> None:
    port = f"{SOCKET}/1-1.2:1.0/ttyUSB0"
    written = judge(inside, "0403:6001", device=port, action="bind").ours("ATTR")
    assert len(written) == 1
    assert "latency_timer" in written[0]
    assert judge(inside, "1a86:7523", device=port, action="bind").ours("ATTR") == []


def test_the_agent_may_reset_a_converter_and_use_tag_chips(inside: Container) -> None:
    number = {line.split(":")[0]: line.split(":")[2] for line in inside.run("getent", "group").splitlines()}
    assert judge(inside, "0403:6001", device=SOCKET).ours("GROUP") == [number["dialout"]]
    assert judge(inside, "12d1:1506", device=SOCKET).ours("GROUP") == []
    assert judge(inside, "0403:6001", device="/devices/i2c/i2c-1").ours("GROUP") == [number["i2c"]]
    assert judge(inside, "0403:6001", device="/devices/gpio/gpiochip0").ours("GROUP") == [number["gpio"]]
