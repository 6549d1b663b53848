import math
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.live.history import BUCKET_S, BUCKETS, FIELDS, History, Totals, Working
from edge_agent.models import ClockReading, ClockTrust

BOOT = b"bootbyte"
WELL = Working(uplink=True, screens=True, readers=True, queue=0)
DAY = BUCKET_S * BUCKETS


def at(up: int, trust: ClockTrust = ClockTrust.SYNCED, boot: bytes = BOOT) -> ClockReading:
    return ClockReading(unix=1_790_000_000 + up, trust=trust, boot=boot, up=up)


def rows(history: History, up: int) -> list[dict[str, Any]]:
    told: Any = history.as_json(at(up))
    return [dict(zip(FIELDS, row, strict=True)) for row in told["rows"]]


def whole(history: History, up: int) -> dict[str, Any]:
    told: Any = history.as_json(at(up))
    found: dict[str, Any] = told["all"]
    return found


def test_taps_are_counted_in_their_five_minutes() -> None:
    history = History(BOOT, 100)
    history.tap(100, 0.04)
    history.tap(299, 0.04)
    history.tap(300, 0.08)
    assert [(row["ago_s"], row["taps"]) for row in rows(history, 310)] == [(310, 2), (10, 1)]
    assert whole(history, 310)["taps"] == 3


def test_only_growth_of_the_totals_counts_and_a_new_process_begins_at_nothing() -> None:
    history = History(BOOT, 0)
    history.look(1, Totals(lost=2, refused=1), WELL)
    history.look(2, Totals(lost=2, refused=1), WELL)
    history.look(400, Totals(lost=5, refused=1, reopens=1, resets=3), WELL)
    assert [(row["lost"], row["refused"], row["reopens"], row["resets"]) for row in rows(history, 400)] == [
        (2, 1, 0, 0),
        (3, 0, 1, 3),
    ]
    again = History.decode(history.encode(), BOOT, 500)
    assert again is not None
    again.look(500, Totals(lost=1), WELL)
    assert whole(again, 500)["lost"] == 6


def test_shares_are_of_the_seconds_in_which_somebody_looked_and_unknown_without_one() -> None:
    history = History(BOOT, 0)
    for second in range(4):
        history.look(second, Totals(), Working(uplink=second == 0, screens=True, readers=False, queue=second))
    history.tap(310, None)
    first, second_row = rows(history, 310)
    assert (first["uplink"], first["screens"], first["readers"], first["queue"]) == (0.25, 1.0, 0.0, 3)
    assert (second_row["uplink"], second_row["taps"], second_row["p50_ms"]) == (None, 1, None)


def test_what_is_older_than_a_day_is_forgotten_and_never_told_as_new() -> None:
    history = History(BOOT, 0)
    history.tap(10, 0.04)
    assert len(rows(history, DAY - 1)) == 1
    assert rows(history, DAY + 1) == []
    history.tap(DAY + 10, 0.04)
    assert [row["taps"] for row in rows(history, DAY + 10)] == [1]


def test_it_says_since_when_it_knows_and_what_time_it_is_only_if_that_is_known() -> None:
    history = History(BOOT, 1000)
    assert history.as_json(at(1060))["known_s"] == 60
    assert DAY - BUCKET_S <= int(str(history.as_json(at(1000 + 3 * DAY))["known_s"])) <= DAY
    assert history.as_json(at(1060))["unix"] == 1_790_001_060
    assert history.as_json(at(1060, ClockTrust.UNSET))["unix"] is None


def test_a_reboot_begins_anew() -> None:
    history = History(BOOT, 1000)
    assert History.decode(history.encode(), b"otherone", 2000) is None
    assert History.decode(history.encode(), BOOT, 10) is None, "from the future"
    assert History.decode(history.encode(), BOOT, 1000) is not None


def test_it_has_a_fixed_size_far_below_a_hundred_kilobytes() -> None:
    history = History(BOOT, 0)
    size = len(history.encode())
    for bucket in range(3 * BUCKETS):
        history.tap(bucket * BUCKET_S, 0.05)
        history.look(bucket * BUCKET_S, Totals(), WELL)
    assert len(history.encode()) == size < 50_000


def test_counts_stop_at_their_end_instead_of_beginning_anew() -> None:
    history = History(BOOT, 0)
    history.look(1, Totals(lost=2**40), Working(uplink=True, screens=True, readers=True, queue=2**40))
    for _ in range(70_000):
        history.tap(1, 0.05)
    (row,) = rows(history, 1)
    assert (row["lost"], row["queue"], row["taps"]) == (2**32 - 1, 2**32 - 1, 70_000)


@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=60))
def test_median_and_p99_are_known_to_an_eighth(latencies: list[float]) -> None:
    history = History(BOOT, 0)
    for latency in latencies:
        history.tap(1, latency)
    (row,) = rows(history, 1)
    ordered = sorted(latencies)
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        exact = ordered[math.ceil(share * len(ordered)) - 1] * 1000
        assert exact / 1.13 - 0.1 <= row[name] <= exact * 1.13 + 0.1


_LOOKS = st.tuples(st.integers(0, 3 * DAY), st.booleans(), st.integers(0, 9))


@given(st.lists(_LOOKS, max_size=80))
def test_it_agrees_with_a_plain_count_whatever_happens_when(happened: list[tuple[int, bool, int]]) -> None:
    history, model = History(BOOT, 0), defaultdict[int, list[int]](lambda: [0, 0, 0])
    lost = up = 0
    for up, is_tap, count in sorted(happened):
        bucket = model[up // BUCKET_S]
        if is_tap:
            history.tap(up, 0.05)
            bucket[0] += 1
        else:
            lost += count
            history.look(up, Totals(lost=lost), Working(uplink=True, screens=True, readers=True, queue=count))
            bucket[1] += count
            bucket[2] = max(bucket[2], count)
    newest = up // BUCKET_S
    expected = [model[number] for number in sorted(model) if newest - BUCKETS < number <= newest]
    assert [[row["taps"], row["lost"], row["queue"]] for row in rows(history, up)] == expected
    again = History.decode(history.encode(), BOOT, up)
    assert again is not None
    assert again.as_json(at(up)) == history.as_json(at(up))


@given(st.data())
def test_a_file_that_is_not_whole_is_no_history(data: st.DataObject) -> None:
    whole_file = bytearray(History(BOOT, 0).encode())
    place = data.draw(st.integers(0, len(whole_file) - 1))
    whole_file[place] ^= data.draw(st.integers(1, 255))
    assert History.decode(bytes(whole_file), BOOT, 0) is None
    assert History.decode(bytes(whole_file[:place]), BOOT, 0) is None
    assert History.decode(data.draw(st.binary(max_size=100)), BOOT, 0) is None


@pytest.mark.parametrize("back", [1, BUCKET_S, DAY])
def test_a_time_before_the_newest_is_counted_in_the_newest(back: int) -> None:
    history = History(BOOT, 2 * DAY)
    history.tap(2 * DAY, 0.05)
    history.tap(2 * DAY - back, 0.05)
    assert whole(history, 2 * DAY)["taps"] == 2
