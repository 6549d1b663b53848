"""The support archive itself: one .tar.gz with a README and a manifest. Pure bytes in, bytes out to a stream.

The same parts make the same bytes: order, owners, modes and times are fixed by the report, not by the machine.
"""

import gzip
import io
import json
import tarfile
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from edge_agent.diag.bundle.collect import Part
from edge_agent.report_id import ReportId

MAX_BYTES = 5 * 1024 * 1024
"""Of all parts before they are compressed; the file is smaller."""
README, MANIFEST = "README.txt", "manifest.json"
_INTRO = """\
Support report {report}

Terminal: {terminal}
Made by:  edge-agent bundle, version {version}, on {made} UTC

What is in it, each part redacted: no password, no key, no token and no id of a
card or phone. What is named like a secret or looks like one was replaced by
[redacted]; files that hold a secret were not opened. manifest.json tells which
parts could not be had, and why.
"""


def write_archive(
    out: BinaryIO, report: ReportId, parts: Sequence[Part], *, terminal: str, version: str, made: int
) -> list[Part]:
    """Write the archive to ``out``; returns the parts as they are in it. ``made`` in unix seconds.

    Where all parts together are longer than MAX_BYTES, the last ones are left out, and the manifest says so.
    """
    kept: list[Part] = []
    room = MAX_BYTES
    for part in parts:
        fits = len(part.data) <= room
        kept.append(part if fits else Part(part.name, part.about, b"", part.seconds, "the report is full"))
        room -= len(kept[-1].data)
    said = datetime.fromtimestamp(made, UTC)
    intro = _INTRO.format(report=report, version=version, made=f"{said:%Y-%m-%d %H:%M:%S}", terminal=terminal or "-")
    files = [
        (README, (intro + "\n" + _contents(kept)).encode()),
        (MANIFEST, _manifest(report, kept, terminal, version, made)),
        *((part.name, part.data) for part in kept if part.data),
    ]
    folder = folder_of(report)
    with (
        gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=made) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in files:
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), made, 0o600
            archive.addfile(entry, io.BytesIO(data))
    return kept


def folder_of(report: ReportId) -> str:
    """Return the one folder that everything is in, and the stem of the file's name."""
    return f"edge-agent-{report}"


def _contents(parts: Sequence[Part]) -> str:
    width = max((len(part.name) for part in parts), default=0) + 2
    lines = []
    for part in parts:
        text = part.about if part.data else f"(not in it: {part.problem or 'empty'}) {part.about}"
        shape = textwrap.TextWrapper(80, f"  {part.name:<{width}}", " " * (width + 2), break_on_hyphens=False)
        lines += shape.wrap(text)
    return "\n".join(lines) + "\n"


def _manifest(report: ReportId, parts: Sequence[Part], terminal: str, version: str, made: int) -> bytes:
    told = {
        "report": report,
        "terminal": terminal,
        "version": version,
        "made": made,
        "parts": [
            {
                "name": part.name,
                "bytes": len(part.data),
                "seconds": part.seconds,
                "cut": part.cut,
                "problem": part.problem,
            }
            for part in parts
        ],
    }
    return (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode()
