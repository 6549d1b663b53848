"""The C reference of firmware_bridge/mcu, built and run: under a test's commands, behind a pty, or in an emulation."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import require_system

MCU = Path(__file__).parents[2] / "firmware_bridge" / "mcu"
HARNESS = Path(__file__).parents[1] / "firmware_bridge" / "mcu" / "harness.c"
_END_WITHIN_S = 30.0


def make(build: Path, *arguments: str) -> str:
    """Run the maker's own Makefile into ``build``; return what it printed, fail with it."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(MCU), f"BUILD={build}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
        # Not the flags of the make that may have started the tests.
        env={name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build_harness(build: Path) -> Path:
    """The harness with both sanitizers and the Makefile's own warnings."""
    require_system("gcc")
    make(build, "harness", f"HARNESS={HARNESS}", "SANITIZE=1")
    return build / "harness"


class Harness:
    """The harness as a process; any sanitizer's finding ends it and fails the test."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *commands: str) -> list[list[str]]:
        """Give the commands, return what came out, one list of words for each line, without the closing `done`."""
        process = self._process
        assert process.stdout is not None
        # In a thread of its own: the harness answers meanwhile, and would wait for us as we for it.
        writer = threading.Thread(target=self._write, args=("\n".join([*commands, "done", ""]),))
        writer.start()
        found = []
        for line in process.stdout:
            if line == "done\n":
                writer.join()
                return found
            found.append(line.split())
        writer.join()
        return self._ended()

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended: the reader sees why
            self._process.stdin.write(text)
            self._process.stdin.flush()

    def _ended(self) -> list[list[str]]:
        _, errors = self._process.communicate(timeout=_END_WITHIN_S)
        raise AssertionError(f"the harness ended with {self._process.returncode}:\n{errors[-4000:]}")

    def close(self) -> None:
        """End it; it must have nothing to say."""
        _, errors = self._process.communicate(timeout=_END_WITHIN_S)
        assert (self._process.returncode, errors) == (0, "")


@dataclass
class Firmware:
    """A running firmware: its line at ``path``, what its panel showed, and its keys."""

    process: subprocess.Popen[bytes]
    path: str = ""
    shown: list[str] = field(default_factory=list)
    """Lines of the panel, "3 80 host text": cue, brightness, by whom, text."""

    def press(self, key: str) -> None:
        """Press a key of the panel: see examples/panel.h."""
        assert self.process.stdin is not None
        self.process.stdin.write(key.encode())
        self.process.stdin.flush()

    def follow(self, told: Callable[[str], None]) -> None:
        """Read what it prints until it ends; ``told`` gets each line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.decode("utf-8", errors="replace").rstrip("\n")
            if text.startswith("show "):
                self.shown.append(text.removeprefix("show "))
            told(text)


def _has_a_chip_of_its_own(process: subprocess.Popen[bytes]) -> None:
    """Let no other program's turn come before it, where we may: a millisecond that it misses is never counted.

    Beside four busy programs an emulated clock loses up to a third of its time, and what is timed by it comes late.
    """
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(OSError):  # not root, or a thread that has ended
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


@contextmanager
def _running(command: list[str], path: str = "") -> Iterator[Firmware]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    firmware = Firmware(process, path)
    ready = threading.Event()

    def told(line: str) -> None:
        if found := re.search(r"redirected to (\S+) \(label serial0\)", line):
            firmware.path = found[1]
        if firmware.path and firmware.shown:
            ready.set()

    follower = threading.Thread(target=firmware.follow, args=(told,), daemon=True)
    follower.start()
    try:
        if not ready.wait(60):
            raise TimeoutError(f"{command[0]} showed nothing")
        _has_a_chip_of_its_own(process)
        yield firmware
    finally:
        process.terminate()
        process.wait(_END_WITHIN_S)
        follower.join(_END_WITHIN_S)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
    assert process.returncode in (0, -signal.SIGTERM), said


@contextmanager
def host_firmware(program: Path, path: Path) -> Iterator[Firmware]:
    """The reference as a process of this machine, its line at ``path``."""
    with _running([str(program), str(path)], str(path)) as firmware:
        yield firmware


@contextmanager
def emulated_firmware(image: Path) -> Iterator[Firmware]:
    """The reference in an emulated Cortex-M3: UART0 is a pty, UART1 the panel."""
    qemu = require_system("qemu-system-arm")
    machine = ["-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-serial", "pty", "-serial", "stdio"]
    with _running([qemu, *machine, "-kernel", str(image)]) as firmware:
        yield firmware
