"""What the taps of a demo came to: counts, verdicts, latencies, and whether all went well. No I/O."""

import statistics
from collections import Counter
from dataclasses import dataclass, field

from edge_agent.cloud.verifier import Verdict

LATENCIES = ("seen_to_reading_cue", "seen_to_committed", "seen_to_puback", "seen_to_stored")


@dataclass(slots=True)
class Report:
    """Filled tap by tap."""

    taps: int = 0
    stored: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LATENCIES})

    def add(self, verdict: str, latency_ms: dict[str, float]) -> None:
        """Count a tap that was stored with this verdict."""
        self.taps += 1
        self.stored += 1
        self.verdicts[verdict] += 1
        for name, value in latency_ms.items():
            self.latencies[name].append(value)

    def add_lost(self) -> None:
        """Count a tap that never reached the ledger."""
        self.taps += 1

    @property
    def all_fresh(self) -> bool:
        """Whether every tap ended as a fresh row of the ledger."""
        return self.stored == self.taps == self.verdicts[Verdict.FRESH]

    def as_json(self) -> dict[str, object]:
        """The last line of `demo --json`; latencies in milliseconds."""
        return {
            "taps": self.taps,
            "stored": self.stored,
            "verdicts": dict(self.verdicts),
            "latency_ms": {name: percentiles(values) for name, values in self.latencies.items()},
        }


def percentiles(values: list[float]) -> dict[str, float | None]:
    """Median and 99th percentile (nearest rank), or None where nothing was measured."""
    if not values:
        return {"p50": None, "p99": None}
    ordered = sorted(values)
    rank = -(-99 * len(ordered) // 100)
    return {"p50": round(statistics.median(ordered), 1), "p99": round(ordered[rank - 1], 1)}
