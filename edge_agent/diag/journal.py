"""The journal of the agent's service, through journalctl. Reads; asks for no more rights than it was started with."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import EdgeAgentError, ExitCode
from edge_agent.sanitize import printable

UNIT = "edge-agent.service"
_FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM"


class JournalError(EdgeAgentError):
    """The journal cannot be read."""

    code = "journal"
    exit_code = ExitCode.COULD_NOT_LOOK


def command(
    *, lines: int | None = None, since: float | None = None, follow: bool = False, file: Path | None = None
) -> list[str]:
    """Return the call of journalctl: the newest ``lines`` (None: all) since a unix time, one JSON object a line."""
    words = ["journalctl", f"--unit={UNIT}", "--output=json", "--all", "--no-pager", f"--output-fields={_FIELDS}"]
    words += [f"--lines={'all' if lines is None else lines}"]
    words += [f"--since=@{since:.6f}"] if since is not None else []
    words += ["--follow"] if follow else []
    return [*words, f"--file={file}"] if file is not None else words


@contextmanager
def reading(words: list[str], env: Mapping[str, str] = os.environ) -> Iterator["Reading"]:
    """Run it for as long as the block reads. Raises JournalError if there is no journalctl."""
    plain = {**env, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
    # No pipe: it complains of each file that a power cut broke, and would wait until somebody read that.
    with (
        os.fdopen(os.memfd_create("journalctl"), "w+b") as complaints,
        _started(words, plain, complaints) as process,
    ):
        try:
            yield Reading(process, complaints)
        finally:
            process.kill()


def _started(words: list[str], env: Mapping[str, str], complaints: BinaryIO) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 -- our own words, no shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=env
        )
    except OSError as error:
        raise JournalError(
            f"journalctl cannot be run: {error.strerror}",
            remedy="where the agent's log goes to a file: edge-agent logs --file FILE",
        ) from None


class Reading:
    """What one journalctl says."""

    def __init__(self, process: "subprocess.Popen[bytes]", complaints: BinaryIO) -> None:
        self._process = process
        self._complaints = complaints

    def lines(self) -> Iterator[str]:
        """Each entry as it stands there."""
        assert self._process.stdout is not None, "opened as a pipe"  # noqa: S101 -- for the type checker
        for line in self._process.stdout:
            yield line.decode("utf-8", "replace")

    def check(self, entries: int) -> None:
        """Raise JournalError if ``entries`` is 0 because the journal could not be read; after the last line only."""
        status = self._process.wait()
        if entries:
            return
        self._complaints.seek(0)
        said = self._complaints.read(4096).decode("utf-8", "replace")
        if "insufficient permissions" in said or "messages from other users" in said or "Permission denied" in said:
            raise JournalError(
                "no permission to read the journal",
                remedy="use sudo, or join the group that may: sudo usermod -aG systemd-journal $USER",
            )
        if status != 0 or "No journal files were found" in said:
            why = printable(said.strip().splitlines()[-1], 200) if said.strip() else f"status {status}"
            raise JournalError(f"journalctl finds no journal: {why}", remedy="does systemd-journald run here?")
