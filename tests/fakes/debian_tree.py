"""A Debian of a test's own out of Debian's archive, by mmdebstrap: root only.

apt comes back by itself to a mirror that breaks a connection off, but not to one that answers "503" once.
"""

import os
import subprocess
import time
from pathlib import Path

ATTEMPTS = 3
PAUSE_S = 5.0


def make_debian(tree: Path, suite: str, *options: str, binary: str = "mmdebstrap") -> None:
    """Make ``tree``, which appears whole or not at all; RuntimeError with what was said where no attempt succeeds."""
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        fresh = tree.with_name(f"{tree.name}.{os.getpid()}-{attempt}")  # beside what the last one left
        done = subprocess.run(
            [binary, "--quiet", *options, suite, str(fresh)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0o022,
            check=False,
        )
        if done.returncode == 0:
            fresh.rename(tree)
            return
        said = done.stdout
    raise RuntimeError(f"mmdebstrap failed {ATTEMPTS} times, the last time with:\n{said[-4000:]}")
