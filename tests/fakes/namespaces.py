"""A broker at the other end of a real network of two interfaces, for root: links go down, packets are lost, unanswered.

The broker runs in a network namespace of its own; the test stays where it is.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import skip_or_fail
from tests.fakes.claims import claim, give_back
from tests.fakes.mosquitto import Mosquitto


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


def _tc(*arguments: str) -> bool:
    return subprocess.run(["tc", *arguments], capture_output=True, check=False).returncode == 0


def _claimed_number() -> tuple[str, int]:
    """Another run beside this one has other addresses."""
    for number in range(1, 63):
        if claim(name := f"far-network-{number}"):
            return name, number
    raise AssertionError("all far networks are taken")


class FarNetwork:
    """Our end is ``near``, the broker's ``far``, in the namespace ``name``. ``heal`` undoes whatever was done."""

    def __init__(self) -> None:
        self._claim, number = _claimed_number()
        self.name = f"far-{os.getpid()}-{number}"
        self.near_if, self.far_if = f"en{os.getpid() % 10**7}-{number}", "far"
        # TEST-NET-2 of RFC 5737: nobody's addresses.
        self.near, self.far = f"198.51.100.{4 * number + 1}", f"198.51.100.{4 * number + 2}"

    def make(self) -> bool:
        """Make both ends; False without the right to."""
        here = ("link", "add", self.near_if, "type", "veth", "peer", "name", self.far_if, "netns", self.name)
        there = ("-n", self.name)
        return (
            _ip("netns", "add", self.name)
            and _ip(*here)
            and _ip("addr", "add", f"{self.near}/30", "dev", self.near_if)
            and _ip(*there, "addr", "add", f"{self.far}/30", "dev", self.far_if)
            and _ip("link", "set", self.near_if, "up")
            and _ip(*there, "link", "set", self.far_if, "up")
            and _ip(*there, "link", "set", "lo", "up")
        )

    def remove(self) -> None:
        """Remove it all."""
        _ip("link", "del", self.near_if)
        _ip("netns", "del", self.name)
        give_back(self._claim)

    def cable_out(self) -> None:
        """Both ends lose their carrier; no connection hears of it."""
        assert _ip("-n", self.name, "link", "set", self.far_if, "down")

    def answers_lost(self) -> None:
        """What we send arrives; nothing comes back."""
        assert _ip("-n", self.name, "route", "add", "blackhole", f"{self.near}/32")

    def can_lose(self) -> bool:
        """Whether this kernel can lose packets at random (netem)."""
        can = _tc("qdisc", "add", "dev", self.near_if, "root", "netem", "loss", "0%")
        self.heal()
        return can

    def lossy(self) -> None:
        """A fifth of our packets is lost, the others are late."""
        assert _tc("qdisc", "add", "dev", self.near_if, "root", "netem", "loss", "20%", "delay", "20ms")

    def heal(self) -> None:
        """A good network again."""
        _ip("-n", self.name, "link", "set", self.far_if, "up")
        _ip("-n", self.name, "route", "del", "blackhole", f"{self.near}/32")
        _tc("qdisc", "del", "dev", self.near_if, "root")


class FarMosquitto(Mosquitto):
    """A broker in that namespace."""

    def __init__(self, binary: str, folder: Path, network: FarNetwork) -> None:
        script = folder / "mosquitto-there"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {network.name} {binary} "$@"\n', encoding="ascii")
        script.chmod(0o700)
        super().__init__(str(script), folder, quiet=True)
        self.host = network.far
        self._lines[1] = f"listener {self.port} {network.far}"

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Start and wait until it listens there."""
        self._config_path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen([self.binary, "-c", str(self._config_path)], stdout=log, stderr=log)
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=0.5):
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"mosquitto did not start:\n{self.log}")


@contextmanager
def far_network() -> Iterator[FarNetwork]:
    """A network of two ends."""
    network = FarNetwork()
    try:
        if os.geteuid() != 0 or not network.make():
            skip_or_fail("needs the right to make a network namespace: run it as root, with iproute2")
        yield network
    finally:
        network.remove()
