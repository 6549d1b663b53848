import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli.report_page import page
from edge_agent.live.history import BUCKET_S, BUCKETS, History, Totals, Working
from edge_agent.models import ClockReading, ClockTrust
from tests.cli.test_watch_view import STATUS

UNIX, UP = 1_790_007_300, 3 * 86_400
VOID = {"meta", "path"}


def history(*, known_s: int = 2 * 86_400, trust: ClockTrust = ClockTrust.SYNCED, outage: bool = False) -> Any:
    found = History(b"bootbyte", UP - known_s)
    for up in range(UP - min(known_s, BUCKET_S * BUCKETS), UP, 60):
        down = outage and UP - 40_000 < up < UP - 30_000
        found.tap(up, 0.03 + 0.02 * math.sin(up))
        totals = Totals(lost=up // 5000, refused=up // 9000, reopens=up // 7000 if outage else 0)
        found.look(up, totals, Working(uplink=not down, screens=True, readers=True, queue=up % 500 if down else 0))
    return found.as_json(ClockReading(unix=UNIX, trust=trust, boot=b"bootbyte", up=UP))


class Checker(HTMLParser):
    """Every element is closed in its order; collects elements and what they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert set(checker.elements) <= {
        "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "p", "h1", "h2", "small", "dl",
        "div", "dt", "dd", "section", "table", "tr", "th", "td", "ul", "li", "b", "code", "svg", "desc", "path", "text",
    }  # fmt: skip
    names = {name for name, _ in checker.attributes}
    assert not {name for name in names if name.startswith("on")} | (names & {"src", "href", "action", "srcset"})
    assert "url(" not in text
    assert "@import" not in text
    return checker


def test_a_busy_day_is_one_small_page_without_script_or_request() -> None:
    text = page(STATUS, history(), findings=[])
    checker = checked(text)
    assert len(text.encode()) < 100_000
    assert checker.elements.count("svg") == 5
    assert "Takes taps, all is well" in text
    assert "Knows the whole day" in text


def test_every_picture_is_well_formed_has_title_and_description_and_its_numbers_beside_it() -> None:
    text = page(STATUS, history(outage=True))
    sections = re.findall(r"<section>(.*?)</section>", text, re.DOTALL)
    assert len(sections) == 5
    for section in sections:
        svg = ET.fromstring(re.search(r"<svg.*?</svg>", section, re.DOTALL)[0])  # type: ignore[index] # noqa: S314 - ours; it is there
        names = [child.tag for child in svg][:2]
        assert names == ["title", "desc"]
        assert svg.get("role") == "img"
        assert svg.get("aria-labelledby", "").split() == [child.get("id") for child in svg][:2]
        assert "<table>" in section
    assert len(set(re.findall(r'id="([^"]+)"', text))) == len(re.findall(r' id="', text))


def test_an_outage_is_told_in_numbers_and_findings_come_with_their_severity() -> None:
    status = STATUS | {"health": {"state": "degraded", "components": []}}
    findings = [{"id": "delivery.dns", "severity": "error", "title": "The broker's name is not known"}]
    text = page(status, history(outage=True), findings=findings)
    assert "Takes taps, but not all is well" in text
    assert '<li class="error"><b>error</b>' in text
    assert "<code>delivery.dns</code>" in text
    assert '<path class="ill"' in text
    assert re.search(r"deepest</th><td>\d{2,3}<", text)


def test_an_agent_that_is_well_is_no_verdict_over_an_error_that_doctor_found() -> None:
    error = {"id": "certificate-expired", "severity": "error", "title": "The certificate has expired"}
    text = page(STATUS, history(), findings=[error | {"text": "broker: since 3 d", "remedy": "Renew it with <enrol>."}])
    checked(text)
    assert "all is well" not in text
    assert '<p class="verdict warn">Takes taps, but see the findings' in text
    assert "<p>broker: since 3 d. Renew it with &lt;enrol&gt;.</p>" in text
    assert "all is well" in page(STATUS, history(), findings=[error | {"severity": "warning"}])


def test_just_booted_it_says_since_when_it_knows_and_shows_a_shorter_time() -> None:
    text = page(STATUS, history(known_s=700, trust=ClockTrust.UNSET))
    assert "Knows the last 11 min. The clock is not set" in text
    assert ">-10 min<" in text
    assert "UTC" not in text
    assert "Nobody looked: edge-agent doctor does." in text


def test_times_are_those_of_the_machine() -> None:
    assert "2026-09-22 00:15 UTC+08:00" in page(STATUS, history(), utc_offset_s=28_800)
    assert "2026-09-21 06:45 UTC-09:30" in page(STATUS, history(), utc_offset_s=-34_200)


@pytest.mark.parametrize("answer", [{}, {"rows": "x", "fields": 1, "all": []}, {"rows": [1, []], "fields": ["taps"]}])
def test_an_answer_of_another_version_makes_a_page_all_the_same(answer: dict[str, Any]) -> None:
    checked(page({}, answer))


_TEXT = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["<script>alert(1)</script>", '"><img src=x onerror=y>', "</style><b>", "&lt;", "\x00\x1b[2J", "]]>"]
    ),
)
_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXT),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(_TEXT, below, max_size=3)),
    max_leaves=6,
)
_KEYS = ["name", "state", "detail", "last_error", "chip", "taps", "firmware", "age_s", "reader", "since_s", "last_cue"]
_PART = st.dictionaries(st.sampled_from(_KEYS), _VALUE)


@given(
    st.fixed_dictionaries(
        {"terminal": _VALUE, "version": _VALUE, "readers": st.lists(_PART, max_size=2), "screens": st.lists(_PART)},
        optional={
            "health": st.fixed_dictionaries({"state": _VALUE, "components": st.lists(_PART, max_size=2)}),
            "outbox": st.dictionaries(st.sampled_from(["pending", "leased", "fault", "quarantined"]), _VALUE),
            "uplink": st.dictionaries(st.sampled_from(["host", "up", "text", "identity"]), _VALUE),
        },
    ),
    st.fixed_dictionaries(
        {"rows": st.lists(st.lists(_VALUE, max_size=4), max_size=3)},
        optional={"unix": _VALUE, "known_s": _VALUE, "bucket_s": _VALUE, "all": st.dictionaries(_TEXT, _VALUE)},
    ),
    st.lists(
        st.fixed_dictionaries(
            {"id": _TEXT, "severity": _TEXT, "title": _TEXT}, optional={"text": _VALUE, "remedy": _VALUE}
        ),
        max_size=2,
    ),
)
def test_no_name_however_hostile_becomes_part_of_the_page(
    status: dict[str, Any], told: dict[str, Any], findings: list[dict[str, Any]]
) -> None:
    told["fields"] = ["ago_s", "taps", "queue", "p50_ms"]
    text = page(status, told, findings=findings)
    checked(text)
    assert "nan" not in re.sub(r">[^<]*<", "><", text)
