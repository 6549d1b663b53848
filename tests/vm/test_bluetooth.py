"""The BLE link over the real bluetoothd: a virtual controller needs a kernel module, so it happens in a small machine.

Builds and boots the machine in about a minute. Needs root, for the machine's files.
"""

import os
from pathlib import Path

import pytest

from tests.conftest import require_system, skip_or_fail
from tests.vm.machine import HERE, build

PACKAGES = ("bluez", "dbus", "kmod", "mount", "python3")
# Emulated, on a machine that may have other work: many times of what it takes.
WITHIN_S = 400.0


@pytest.mark.proof
@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_ble_screen_shows_cues_and_comes_back_over_the_real_bluetoothd(tmp_path: Path) -> None:
    require_system("qemu-x86")
    require_system("mmdebstrap")
    if os.geteuid() != 0:
        skip_or_fail("the files of a machine can be made by root only")
    machine = build(
        tmp_path,
        packages=PACKAGES,
        extra="vm",
        init=HERE / "bluetooth_init.sh",
        files=[HERE / "bluetooth_guest.py", HERE / "nus_peripheral.py"],
    )
    said = machine.boot(WITHIN_S)
    print(said)
    assert "guest: all passed" in said
    assert "mcu: shows thanks " + "谢谢 " * 8 + "谢谢" in said  # more than one packet; 64 bytes reach an MCU
    assert "guest: exit status 0" in said
