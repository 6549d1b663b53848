"""Runs checks side by side, each with its time, all with theirs; what goes wrong in a check is a finding.

A check that hangs is left behind in its thread, which does not keep the process alive.
"""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_agent.diag.causes import sort_out
from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import CHECK_TIMED_OUT, Site
from edge_agent.errors import EdgeAgentError
from edge_agent.sanitize import printable

CHECK_S = 5.0
ALL_S = 20.0
SIDE_BY_SIDE = 8

CRASHED = Kind(
    "check-crashed",
    Severity.ERROR,
    "A check of doctor itself failed",
    "This is a fault of the program, not of the terminal: send a bundle to its makers. The other checks hold.",
    ("edge-agent bundle",),
)
TIMED_OUT = Kind(
    CHECK_TIMED_OUT,
    Severity.ERROR,
    "A check did not end in time",
    "What it looks at hangs: a device that blocks, a disk or a network file system that does not answer. Look at the "
    "kernel's messages.",
    ("sudo dmesg | tail -n 50",),
)
KINDS = (CRASHED, TIMED_OUT)
"""What the runner itself finds."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check told; ``skipped`` says why it did not look, and ``lost`` that it should have."""

    check: Check
    seen: tuple[Seen, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    because: str = ""
    """Id of the finding, or of the other check, that tells why it could not look."""
    remedy: str = ""
    lost: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks told, in their order; ``shown`` worst first, ``hidden`` its consequences."""

    results: tuple[Result, ...]
    shown: tuple[Finding, ...]
    hidden: tuple[Finding, ...]
    seconds: float

    def count(self, severity: Severity) -> int:
        """Return how many findings of this severity are shown."""
        return sum(finding.kind.severity is severity for finding in self.shown)

    @property
    def lost(self) -> tuple[Result, ...]:
        """Checks that could not look although they should have, where neither a finding nor another one tells why."""
        told = {finding.kind.id for finding in (*self.shown, *self.hidden)}
        told |= {result.check.id for result in self.results if result.lost and not result.because}
        return tuple(result for result in self.results if result.lost and result.because not in told)


def run_checks(
    checks: Sequence[Check],
    site: Site,
    *,
    check_s: float = CHECK_S,
    all_s: float = ALL_S,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Run them all; returns after ``all_s`` seconds at the latest, whatever a check does."""
    began = clock()
    ends = began + all_s
    results: dict[int, Result] = {}
    done: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
    waiting = list(enumerate(checks))
    running: dict[int, float] = {}
    while waiting or running:
        while waiting and len(running) < SIDE_BY_SIDE and clock() < ends:
            number, check = waiting.pop(0)
            running[number] = clock() + check_s
            threading.Thread(
                target=lambda n=number, c=check: done.put((n, look(c, site))), name=f"check {check.id}", daemon=True
            ).start()
        next_end = min([*running.values(), ends])
        try:
            number, result = done.get(timeout=max(0.0, next_end - clock()))
            if running.pop(number, None) is not None:
                results[number] = result
            continue
        except queue.Empty:
            pass
        for number in [number for number, end in running.items() if min(end, ends) <= clock()]:
            del running[number]
            results[number] = _timed_out(checks[number], check_s)
        if clock() >= ends:
            for number, check in waiting:
                results[number] = Result(check, skipped="there was no time left", lost=True)
            waiting.clear()
    findings = [finding for number in sorted(results) for finding in results[number].findings]
    shown, hidden = sort_out(findings)

    def reach(finding: Finding) -> tuple[bool, int]:
        """Worst first, of those what most of the rest hangs on: there a person begins."""
        consequences = sum(other.kind.id in finding.kind.hides for other in hidden)
        blind = sum(result.because == finding.kind.id for result in results.values())
        return finding.kind.severity is not Severity.ERROR, -consequences - blind

    shown = tuple(sorted(shown, key=reach))
    return Report(tuple(results[number] for number in sorted(results)), shown, hidden, clock() - began)


def look(check: Check, site: Site) -> Result:
    """Run one check in this thread; never raises, but for what ends the process."""
    began = time.monotonic()
    seen: list[Seen] = []
    findings: list[Finding] = []
    result = Result(check)
    try:
        for one in check.look(site):
            if isinstance(one, Finding):
                findings.append(one)
            else:
                seen.append(one)
    except NotHere as nothing:
        result = replace(result, skipped=str(nothing))
    except CannotLook as lost:
        result = replace(result, skipped=lost.why, because=lost.because, remedy=lost.remedy, lost=True)
    except EdgeAgentError as error:
        result = replace(result, skipped=printable(error.text, limit=300), remedy=error.remedy, lost=True)
    except PermissionError as error:
        what = printable(str(error.filename or "a file"), limit=200)
        result = replace(result, skipped=f"no permission for {what}", remedy="run it with sudo", lost=True)
    except OSError as error:
        what = printable(f"{error.filename}: " if error.filename else "", limit=200)
        result = replace(result, skipped=f"{what}{error.strerror or type(error).__name__}", lost=True)
    except Exception as error:  # noqa: BLE001 -- a crashing check is a finding, and the other checks go on
        findings.append(_crashed(check, error))
    spent = time.monotonic() - began
    return replace(result, seen=tuple(seen), findings=tuple(findings), seconds=spent)


def _crashed(check: Check, error: Exception) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
    text = printable(f"{type(error).__name__}: {error} ({where})", limit=300)
    return Finding(CRASHED, text, subject=check.id)


def _timed_out(check: Check, check_s: float) -> Result:
    finding = Finding(TIMED_OUT, f"{check.about}: no answer within {check_s:.0f} s", subject=check.id)
    return Result(check, findings=(finding,), seconds=check_s)
