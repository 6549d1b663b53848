"""Gathers the parts of a support archive side by side, each bounded in time and size; what fails leaves a line.

Everything passes the gate of `redact` here, whoever gathered it: no collector can forget it.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_agent.diag.bundle.redact import redact_line, redact_text, redact_toml, redact_value
from edge_agent.errors import EdgeAgentError
from edge_agent.sanitize import printable

DEFAULT_S = 8.0
DEFAULT_BYTES = 256 * 1024
CUT = "[cut: the rest is too long for a report]"

Gate = Literal["text", "lines", "toml", "json"]


@dataclass(frozen=True, slots=True)
class Collector:
    """One part: its place in the archive, what it is, and the call that returns it.

    ``gate`` says how it is redacted: ``json`` takes what JSON can hold, the others take text. Of what is longer than
    ``limit`` bytes the beginning is kept, or with ``newest`` the end.
    """

    name: str
    about: str
    call: Callable[[], object]
    gate: Gate = "text"
    limit: int = DEFAULT_BYTES
    within_s: float = DEFAULT_S
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What became of one collector; ``data`` is empty and ``problem`` says why where there is nothing."""

    name: str
    about: str
    data: bytes = b""
    seconds: float = 0.0
    problem: str = ""
    cut: bool = False


class _Running:
    def __init__(self, collector: Collector, clock: Callable[[], float]) -> None:
        self.collector = collector
        self._clock = clock
        self._begun = clock()
        self._part: Part | None = None
        # A daemon: a call that hangs in the kernel keeps neither the archive nor the process.
        self._thread = threading.Thread(target=self._run, name=f"bundle {collector.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        about = self.collector
        try:
            data, cut = _shaped(about, about.call())
            self._part = Part(about.name, about.about, data, self._took(), cut=cut)
        except Exception as error:  # noqa: BLE001 -- whatever fails in one part must not cost the others: it is told
            said = _said(error)
            why = redact_text(" ".join(printable(line, 200) for line in said.splitlines()[:3]))
            self._part = Part(about.name, about.about, b"", self._took(), why)

    def _took(self) -> float:
        return round(self._clock() - self._begun, 3)

    def result(self) -> Part:
        self._thread.join(max(0.0, self._begun + self.collector.within_s - self._clock()))
        if self._part is None:
            late = f"it took longer than {self.collector.within_s:g} s"
            return Part(self.collector.name, self.collector.about, b"", self._took(), late)
        return self._part


def _said(error: Exception) -> str:
    if isinstance(error, EdgeAgentError):
        return error.text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def gather(collectors: Sequence[Collector], clock: Callable[[], float] = time.monotonic) -> list[Part]:
    """Run all of them at once and return their parts in the same order, after the longest ``within_s`` at most."""
    running = [_Running(collector, clock) for collector in collectors]
    return [one.result() for one in running]


def _shaped(collector: Collector, found: object) -> tuple[bytes, bool]:
    """The redacted bytes within the limit, and whether anything was cut off."""
    if collector.gate == "json":
        return _bounded(json.dumps(redact_value(found), indent=2, ensure_ascii=False) + "\n", collector)
    text = str(found)
    # Whole lines of what will be kept at most: redaction costs time, and cutting a secret in two would hide it from it.
    over = len(text) > 4 * collector.limit
    if over:
        text = text[-4 * collector.limit :].partition("\n")[2] if collector.newest else text[: 4 * collector.limit]
    if collector.gate == "lines":
        text = "".join(redact_line(line) + "\n" for line in text.splitlines())
    else:
        text = redact_toml(text) if collector.gate == "toml" else redact_text(text)
    data, cut = _bounded(text if text.endswith("\n") or not text else text + "\n", collector)
    return data, cut or over


def _bounded(text: str, collector: Collector) -> tuple[bytes, bool]:
    data = text.encode("utf-8", "replace")
    if len(data) <= collector.limit:
        return data, False
    note = f"{CUT}\n".encode()
    if collector.newest:
        return note + data[-collector.limit :].partition(b"\n")[2], True
    return data[: collector.limit].rpartition(b"\n")[0] + b"\n" + note, True
