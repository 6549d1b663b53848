"""A real Debian with a real systemd in a container of systemd-nspawn, for a test: boots in a second, forgets all.

Root only. Its network is its own loopback; what it writes is in memory. It lives in namespaces that end with the test's
process, so nothing of it stays behind, however the test ends.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.debian_tree import make_debian

BOOT = Path(__file__).parent / "boot.sh"
SUITES = {12: "bookworm", 13: "trixie"}
"""Release of Debian -> its name."""
PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "python3", "libusb-1.0-0", "mosquitto", "kmod")
_UNUSED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# Nothing of it takes long; a loaded machine is another matter.
PATIENCE_S = 180.0


def build_tree(release: int, tree: Path) -> None:
    """Make a clean Debian in ``tree``: twenty seconds, with Debian's archive in reach. Raises RuntimeError."""
    unused = (f"--dpkgopt=path-exclude={path}" for path in _UNUSED)
    make_debian(tree, SUITES[release], "--variant=minbase", f"--include={','.join(PACKAGES)}", *unused)
    (tree / "etc" / "machine-id").write_text("")


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    leader: int
    """Process id, out here, of its systemd."""

    def run(self, *command: str, check: bool = True, stdin: str = "", within_s: float = PATIENCE_S) -> str:
        """What a command inside prints, on both streams; raises RuntimeError with it where it fails."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--", *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_ENVIRONMENT,
            umask=0o022,  # as systemd has it, whatever this shell's is
            timeout=within_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"`{shlex.join(command)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def status(self, *command: str) -> int:
        """The exit status of a command inside."""
        said = self.run("sh", "-c", f"{shlex.join(command)} >/dev/null 2>&1; echo $?")
        return int(said)

    def shell(self, script: str) -> str:
        """What a shell inside prints; a step that fails is an error."""
        return self.run("sh", "-euc", script)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Put a file inside, with the folders above it."""
        self.run("sh", "-euc", 'mkdir -p "$(dirname "$0")"; cat >"$0"; chmod "$1" "$0"', path, f"{mode:o}", stdin=text)

    def unit(self, name: str, *properties: str) -> list[str]:
        """The values of properties of a unit, in this order."""
        said = self.run("systemctl", "show", name, *(f"--property={one}" for one in properties))
        found = dict(line.partition("=")[::2] for line in said.splitlines())
        return [found.get(one, "") for one in properties]

    def journal(self, unit: str) -> str:
        """What the journal has of a unit."""
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", f"--unit={unit}")

    def until(self, condition: Callable[[], object], what: str, *, within_s: float = PATIENCE_S) -> None:
        """Wait for something inside; TimeoutError with the journal's end."""
        end = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end:
                log = self.run("journalctl", "--no-pager", "--lines=60", check=False)
                raise TimeoutError(f"waited {within_s:.0f} s for {what}; the journal ends with\n{log}")
            time.sleep(0.1)


@contextmanager
def booted(*layers: Path, options: Sequence[str] = ()) -> Iterator[Container]:
    """Boot the trees ``layers``, the first one on top, until systemd is done; power off and clean up at the end."""
    name = f"edge-test-{os.getpid()}-{time.monotonic_ns() % 10**9}"
    command = [
        *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *(str(BOOT), name, *map(str, layers), "--", *options),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, umask=0o022
    )
    try:
        container = Container(_leader(process))
        settled = ("running", "degraded")
        container.until(
            lambda: container.run("systemctl", "is-system-running", check=False).strip() in settled, "the boot"
        )
        yield container
        # What `systemctl poweroff` comes to (systemd(1), signals), without asking a logind that may not be there.
        os.kill(container.leader, signal.SIGRTMIN + 4)
        process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()  # its child and all below, with their mounts, end with it
        process.communicate()
        _forget_group(name)


def _forget_group(name: str) -> None:
    """Take away the control groups, which no namespace ends with, once all that was in them is dead."""
    script = """
        mount -t cgroup2 cgroup2 /mnt
        for _ in $(seq 1200); do
            [ -d "/mnt/$0" ] || exit 0
            find "/mnt/$0" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
        exit 1
    """
    subprocess.run(["unshare", "--mount", "--propagation=private", "sh", "-euc", script, name], check=True)


def _leader(process: "subprocess.Popen[str]") -> int:
    """Wait for the systemd of the container, the first process of its namespace."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        for pid in _below(process.pid):
            if _is_first_systemd(pid):
                return pid
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"the container did not boot:\n{process.communicate()[0][-4000:]}")


def _below(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _below(child)


def _is_first_systemd(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    return fields["Name"].strip() == "systemd" and fields["NSpid"].split()[-1] == "1"
