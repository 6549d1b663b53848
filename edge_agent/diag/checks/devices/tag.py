"""Tag chips on an I2C bus: the bus is there, open to the agent's user, and the chip answers."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.access import READ, WRITE, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import text, told_of
from edge_agent.diag.site import Site
from edge_agent.errors import ReaderError

BUS = Kind(
    "tag-bus-missing",
    Severity.ERROR,
    "The I2C bus of a tag is not there",
    "Switch I2C on (raspi-config, or the board's device tree) and load i2c-dev; see whether `bus` is right.",
    ("ls /dev/i2c-*", "sudo modprobe i2c-dev"),
    hides=("tag-no-permission", "tag-missing", "tag-unsteady"),
)
FORBIDDEN = Kind(
    "tag-no-permission",
    Severity.ERROR,
    "The agent may not open the I2C bus of a tag",
    "The group of the bus must be one of the agent's user, i2c on Debian; then start the agent again.",
    ("sudo usermod -aG i2c edge-agent", "sudo systemctl restart edge-agent"),
    hides=("tag-missing", "tag-unsteady"),
)
MISSING = Kind(
    "tag-missing",
    Severity.ERROR,
    "The chip of a tag does not answer",
    "Look at its plug, its supply (1.7 to 3.6 V), SDA and SCL, and at its `address`; i2cdetect shows who answers.",
    ("sudo i2cdetect -y 1", "edge-agent status"),
    hides=("tag-unsteady",),
)
UNSTEADY = Kind(
    "tag-unsteady",
    Severity.WARNING,
    "A tag has to be opened again and again",
    "It works in between. Look for a loose plug, long wires, missing pull-ups on SDA and SCL, a weak supply.",
    ("edge-agent logs --level warning",),
)
REOPENS = 3


def look(site: Site) -> Iterator[Finding | Seen]:
    """The agent tells of its chips; where none runs, the chip itself is asked for a register."""
    tags = [tag for tag in site.settings.tags if tag.driver == "ntag_i2c"]
    if not tags:
        raise NotHere("no tag chip is configured")
    status = site.status if site.runs else None  # an agent that does not tell may be amid a transfer
    for tag in tags:
        bus = Path(tag.bus)
        told = told_of(status, "tags", tag.name)
        if not bus.exists():
            yield Finding(BUS, f"{bus} is not there", tag.name)
            continue
        account = agent_account(site)
        if barrier := account.keeps_out(bus, READ | WRITE):
            why = f"{account.name} may not open {bus}: {barrier} is {mode_of(barrier.stat())}"
            yield Finding(FORBIDDEN, why, tag.name)
            continue
        why = text(told, "last_error") if told.get("state") == "lost" else "" if told else _asked(str(bus), tag.address)
        if why:
            yield Finding(MISSING, why, tag.name)
            continue
        reopens = told.get("reopens")
        if isinstance(reopens, int) and reopens >= REOPENS:
            yield Finding(UNSTEADY, f"opened again {reopens} times", tag.name)
        yield Seen(text(told, "chip") or f"answers at {bus}, address {tag.address:#04x}", tag.name)


def _asked(bus: str, address: int) -> str:
    """Read one register of the chip; returns why it does not answer."""
    from edge_agent.tags import nt3h  # noqa: PLC0415 -- only where a tag is configured and no agent runs
    from edge_agent.tags.i2c_bus import open_bus  # noqa: PLC0415 -- as above
    from edge_agent.tags.nt3h_link import Nt3hLink  # noqa: PLC0415 -- as above

    try:
        opened = open_bus(bus)
        try:
            Nt3hLink(opened, bus, address).register(nt3h.NC_REG)
        finally:
            opened.close()
    except ReaderError as error:
        return error.text
    return ""


CHECK = Check("tag", "each tag chip answers on its bus", (BUS, FORBIDDEN, MISSING, UNSTEADY), look)
