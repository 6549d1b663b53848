"""The system parts (not Python packages) that some tests need: which, how to get them, and getting them.

Run by `make test` before everything else, by any Python. As root on Debian it installs what is missing; elsewhere it
says which tests will be skipped and how to run them. It always exits 0: a missing part is pytest's to skip, or to fail
under CI=true.
"""

# ruff: noqa: T201 -- a script that talks to the developer

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

# Daemons live in sbin, which an ordinary user's PATH lacks on Debian.
_MORE_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True)
class Part:
    """One system part: any of ``commands``, or of ``files``, on the machine means that it is there."""

    commands: tuple[str, ...]
    package: str
    used_for: str
    files: tuple[str, ...] = ()
    proof_only: bool = False
    """Only the tests at full length need it."""

    def find(self) -> str | None:
        """Absolute path of the first command or file found, or None."""
        if there := next((name for name in self.files if Path(name).exists()), None):
            return there
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PATH])
        return next((found for name in self.commands if (found := shutil.which(name, path=path))), None)

    @property
    def how_to(self) -> str:
        """What a developer types to get it."""
        return f"sudo apt-get install {self.package}"


PARTS = {
    "mosquitto": Part(("mosquitto",), "mosquitto", "delivery to a real MQTT broker"),
    "chromium": Part(
        ("chromium", "chromium-browser", "google-chrome"), "chromium", "the screen page in a real browser"
    ),
    "dbus-daemon": Part(("dbus-daemon",), "dbus-daemon", "BLE screens, on a D-Bus of their own"),
    "curl": Part(("curl",), "curl", "the examples for a player's developer"),
    "systemd-analyze": Part(("systemd-analyze",), "systemd", "the units of systemd"),
    "journalctl": Part(("journalctl",), "systemd", "the journal, as `logs` reads it"),
    "systemd-journal-remote": Part(
        (), "systemd-journal-remote", "the same: it writes them", ("/lib/systemd/systemd-journal-remote",)
    ),
    "mandoc": Part(("mandoc",), "mandoc", "the manual pages"),
    "zsh": Part(("zsh",), "zsh", "what shells complete"),
    "cage": Part(("cage",), "cage", "the kiosk that shows the page"),
    "xwayland": Part(("Xwayland",), "xwayland", "the same: Debian's cage does not start without it"),
    "pcscd": Part(("pcscd",), "pcscd", "PC/SC readers"),
    "libpcsclite": Part(
        (), "libpcsclite-dev gcc", "PC/SC readers, whose library is built here", ("/usr/include/PCSC/winscard.h",)
    ),
    "python-headers": Part((), "python3-dev", "the same", (f"{sysconfig.get_path('include')}/Python.h",)),
    "vpcd": Part(("vpcd-config",), "vsmartcard-vpcd", "PC/SC readers, by a virtual one"),
    "gcc": Part(("gcc",), "gcc libc6-dev", "the MCU's firmware in C"),
    "arm-none-eabi-gcc": Part(("arm-none-eabi-gcc",), "gcc-arm-none-eabi", "the same, for a Cortex-M3"),
    "qemu-system-arm": Part(("qemu-system-arm",), "qemu-system-arm", "the same, in an emulated Cortex-M3"),
    "dpkg": Part(("dpkg",), "dpkg", "the Debian package"),
    "shellcheck": Part(("shellcheck",), "shellcheck", "the same, its scripts"),
    "readelf": Part(("readelf",), "binutils", "the same, built", proof_only=True),
    "lintian": Part(("lintian",), "lintian", "the same, held against Debian's rules", proof_only=True),
    "qemu-aarch64": Part(("qemu-aarch64-static",), "qemu-user-static", "the same, on arm64", proof_only=True),
    "qemu-x86": Part(("qemu-system-x86_64",), "qemu-system-x86", "the real bluetoothd", proof_only=True),
    "mmdebstrap": Part(("mmdebstrap",), "mmdebstrap cpio", "the same, in a machine of its own", proof_only=True),
    "systemd-nspawn": Part(
        ("systemd-nspawn",), "systemd-container", "the service on a Debian of its own", proof_only=True
    ),
}


def missing(*, proof: bool) -> dict[str, Part]:
    """Return the parts that are not on this machine, by name; with ``proof`` those of the full length, too."""
    return {name: part for name, part in PARTS.items() if part.find() is None and (proof or not part.proof_only)}


def _install(parts: dict[str, Part]) -> None:
    packages = sorted({name for part in parts.values() for name in part.package.split()})
    print(f"system parts: installing {' '.join(packages)} (root on Debian)", flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(
            command, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False
        )
        if done.returncode != 0:
            print(f"system parts: `{' '.join(command)}` failed:\n{done.stdout[-2000:]}", flush=True)


def main() -> int:
    """Install what is missing where that is possible, then say what will be skipped.

    ``--builds-pcsc``: only say `pcsc` where the library of PC/SC readers can be built. ``--proof``: what only the tests
    at full length need as well.
    """
    if sys.argv[1:] == ["--builds-pcsc"]:
        print("pcsc" if PARTS["libpcsclite"].find() and PARTS["python-headers"].find() else "")
        return 0
    proof = sys.argv[1:] == ["--proof"]
    absent = missing(proof=proof)
    if absent and os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get"):
        try:
            _install(absent)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"system parts: {error}", flush=True)
        absent = missing(proof=proof)
    for name, part in absent.items():
        print(f"system parts: no {name}: tests of {part.used_for} will be skipped; to run them: {part.how_to}")
    if not absent:
        wanted = [name for name, part in PARTS.items() if proof or not part.proof_only]
        print(f"system parts: {', '.join(wanted)} found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
