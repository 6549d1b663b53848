"""A real journal file with the entries that a test wants, made by systemd's own writer."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

Entry = tuple[float, str, str]
"""Unix seconds, the service without its suffix, the message."""


def write_journal(writer: str, folder: Path, entries: Sequence[Entry]) -> Path:
    """Write them into one file; ``writer`` is systemd-journal-remote."""
    text = ""
    for number, (at, service, message) in enumerate(entries, start=1):
        text += (
            f"__CURSOR=s=1;i={number}\n__REALTIME_TIMESTAMP={round(at * 1e6)}\n__MONOTONIC_TIMESTAMP={number}\n"
            "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=0123456789abcdef0123456789abcdef\n"
            f"PRIORITY=6\n_SYSTEMD_UNIT={service}.service\nSYSLOG_IDENTIFIER={service}\nMESSAGE={message}\n\n"
        )
    (folder / "export").write_text(text, encoding="utf-8")
    file = folder / "made.journal"
    subprocess.run([writer, "-o", file, folder / "export"], capture_output=True, check=True, timeout=30)
    return file
