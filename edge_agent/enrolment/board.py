"""The board's serial number, for a terminal that nobody gave an id; junk that makers leave in its place is refused.

Two terminals with one id would each push the other off the broker: a doubtful serial is none.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from edge_agent.errors import ConfigError
from edge_agent.sanitize import printable
from edge_agent.small_file import read_small

LONGEST_ID = 24
_MAX_BYTES = 64 * 1024
_LEAST = 4
# What firmware says where nobody wrote a number; compared without case, blanks and punctuation.
_JUNK = {
    "tobefilledbyoem", "defaultstring", "systemserialnumber", "baseboardserialnumber", "chassisserialnumber",
    "serialnumber", "boardserialnumber", "notspecified", "notapplicable", "notavailable", "notset", "unspecified",
    "unknown", "undefined", "invalid", "none", "null", "empty", "oem", "default", "standard", "example", "sample",
    "test", "serial", "123456789", "1234567890", "0123456789", "12345678", "01234567", "1234567", "123456", "12345",
    "1234", "0123456789abcdef", "123456789abcdef", "deadbeef", "qemu",
}  # fmt: skip


class Serial(NamedTuple):
    """A serial number as the board says it, made printable, and the file that said so."""

    text: str
    source: Path


def find_serial(root: Path = Path("/")) -> Serial | None:
    """Ask the device tree, then the CPU, then DMI (which only root may read); None if nothing of worth is found."""
    places = (
        ("sys/firmware/devicetree/base/serial-number", False),
        ("proc/cpuinfo", True),
        ("sys/class/dmi/id/product_serial", False),
        ("sys/class/dmi/id/board_serial", False),
    )
    for name, is_list in places:
        path = root / name
        try:
            data, _ = read_small(path, _MAX_BYTES)
        except OSError:  # this board has no such place, or we may not look: the next one may do
            continue
        text = data.decode("utf-8", "replace")
        if is_list:
            found = re.search(r"(?mi)^serial[ \t]*:(.*)$", text)
            text = found[1] if found else ""
        text = text.strip("\0 \t\r\n")
        if is_serial(text):
            return Serial(printable(text, 64), path)
    return None


def is_serial(text: str) -> bool:
    """Whether ``text`` can tell one board from another: no stopgap, no row of one character, long enough."""
    core = re.sub("[^a-z0-9]", "", text.lower())
    return len(core) >= _LEAST and core not in _JUNK and len(set(core)) > 1 and core.strip("0x") != ""


def terminal_id_of(serial: str) -> str:
    """Map a serial to a terminal id: 1 to 24 of a-z, 0-9 and '-'. A longer one ends in 8 digits of its SHA-256.

    Raises ConfigError for a text that is no serial (``is_serial``).
    """
    if not is_serial(serial):
        raise ConfigError([f"the serial number {printable(serial)!r} tells no board from another"])
    name = re.sub("[^a-z0-9]+", "-", serial.lower()).strip("-")
    if len(name) <= LONGEST_ID:
        return name
    return f"{name[:15].rstrip('-')}-{hashlib.sha256(serial.encode('utf-8', 'replace')).hexdigest()[:8]}"
