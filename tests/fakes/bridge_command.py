"""The command ``firmware-bridge`` as a process of its own, to be spoken to and ended as a person does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = [sys.executable, "-m", "firmware_bridge"]


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run one command with pipes for its outputs until the block ends."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"} | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline()


def complaint(process: subprocess.Popen[str]) -> str:
    """Wait for its end and return what it said on stderr."""
    assert process.stderr is not None
    return process.stderr.read()
