"""The figures of a demo, and when it was a success."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.demo.report import LATENCIES, Report, percentiles

TIMES = {"seen_to_reading_cue": 1.0, "seen_to_committed": 20.0, "seen_to_puback": 21.0, "seen_to_stored": 30.0}


def test_the_last_line_has_the_keys_that_programs_read() -> None:
    report = Report()
    report.add("fresh", TIMES)
    report.add("fresh", {name: value * 3 for name, value in TIMES.items()})
    answer = json.loads(json.dumps(report.as_json()))
    assert list(answer) == ["taps", "stored", "verdicts", "latency_ms"]
    assert (answer["taps"], answer["stored"], answer["verdicts"]) == (2, 2, {"fresh": 2})
    assert list(answer["latency_ms"]) == list(LATENCIES) == list(TIMES)
    assert answer["latency_ms"]["seen_to_committed"] == {"p50": 40.0, "p99": 60.0}


@pytest.mark.parametrize("verdicts", [["late"], ["fresh", "late"], ["fresh", None], [None]])
def test_one_tap_that_is_not_fresh_is_no_success(verdicts: list[str | None]) -> None:
    report = Report()
    for verdict in verdicts:
        if verdict is None:
            report.add_lost()
        else:
            report.add(verdict, {})
    assert not report.all_fresh
    assert report.as_json()["taps"] == len(verdicts)


def test_all_fresh_is_a_success_and_steps_that_never_happened_have_no_figure() -> None:
    report = Report()
    report.add("fresh", {"seen_to_committed": 5.0})
    assert report.all_fresh
    assert percentiles(report.latencies["seen_to_stored"]) == {"p50": None, "p99": None}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_percentiles_are_measured_values_within_their_share(values: list[float]) -> None:
    found = percentiles(values)
    assert found["p50"] is not None
    assert found["p99"] is not None
    rounded = [round(value, 1) for value in values]
    assert found["p99"] in rounded
    assert sum(value <= found["p99"] for value in rounded) >= 0.99 * len(values)
    assert min(rounded) <= found["p50"] <= found["p99"]
