import itertools
import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.log_lines import LEVELS, Folding, Group, LogLine, agents_record, is_at_least, moment, read_line

NOW = datetime(2026, 11, 23, 6, 14, 30, tzinfo=timezone(timedelta(hours=8)))
AGENT = '{"event":"reader_lost","reader":"nfc0","count":3,"level":"warning","timestamp":"2026-09-21T14:13:21.5Z"}'
LOST = LogLine("reader_lost", "warning", 1_790_000_001.5, (("reader", "nfc0"), ("count", 3)))


def entry(**members: object) -> str:
    """A line as `journalctl -o json` of systemd 252 writes it."""
    told = {"__REALTIME_TIMESTAMP": "1790000001500000", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "edge-agent"}
    return json.dumps({**told, "_BOOT_ID": "0123456789abcdef0123456789abcdef", **members})


@pytest.mark.parametrize(
    "text",
    [
        AGENT,
        f"<4>{AGENT}\n",
        f"Sep 21 14:13:21 lift-7 edge-agent[77]: {AGENT}",
        entry(MESSAGE=AGENT),
        entry(MESSAGE=list(AGENT.encode())),
    ],
)
def test_an_event_is_the_same_wherever_it_was_written(text: str) -> None:
    assert read_line(text) == LOST


@pytest.mark.parametrize(
    "text",
    [entry(MESSAGE=AGENT), entry(MESSAGE=list(AGENT.encode())), entry(MESSAGE="Killed", SYSLOG_IDENTIFIER="systemd")],
)
def test_an_entry_as_the_agent_writes_it_tells_the_same(text: str) -> None:
    record, line = agents_record(text), read_line(text)
    again = read_line(json.dumps(record))
    assert line is not None
    assert again is not None
    assert (again.event, again.level, again.at) == (line.event, line.level, line.at)


def test_a_traceback_is_carried_whole() -> None:
    told = json.loads(AGENT) | {"exception": "Traceback:\n  File x\nValueError: odd\n"}
    assert agents_record(entry(MESSAGE=json.dumps(told)))["exception"] == told["exception"]
    assert agents_record("no entry")["event"] == "no entry"


def test_what_systemd_says_of_the_service_has_its_name() -> None:
    line = read_line(entry(MESSAGE="Started edge-agent.service.", SYSLOG_IDENTIFIER="systemd", PRIORITY="6"))
    assert line == LogLine("Started edge-agent.service.", "info", 1_790_000_001.5, source="systemd")


def test_what_python_itself_prints_is_a_line_of_its_level() -> None:
    line = read_line(entry(MESSAGE="MemoryError", PRIORITY="3"))
    assert line is not None
    assert (line.event, line.level, line.source) == ("MemoryError", "error", "")


def test_of_a_traceback_the_last_line_is_kept() -> None:
    told = json.loads(AGENT) | {"exception": "Traceback:\n  File x\nValueError: odd\n"}
    line = read_line(json.dumps(told))
    assert line is not None
    assert line.trace == "ValueError: odd"
    assert line.as_json()["exception"] == "ValueError: odd"


@pytest.mark.parametrize("message", [None, "", [], [300, -1, "x"], {}])
def test_an_entry_without_a_text_says_so(message: object) -> None:
    line = read_line(entry(MESSAGE=message))
    assert line is not None
    assert line.event == "(a message without text)"


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_line_is_none(text: str) -> None:
    assert read_line(text) is None


@given(
    st.one_of(
        st.text(max_size=200),
        st.dictionaries(
            st.sampled_from(
                ["event", "level", "timestamp", "exception", "MESSAGE", "PRIORITY", "__REALTIME_TIMESTAMP", "x"]
            ),
            st.one_of(
                st.none(), st.text(max_size=20), st.integers(), st.floats(), st.lists(st.integers(), max_size=3),
                st.integers(0, 10**18).map(str),
            ),
        ).map(json.dumps),
    )
)  # fmt: skip
def test_whatever_stands_in_a_log_reading_it_never_fails(text: str) -> None:
    line = read_line(text)
    json.dumps(agents_record(text))
    if line is not None:
        assert line.level in {"", *LEVELS}
        json.dumps(line.as_json())
        assert line.kind == line.kind


def test_a_line_too_long_to_be_one_is_cut() -> None:
    line = read_line("x" * 1_000_000)
    assert line is not None
    assert len(line.event) == 65_536
    deep = read_line("[" * 10 + "{" * 100_000)
    assert deep is not None


def test_a_level_shows_itself_and_what_is_worse_and_what_tells_no_level() -> None:
    assert [is_at_least(LogLine("x", level), "warning") for level in LEVELS] == [False, False, True, True, True]
    assert is_at_least(LogLine("x"), "critical")


def lines(*told: tuple[str, float | None, int]) -> list[LogLine]:
    return [LogLine(event, "info", at, (("reader", "nfc0"), ("count", count))) for event, at, count in told]


def folded(told: list[LogLine]) -> list[tuple[str, int, float]]:
    folding = Folding()
    groups = [folding.add(line) for line in told] + [folding.end(), folding.end()]
    return [(group.first.event, group.count, group.lasted_s) for group in groups if group]


def test_what_is_told_again_and_again_is_one_group_whatever_its_numbers() -> None:
    told = lines(("a", 1.0, 1), ("a", 5.0, 2), ("a", 121.0, 3), ("b", 122.0, 1), ("a", 123.0, 4))
    assert folded(told) == [("a", 3, 120.0), ("b", 1, 0.0), ("a", 1, 0.0)]


@pytest.mark.parametrize(
    "other",
    [
        LogLine("a", "error", 2.0, (("reader", "nfc0"), ("count", 1))),
        LogLine("a", "info", 2.0, (("reader", "nfc1"), ("count", 1))),
        LogLine("a", "info", 2.0, (("reader", "nfc0"),)),
        LogLine("a", "info", 2.0, (("reader", "nfc0"), ("count", True))),
        LogLine("a", "info", 2.0, (("reader", "nfc0"), ("count", 1)), "systemd"),
    ],
)
def test_another_level_word_or_source_is_another_group(other: LogLine) -> None:
    assert len(folded([*lines(("a", 1.0, 1)), other])) == 2


def test_lines_without_a_time_fold_too() -> None:
    assert folded(lines(("a", None, 1), ("a", None, 2))) == [("a", 2, 0.0)]


@given(st.lists(st.sampled_from("ab")))
def test_no_line_is_lost_by_folding(events: list[str]) -> None:
    found = folded([LogLine(event) for event in events])
    assert "".join(event * count for event, count, _ in found) == "".join(events)
    assert all(one[0] != other[0] for one, other in itertools.pairwise(found))
    assert Group(LogLine("a")).count == 1


@pytest.mark.parametrize(
    ("text", "before_s"),
    [
        ("90s", 90),
        ("30min", 1800),
        ("30m", 1800),
        ("2 h", 7200),
        ("1d", 86_400),
        ("06:14", 30),
        ("06:14:20", 10),
        ("06:15", 86_400 - 30),
        ("today", 6 * 3600 + 14 * 60 + 30),
        ("yesterday", 30 * 3600 + 14 * 60 + 30),
        ("2026-11-23 06:14", 30),
        ("2026-11-22T22:14:00Z", 30),
        ("2026-11-23", 6 * 3600 + 14 * 60 + 30),
    ],
)
def test_a_moment_is_what_a_person_means(text: str, before_s: int) -> None:
    assert NOW.timestamp() - moment(text, NOW) == before_s


@pytest.mark.parametrize("text", ["", "soon", "2 weeks", "-1h", "1.5h", "99:99", "24:00", "06:60", "2026-13-01", "٣h"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="expected 90s, 30min"):
        moment(text, NOW)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_moment(text: str) -> None:
    try:
        found = moment(text, NOW)
    except ValueError:
        return
    assert isinstance(found, float)
