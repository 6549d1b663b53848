"""The agent as a process, as systemd starts it: start to READY, memory, idle CPU, end on SIGTERM, CLI start.

A real mosquitto, an emulated PN532 that is polled as usual, a serial display and the web page; nobody taps.
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from edge_agent.demo.stage import config_text
from edge_agent.simulation.pn532_chip import REALISTIC
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file
from firmware_bridge.simulator import McuSimulator
from tests.fakes.mosquitto import Mosquitto

STARTS = 5
IDLE_S = 20.0
COMMAND = [sys.executable, "-m", "edge_agent"]


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the threads of a process have used, exact where `stat` counts ticks of 10 ms."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _memory_mib(pid: int, key: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


class Started:
    """One run of the agent, until it said READY."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / "notify.sock"
        address.unlink(missing_ok=True)
        self.notify.bind(str(address))
        self.notify.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": str(address), **as_on_a_terminal(folder)}
        began = time.perf_counter()
        self.process = subprocess.Popen([*COMMAND, "run", "--config", str(config)], env=env, stderr=subprocess.DEVNULL)
        while b"READY=1" not in self.notify.recv(4096):
            pass
        self.ready_s = time.perf_counter() - began

    def stop(self) -> float:
        """SIGTERM; returns the seconds until it ended."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.notify.close()
        return time.perf_counter() - began


def as_on_a_terminal(folder: Path) -> dict[str, str]:
    """A package brings its bytecode there (the first start makes it here), and nothing that only the tests need.

    structlog takes greenlet where it is (1.1 MB); here playwright brings it.
    """
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "greenlet.py").write_text("raise ImportError\n")
    return {
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def _cli_start_s(folder: Path) -> float:
    began = time.perf_counter()
    env = {**os.environ, **as_on_a_terminal(folder)}
    subprocess.run([*COMMAND, "--help"], check=True, capture_output=True, env=env)
    return time.perf_counter() - began


def run() -> list[Figure]:
    """Needs mosquitto."""
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if binary is None:
        raise SystemExit("this benchmark needs mosquitto: sudo apt-get install mosquitto")
    with (
        tempfile.TemporaryDirectory() as name,
        Mosquitto(binary, Path(name), quiet=True) as broker,
        Pn532Emulator(baud_model=115_200, timing=REALISTIC) as chip,
        McuSimulator() as display,
    ):
        folder = Path(name)
        config = folder / "edge-agent.toml"
        config.write_text(
            config_text(
                folder,
                reader=chip.device_path,
                screen=display.device_path,
                page_port=0,
                broker=("127.0.0.1", broker.port),
            )
        )
        create_key_file(folder / "tap.key")
        starts, ends = [], []
        Started(folder, config).stop()
        for _ in range(STARTS):
            agent = Started(folder, config)
            starts.append(agent.ready_s)
            ends.append(agent.stop())
        agent = Started(folder, config)
        time.sleep(5)
        cpu, began = cpu_s(agent.process.pid), time.perf_counter()
        time.sleep(IDLE_S)
        idle = (cpu_s(agent.process.pid) - cpu) / (time.perf_counter() - began) * 100
        rss, anonymous = _memory_mib(agent.process.pid, "VmRSS"), _memory_mib(agent.process.pid, "RssAnon")
        agent.stop()
        cli = statistics.median(_cli_start_s(folder) for _ in range(5))
    start, end = statistics.median(starts), max(ends)
    return [
        Figure("start to READY, median", start, "s", "< 1", start < 1),
        Figure("SIGTERM to the end, slowest", end, "s", "< 3", end < 3),
        Figure("RSS of the running agent", rss, "MiB", "<= 50", rss <= 50),
        Figure("of it anonymous memory", anonymous, "MiB"),
        Figure("idle CPU, one reader polling, one page, one display", idle, "% of core", "<= 2", idle <= 2),
        Figure("`edge-agent --help`, median", cli, "s"),
    ]
