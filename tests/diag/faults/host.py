"""What breaks in the host below the agent: service, configuration, disk, clock, power."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.diag.board import recording
from tests.diag.faults.base import Fault
from tests.diag.faults.healthy_root import MMC
from tests.diag.faults.terminal import Terminal
from tests.fakes.small_disks import WornDisk, tmpfs, worn_disk

Breaks = Callable[[Terminal], AbstractContextManager[None]]

STOPPED = {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
FAILED_78 = {
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainStatus": "78",
    "MainPID": "0",
}
LOOP = {
    "ActiveState": "activating",
    "SubState": "auto-restart",
    "Result": "exit-code",
    "ExecMainStatus": "1",
    "NRestarts": "7",
}


@contextmanager
def agent_stopped(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.systemctl(**STOPPED)
    yield


@contextmanager
def typing_error(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.edit("poll_ms = 20", "poll_ms = twenty")
    terminal.systemctl(**FAILED_78)
    yield


@contextmanager
def ends_again_and_again(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.systemctl(**LOOP)
    yield


@contextmanager
def agent_hangs(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(terminal.folder / "control.sock"))
        mute.listen(8)
        yield


@contextmanager
def kiosk_crashed(terminal: Terminal) -> Iterator[None]:
    terminal.systemctl(kiosk=recording("systemctl-killed").replace("=disabled", "=enabled"))
    yield


@contextmanager
def key_open_to_all(terminal: Terminal) -> Iterator[None]:
    (terminal.state / "tap.key").chmod(0o644)
    yield


@contextmanager
def password_lost(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.password.unlink()
    terminal.systemctl(**FAILED_78)
    yield


@contextmanager
def port_closed(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.respect_modes()
    Path(terminal.reader.device_path).resolve().chmod(0)
    terminal.start_agent()
    terminal.until(lambda: terminal.status()["readers"][0]["fault"] == "no_permission", "word of a closed port")
    terminal.until_settled()
    yield


@contextmanager
def changed_without_restart(terminal: Terminal) -> Iterator[None]:
    terminal.edit("poll_ms = 20", "poll_ms = 40")
    yield


def systemd_says(**changes: str) -> Breaks:
    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        terminal.systemctl(**changes)
        yield

    return breaks


def board_says(**files: str) -> Breaks:
    """Files of /proc and /sys by the names in PLACES."""

    @contextmanager
    def breaks(terminal: Terminal) -> Iterator[None]:
        for name, text in files.items():
            terminal.put(PLACES[name], text)
        yield

    return breaks


PLACES = {
    "memory": "/proc/meminfo",
    "kills": "/sys/fs/cgroup/system.slice/edge-agent.service/memory.events",
    "temperature": "/sys/class/thermal/thermal_zone0/temp",
    "firmware": "/sys/devices/platform/soc/soc:firmware/get_throttled",
    "life": f"{MMC}/life_time",
    "errors": "/sys/fs/ext4/mmcblk0p2/errors_count",
    "chip": "/sys/class/rtc/rtc0/since_epoch",
}


# Disks: a file system of the test's own below the state folder, and the kernel's own table of mounts.


@contextmanager
def moved_to(terminal: Terminal, disk: AbstractContextManager[object], folder: Path) -> Iterator[None]:
    """Let the agent live on another disk, which is mounted at ``folder``."""
    terminal.stop_agent()
    with disk:
        for file in terminal.state.iterdir():
            shutil.copy2(file, folder)
        for name in ("tap.key", "outbox.db"):
            terminal.edit(f'"{terminal.state}/{name}"', f'"{folder}/{name}"')
        folder.chmod(0o700)
        terminal.put("/proc/self/mountinfo", Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        terminal.start_agent()
        terminal.until_well()
        try:
            yield
        finally:
            terminal.stop_agent()


@contextmanager
def disk_full(terminal: Terminal) -> Iterator[None]:
    folder = terminal.folder / "disk"
    with moved_to(terminal, worn_disk(folder), folder):
        with (folder / "somebody-elses.log").open("wb") as log:
            try:
                while True:
                    log.write(bytes(65536))
                    log.flush()
            except OSError:
                pass
        yield


@contextmanager
def disk_read_only(terminal: Terminal) -> Iterator[None]:
    folder = terminal.folder / "disk"
    disk: list[WornDisk] = []

    @contextmanager
    def kept() -> Iterator[None]:
        with worn_disk(folder) as mounted:
            disk.append(mounted)
            yield

    with moved_to(terminal, kept(), folder):
        disk[0].wear_out()
        terminal.put("/proc/self/mountinfo", Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        yield


@contextmanager
def outbox_in_memory(terminal: Terminal) -> Iterator[None]:
    folder = terminal.folder / "disk"
    with moved_to(terminal, tmpfs(folder, "64m"), folder):
        yield


# Clocks.


@contextmanager
def no_time_service(terminal: Terminal) -> Iterator[None]:
    terminal.clock.disciplined = False
    terminal.program("timedatectl", recording("timedatectl-container"))
    terminal.until(lambda: terminal.status()["clock"]["trust"] == "holdover", "doubt of the clock")
    yield


@contextmanager
def time_server_out_of_reach(terminal: Terminal) -> Iterator[None]:
    terminal.clock.disciplined = False
    terminal.until(lambda: terminal.status()["clock"]["trust"] == "holdover", "doubt of the clock")
    yield


@contextmanager
def clock_set_by_hand(terminal: Terminal) -> Iterator[None]:
    terminal.clock.ahead_s = 5000
    terminal.clock.disciplined = False
    terminal.until(lambda: terminal.status()["clock"]["trust"] == "unset", "distrust of the clock")
    yield


@contextmanager
def clock_of_1970(terminal: Terminal) -> Iterator[None]:
    terminal.clock.ahead_s = 120 - terminal.clock.wall()
    terminal.clock.disciplined = False
    terminal.until(lambda: terminal.status()["clock"]["trust"] == "unset", "distrust of the clock")
    yield


FAULTS = (
    Fault("agent stopped by hand", agent_stopped, "service-stopped"),
    Fault("agent ends right after each start", ends_again_and_again, "service-restarting"),
    Fault("agent hangs", agent_hangs, "agent-silent"),
    Fault("service not enabled", systemd_says(UnitFileState="disabled"), "service-disabled"),
    Fault("unit file changed, not read", systemd_says(NeedDaemonReload="yes"), "service-changed"),
    Fault("browser of the page crashed", kiosk_crashed, "kiosk-down"),
    Fault("typing error in the configuration", typing_error, "config-invalid"),
    Fault("configuration changed, agent not restarted", changed_without_restart, "restart-pending"),
    Fault("password file deleted", password_lost, "file-unreadable"),
    Fault("no permission for the reader's port", port_closed, "reader-no-permission", "nfc0"),
    Fault("signing key readable for everybody", key_open_to_all, "key-permissions"),
    Fault("disk full", disk_full, "disk-full"),
    Fault("disk read-only after an error", disk_read_only, "disk-read-only"),
    Fault("outbox on a RAM disk", outbox_in_memory, "disk-volatile"),
    Fault("errors of the file system", board_says(errors="2\n"), "disk-errors"),
    Fault("flash worn out", board_says(life="0x0b 0x01\n"), "disk-worn-out", "mmcblk0"),
    Fault("supply too weak", board_says(firmware="50005\n"), "power-low"),
    Fault("board in the sun", board_says(temperature="84512\n"), "host-hot"),
    Fault("no memory left", board_says(memory="MemAvailable:   12000 kB\n"), "memory-short"),
    Fault("agent killed for lack of memory", board_says(kills="oom 1\noom_kill 1\n"), "memory-killed"),
    Fault("clock never set (1970)", clock_of_1970, "clock-wrong"),
    Fault("clock set by hand, no time server", clock_set_by_hand, "clock-unset"),
    Fault("time server out of reach", time_server_out_of_reach, "clock-unsynchronised"),
    Fault("no time service", no_time_service, "clock-service-off"),
    Fault("battery of the clock chip empty", board_says(chip="946684800\n"), "clock-chip-off"),
)
