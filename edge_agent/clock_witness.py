"""The process that asks the kernel whether the clock is synchronised, for an agent whose sandbox forbids adjtimex(2).

Run by systemd/edge-agent-clock.service. It tells once a second, in one small file on a tmpfs, and does nothing else.
Whoever reads it must not believe an old word: the file says when it was written, by CLOCK_MONOTONIC.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.clock import WITNESS_FILE, ask_kernel

# When somebody sets the clock by hand, its trust is believed for so long still; a look takes 0.3 ms of CPU.
LOOK_EVERY_S = 1.0
NOT_ALLOWED = 77


def tell(path: Path, *, synced: bool, now: float) -> None:
    """Replace the file in one step: `synced 1234.567`, or `unsynced ...`; behind it CLOCK_MONOTONIC, not rounded."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(f"{'synced' if synced else 'unsynced'} {now!r}\n", encoding="ascii")
    fresh.replace(path)


def watch(path: Path = WITNESS_FILE, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Tell for ever; 77 (EX_NOPERM of sysexits(3)) if even this process may not ask the kernel."""
    while True:
        synced = ask_kernel()
        if synced is None:
            sys.stderr.write("adjtimex(2) is not allowed here: nobody can tell whether the clock is right\n")
            return NOT_ALLOWED
        tell(path, synced=synced, now=time.monotonic())
        sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(watch())
