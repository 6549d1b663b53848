"""What a support report tells of the machine: system, service, disk, clock, ports, kernel messages, network.

Each function returns one part; it looks for itself, needs no rights, changes nothing, and raises what goes wrong.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from edge_agent.diag import journal
from edge_agent.diag.log_lines import agents_record
from edge_agent.errors import EdgeAgentError
from edge_agent.readers.ports import list_ports
from edge_agent.sanitize import printable
from edge_agent.version import VERSION

Run = Callable[[Sequence[str]], str]
ROOT = Path("/")
_COMMAND_S = 6.0
LOG_LINES = 5000
KERNEL_LINES = 1000
# No Environment=, no SetCredential=: what may hold a secret is not asked for.
_PROPERTIES = (
    "Id,LoadState,UnitFileState,FragmentPath,DropInPaths,ActiveState,SubState,Result,StatusText,StatusErrno,NRestarts,"
    "MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,ActiveEnterTimestamp,InactiveEnterTimestamp,"
    "WatchdogUSec,WatchdogTimestamp,MemoryCurrent,MemoryMax,CPUUsageNSec,TasksCurrent,User,Group,SupplementaryGroups"
)
_OF_INTEREST = re.compile(
    r"(?i)tty|usb|serial|ftdi|cp210|ch34|cdc_acm|i2c|nfc|blue|hci|ext4|btrfs|overlay|squashfs|mmc|nvme|\bsd[a-z]\b|ata[0-9]"
    r"|i/o error|read-only|out of memory|oom|under-?voltage|thermal|throttl|watchdog|hung task|panic|\beth|\bwlan|link"
)


class CannotCollect(EdgeAgentError):
    """A part of the report that this machine cannot give."""

    code = "bundle"


def run(words: Sequence[str]) -> str:
    """Return what a command of the system prints, bounded in time. Raises CannotCollect with what it complains of."""
    try:
        done = subprocess.run(  # noqa: S603 -- our own words, no shell
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
        )
    except FileNotFoundError:
        raise CannotCollect(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise CannotCollect(f"{words[0]} took longer than {_COMMAND_S:g} s") from None
    out = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 and not out.strip():
        said = printable(" ".join(done.stderr.decode("utf-8", "replace").split()), 200)
        raise CannotCollect(f"{words[0]} ended with status {done.returncode}: {said}")
    return out


def versions() -> dict[str, object]:
    """The agent's, Python's, the libraries', the system's."""
    import platform  # noqa: PLC0415 -- as below
    from importlib import metadata  # noqa: PLC0415 -- half of what `bundle --help` would take

    needed = metadata.requires("edge-agent") or []
    names = sorted({re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in needed if "extra ==" not in line})
    return {
        "edge-agent": VERSION,
        "python": sys.version.split()[0],
        "libraries": {name: _version(name) for name in names},
        "kernel": " ".join(os.uname()[field] for field in (0, 2, 3, 4)),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "board": _text(Path("/proc/device-tree/model")).rstrip("\0"),
    }


def _version(name: str) -> str:
    from importlib import metadata  # noqa: PLC0415 -- as above

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def unit(call: Run = run) -> str:
    """What systemd knows of the service; nothing of its environment."""
    return call(["systemctl", "show", journal.UNIT, f"--property={_PROPERTIES}", "--no-pager"])


def failed_units(call: Run = run) -> str:
    """Which other services failed."""
    return call(["systemctl", "list-units", "--failed", "--no-legend", "--plain", "--no-pager"]) or "none\n"


def log_lines() -> str:
    """The newest lines of the agent's journal, each as the agent writes one."""
    with journal.reading(journal.command(lines=LOG_LINES)) as reading:
        lines = [json.dumps(agents_record(line), ensure_ascii=False) for line in reading.lines()]
        reading.check(len(lines))
    if not lines:
        raise CannotCollect(f"the journal has nothing of {journal.UNIT}")
    return "\n".join(lines) + "\n"


def kernel(call: Run = run) -> str:
    """Messages of the kernel about serial ports, USB, disks, power and memory; the newest of them."""
    lines = [line for line in call(["dmesg"]).splitlines() if _OF_INTEREST.search(line)]
    return "\n".join(lines[-KERNEL_LINES:]) + "\n"


def serial_ports(root: Path = ROOT) -> list[dict[str, object]]:
    """Every serial port with its lasting names, its USB ids, its rights."""
    return [asdict(port) | {"rights": _rights(Path(port.path))} for port in list_ports(root)]


def _rights(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        return error.strerror or "?"
    return f"{found.st_mode & 0o7777:04o} uid {found.st_uid} gid {found.st_gid}"


def disk(call: Run = run) -> str:
    """Space and inodes of local file systems, and how each is mounted."""
    mounts = _text(Path("/proc/self/mounts"))
    return "\n".join([call(["df", "-PTlh"]), call(["df", "-PTil"]), mounts])


def clock(call: Run = run) -> str:
    """What time this machine believes it is, and who says so."""
    readings = {"unix": time.time(), "monotonic": time.monotonic(), "boot": time.clock_gettime(time.CLOCK_BOOTTIME)}
    now = "".join(f"{name}={value:.3f}\n" for name, value in readings.items())
    try:
        return now + call(["timedatectl", "show", "--no-pager"])
    except CannotCollect as error:
        return f"{now}{error.text}\n"


def network(root: Path = ROOT) -> list[dict[str, object]]:
    """Each interface: state, speed, errors, whether the default route goes through it. No address of anybody."""
    through = {
        line.split()[0] for line in _text(root / "proc/net/route").splitlines()[1:] if line.split()[1:2] == ["00000000"]
    }
    return [
        {
            "name": entry.name,
            "state": _text(entry / "operstate"),
            "carrier": _text(entry / "carrier"),
            "speed": _text(entry / "speed"),
            "default_route": entry.name in through,
            **{name: _text(entry / "statistics" / name) for name in ("rx_errors", "tx_errors", "rx_bytes", "tx_bytes")},
        }
        for entry in sorted((root / "sys/class/net").iterdir())
    ]


def load(root: Path = ROOT) -> str:
    """Load, uptime, memory and temperatures."""
    memory = "\n".join(_text(root / "proc/meminfo").splitlines()[:8])
    zones = [
        f"{zone.name} {_text(zone / 'type')} {_text(zone / 'temp')}"
        for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    ]
    return "\n".join([_text(root / "proc/loadavg"), _text(root / "proc/uptime"), memory, *zones]) + "\n"


def _text(path: Path) -> str:
    """A small file of the kernel; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(65_536).decode("utf-8", "replace").strip()
    except OSError:
        return ""
