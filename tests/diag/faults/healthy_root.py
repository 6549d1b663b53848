"""The /proc, /sys, /etc and /run of a healthy board, and the few programs of systemd, as doctor reads them.

What they say was taken down from real machines: a Raspberry Pi and a Debian under systemd.
"""

import os
import shlex
from pathlib import Path

MMC = "/sys/block/mmcblk0/device"
FILES = {
    "/run/systemd/system/.keep": "",
    "/var/log/journal/.keep": "",
    "/proc/uptime": "86400.12 170000.34\n",
    "/proc/meminfo": "MemTotal:        3884372 kB\nMemFree:          210000 kB\nMemAvailable:    3062088 kB\n",
    "/proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "/proc/self/mountinfo": "23 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n",
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "48199\n",
    "/sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "/sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "/sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    f"{MMC}/type": "MMC\n",
    f"{MMC}/name": "DG4016\n",
    f"{MMC}/life_time": "0x01 0x01\n",
    f"{MMC}/pre_eol_info": "0x01\n",
    "/sys/fs/ext4/mmcblk0p2/errors_count": "0\n",
    "/sys/class/rtc/rtc0/hctosys": "1\n",
}


def make_root(root: Path) -> None:
    """Write them all below ``root``."""
    for name, text in FILES.items():
        put(root, name, text)


def put(root: Path, name: str, text: str) -> None:
    """Write one, e.g. ``/proc/uptime``."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def program(folder: Path, name: str, script: str) -> None:
    """Put a program of this name into ``folder``, which is first in the terminal's PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def recorded(folder: Path, name: str, outputs: dict[str, str]) -> None:
    """Put a program there that prints what was recorded: for the first key that is one of its words; "" is else.

    What it was called with is added to NAME.calls.
    """
    cases = []
    for number, (word, text) in enumerate(outputs.items()):
        said = folder / f"{name}.{number}.out"
        folder.mkdir(exist_ok=True)
        said.write_text(text, encoding="utf-8")
        pattern = f"*' {word} '*" if word else "*"
        cases.append(f"{pattern}) cat {shlex.quote(str(said))};;")
    calls = shlex.quote(str(folder / f"{name}.calls"))
    program(folder, name, f'echo "$*" >> {calls}\ncase " $* " in\n' + "\n".join(cases) + "\nesac")


def service(**changes: str) -> str:
    """What `systemctl show edge-agent.service` says of one that runs."""
    said = {
        "Type": "notify",
        "Restart": "always",
        "MainPID": str(os.getpid()),
        "NRestarts": "0",
        "Result": "success",
        "ExecMainStartTimestamp": "Mon 2026-11-23 06:00:00 UTC",
        "ExecMainCode": "0",
        "ExecMainStatus": "0",
        "Id": "edge-agent.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "UnitFilePreset": "enabled",
        "NeedDaemonReload": "no",
        "User": "",
        "Group": "",
        "SupplementaryGroups": "",
        "ControlGroup": "/system.slice/edge-agent.service",
        "MemoryCurrent": "52428800",
        "MemoryMax": "167772160",
    }
    return "".join(f"{name}={value}\n" for name, value in (said | changes).items())
