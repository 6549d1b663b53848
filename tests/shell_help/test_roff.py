import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell_help.roff import bold, escaped, filled, items, paragraphs, quoted


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("--json", "\\-\\-json"),
        (".TH x", "\\&.TH x"),
        ("'quoted'", "\\&'quoted'"),
        ("a\\b", "a\\eb"),
        ("a\n.TH b", "a .TH b"),
        ("~/x^2", "\\(ti/x\\(ha2"),
    ],
)
def test_text_stays_text(text: str, source: str) -> None:
    assert escaped(text) == source


def test_what_is_quoted_cannot_end_its_argument() -> None:
    assert quoted('say "x"') == '"say \\(dqx\\(dq"'


@given(st.text(max_size=400))
def test_no_text_becomes_a_request(text: str) -> None:
    rows = filled(escaped(text))
    assert not any(row.startswith((".", "'")) for row in rows)
    assert all("\n" not in row for row in rows)
    assert " ".join(row.removeprefix("\\&") for row in rows).replace(" ", "") == "".join(
        escaped(text).removeprefix("\\&").split()
    )


def test_paragraphs_and_items() -> None:
    assert paragraphs("one\n\ntwo") == ["one", ".PP", "two"]
    assert items([(bold("-x"), "an x")]) == [".TP", "\\fB\\-x\\fR", "an x"]
    assert filled(".SH " + "x " * 100) == [".SH " + "x " * 100]


@pytest.mark.system
@pytest.mark.parametrize("text", ["a -- b", "back\\slash", "'tis", ".so /etc/passwd", '"quotes"', "~tilde^", "50 % ok"])
def test_a_reader_sees_what_was_written(text: str, require_system: Callable[[str], str]) -> None:
    source = f'.TH X 1 2026-11-23 "x" "y"\n.SH NAME\nx \\- y\n.SH TEXT\n{escaped(text)}\n'
    words = [require_system("mandoc"), "-Tutf8"]
    out = subprocess.run(words, input=source, capture_output=True, text=True, check=True, timeout=30).stdout
    assert text in out
