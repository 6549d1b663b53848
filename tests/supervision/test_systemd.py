import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock import BOOT_ID_VARIABLE, WITNESS_FILE, FakeClock
from edge_agent.clock_witness import NOT_ALLOWED
from edge_agent.config.sections import Control, Keys, Outbox
from edge_agent.errors import ExitCode
from edge_agent.models import ComponentState
from edge_agent.monitor import SILENT_S
from edge_agent.supervision.health import HealthBoard
from edge_agent.supervision.systemd import Notifier, feed_watchdog
from tests.conftest import require_system


@pytest.fixture(params=["path", "abstract"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The receiving end, as systemd has it: NOTIFY_SOCKET's value and a datagram socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@edge-agent-test-{os.getpid()}"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(name.replace("@", "\0", 1))
        sock.setblocking(False)
        yield name, sock


def received(sock: socket.socket) -> list[str]:
    got = []
    with contextlib.suppress(BlockingIOError):
        while True:
            got.append(sock.recv(4096).decode())
    return got


def test_tells_systemd_what_happens(service: tuple[str, socket.socket]) -> None:
    name, sock = service
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("taking taps")
    notifier.status("reader\nREADY=1")
    notifier.watchdog()
    notifier.stopping()
    assert received(sock) == [
        "READY=1\nSTATUS=taking taps",
        "STATUS=reader\\nREADY=1",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.watchdog_s is None


def test_a_socket_that_is_gone_never_raises(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready("x")
    notifier.watchdog()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_systemd_says_so(env: dict[str, str], seconds: float | None) -> None:
    assert Notifier(env).watchdog_s == seconds


async def test_the_watchdog_starves_while_a_critical_part_is_silent(service: tuple[str, socket.socket]) -> None:
    name, sock = service
    clock = FakeClock()
    board = HealthBoard()
    board.register("reader", clock.monotonic(), deadline_s=5)
    board.report("reader", ComponentState.OK, clock.monotonic())
    steps: list[list[str]] = []

    async def sleep(seconds: float) -> None:
        assert seconds == 1.0
        steps.append(received(sock))
        clock.advance(2)
        if len(steps) == 5:
            board.check_in("reader", clock.monotonic())
        if len(steps) == 6:
            raise asyncio.CancelledError

    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})
    with pytest.raises(asyncio.CancelledError):
        await feed_watchdog(notifier, board.snapshot, clock, sleep)
    starved = "STATUS=no sign of life from reader; waiting for the watchdog"
    assert steps == [
        ["WATCHDOG=1", "STATUS=ok"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1"],
        [starved],
        [],
        ["WATCHDOG=1", "STATUS=ok"],
    ]


def last_words(board: HealthBoard, clock: FakeClock, env: dict[str, str]) -> list[tuple[float, tuple[str, ...]]]:
    """Let the feeder run for 60 s; returns when it was starving, and who was late."""
    told: list[tuple[float, tuple[str, ...]]] = []
    began = clock.monotonic()

    async def sleep(seconds: float) -> None:
        assert 0 < seconds <= 1
        clock.advance(seconds)
        if clock.monotonic() - began > 40:
            board.check_in("nfc0", clock.monotonic())
        if clock.monotonic() - began > 60:
            raise asyncio.CancelledError

    async def feed() -> None:
        await feed_watchdog(
            Notifier(env),
            board.snapshot,
            clock,
            sleep,
            starving=lambda seen: told.append((clock.monotonic() - began, seen.late)),
            saved=lambda: told.append((clock.monotonic() - began, ("saved",))),
        )

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(feed())
    return told


def test_the_reason_is_kept_before_the_watchdog_bites_and_only_then() -> None:
    clock, board = FakeClock(), HealthBoard()
    board.register("nfc0", clock.monotonic(), deadline_s=8)
    (at_s, late), (_, saved) = last_words(board, clock, {"WATCHDOG_USEC": "30000000"})
    assert saved == ("saved",), "no reason is left behind when it was cured in time"
    assert late == ("nfc0",)
    assert 8 < at_s < 30, "WatchdogSec= counts from the last feed, which was the first one"
    assert last_words(board, clock, {}) == [], "no watchdog, no bite"


async def test_the_status_line_follows_every_change_without_a_watchdog_too(service: tuple[str, socket.socket]) -> None:
    name, sock = service
    clock, board = FakeClock(), HealthBoard()
    board.register("uplink", clock.monotonic())
    seen: list[list[str]] = []
    states = [ComponentState.OK, ComponentState.DEGRADED, ComponentState.DEGRADED, ComponentState.OK]

    async def sleep(seconds: float) -> None:
        assert seconds == 1.0
        seen.append(received(sock))
        clock.advance(seconds)
        if not states:
            raise asyncio.CancelledError
        board.report("uplink", states.pop(0), clock.monotonic())

    with pytest.raises(asyncio.CancelledError):
        await feed_watchdog(Notifier({"NOTIFY_SOCKET": name}), board.snapshot, clock, sleep)
    assert seen == [["STATUS=starting"], ["STATUS=ok"], ["STATUS=degraded: uplink"], [], ["STATUS=ok"]]


# --- the unit file agrees with the code ---

UNIT = Path(__file__).parents[2] / "systemd" / "edge-agent.service"
WITNESS = UNIT.with_name("edge-agent-clock.service")
MOST_EXPOSURE = 1.5


def unit_values(key: str, unit: Path = UNIT) -> list[str]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def test_the_unit_expects_what_the_agent_does() -> None:
    assert unit_values("Type") == ["notify"]
    assert unit_values("ExecStart") == ["/usr/bin/edge-agent run"]
    assert unit_values("Restart") == ["always"]
    assert unit_values("RestartPreventExitStatus") == [str(int(ExitCode.CONFIG))]
    assert float(unit_values("WatchdogSec")[0]) >= 3 * SILENT_S, "the agent heals itself before systemd does it"
    assert unit_values("User") == ["edge-agent"]


def test_the_unit_makes_the_folders_of_the_default_configuration() -> None:
    state = Path("/var/lib") / unit_values("StateDirectory")[0]
    assert state in Outbox().path.parents
    assert state in Keys().path.parents
    assert Control().socket.parent == Path("/run") / unit_values("RuntimeDirectory")[0]


def test_the_sandbox_has_no_clock_calls_and_the_boot_id_is_told() -> None:
    assert unit_values("ProtectClock") == ["yes"]
    assert unit_values("ProcSubset") == ["pid"]
    assert f"{BOOT_ID_VARIABLE}=%b" in unit_values("Environment")
    assert unit_values("CapabilityBoundingSet") == [""]


def test_the_witness_of_the_clock_may_ask_the_kernel_and_writes_where_the_agent_looks() -> None:
    assert unit_values("SystemCallFilter", WITNESS)[-1].split() == ["adjtimex", "clock_adjtime"]
    assert unit_values("ProtectClock", WITNESS) == []
    assert Path("/run") / unit_values("RuntimeDirectory", WITNESS)[0] == WITNESS_FILE.parent
    assert "-m edge_agent.clock_witness" in unit_values("ExecStart", WITNESS)[0]
    assert WITNESS.name in unit_values("Wants")[0]
    assert unit_values("RestartPreventExitStatus", WITNESS) == [str(NOT_ALLOWED)]


def test_nothing_that_needs_a_network_delays_the_first_tap() -> None:
    assert unit_values("After") == [f"network.target {WITNESS.name}"]
    assert [unit_values(key) for key in ("Wants", "Requires", "BindsTo")] == [[WITNESS.name], [], []]
    assert unit_values("After", WITNESS) == []


@pytest.mark.system
@pytest.mark.parametrize("unit", [UNIT, WITNESS], ids=lambda path: path.stem)
def test_the_exposure_of_the_service_is_bounded(unit: Path) -> None:
    analyze = require_system("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE * 10:.0f}", str(unit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
