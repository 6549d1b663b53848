"""One line for each proof, in a fixed form, and the same as JSON for whoever makes a table of them."""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fakes.audit import Audited

LINES: list[str] = []
"""All that was reported in this run, for the summary at its end."""


def report(fault: str, how: str, audited: Audited, *, times: int, recovery_s: Sequence[float] = ()) -> str:
    """Report a proof that succeeded: ``times`` faults, and how long after each the next tap was kept or delivered.

    ``PROOF fault=... times=... promised=... lost=0 given_up=... duplicates=... recovery_s=min/median/max how="..."``;
    with PROOF_REPORT set the same goes to that file as one JSON line.
    """
    values: dict[str, object] = {
        "fault": fault,
        "times": times,
        "promised": audited.promised,
        "stored": audited.stored,
        "unpromised": audited.unpromised,
        "lost": 0,  # the audit raises for anything else
        "given_up": audited.given_up,
        "duplicates": audited.duplicates,
    }
    recovery = None
    if recovery_s:
        spread = (min(recovery_s), statistics.median(recovery_s), max(recovery_s))
        recovery = dict(zip(("min", "median", "max"), (round(value, 3) for value in spread), strict=True))
    shown = "-" if recovery is None else "/".join(f"{value:.3f}" for value in recovery.values())
    line = " ".join(["PROOF", *(f"{name}={value}" for name, value in values.items())])
    line += f" recovery_s={shown} how={json.dumps(how)}"
    LINES.append(line)
    if path := os.environ.get("PROOF_REPORT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values | {"recovery_s": recovery, "how": how}) + "\n")
    return line


def tally(counts: Mapping[str, int]) -> str:
    """What was done how often, the most frequent first: ``14 x cut, 8 x not heard``."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{times} x {name.replace('_', ' ')}" for name, times in ordered)
