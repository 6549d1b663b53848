"""How long a technician waits for the first line of a command: the process from its start to its end, against Python's.

Each command is a process of its own, as on a terminal; `python -c pass` takes turns with it in the same run. No agent
runs: what is measured is our part, not an answer's. The fastest of all rounds counts: another process can only add.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure

ROUNDS = 15
BOUND_S = 0.4
BARE = [sys.executable, "-c", "pass"]
ROOT = Path(__file__).resolve().parents[1]


def run() -> list[Figure]:
    """Measure each command; about ten seconds."""
    with tempfile.TemporaryDirectory() as folder:
        nobody = ["--socket", f"{folder}/none"]
        config = ["--config", str(ROOT / "config" / "edge-agent.toml")]
        commands = {
            "--version": ["--version"],
            "--help": ["--help"],
            "status --socket": ["status", *nobody],
            "status --config": ["status", *config],
            "doctor --list-checks": ["doctor", "--list-checks"],
            "logs, 1,000 lines": ["logs", "--file", str(_log(Path(folder)))],
            "bundle --help": ["bundle", "--help"],
            "config check": ["config", "check", *config],
        }
        bare: list[float] = []
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            bare.append(_once(BARE))
            for name, words in commands.items():
                took[name].append(_once([sys.executable, "-m", "edge_agent", *words]))
    figures = [Figure("python -c pass", min(bare) * 1000, "ms")]
    for name, seconds in took.items():
        best = min(seconds)
        figures.append(Figure(f"edge-agent {name}", best * 1000, "ms", f"< {BOUND_S * 1000:.0f}", ok=best < BOUND_S))
        figures.append(Figure(f"edge-agent {name}, over python -c pass", best / min(bare), "x"))
    return figures


def _log(folder: Path) -> Path:
    line = '{"event":"tap_finished","reader":"nfc0","seq":%d,"level":"info","timestamp":"2026-11-23T06:14:02Z"}\n'
    path = folder / "agent.log"
    path.write_text("".join(line % number for number in range(1000)), encoding="utf-8")
    return path


def _once(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60, cwd=ROOT)
    return time.perf_counter() - begun
