import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sanitize import printable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain text", "plain text"),
        ("größe 12 °C", "größe 12 °C"),
        (b"broker-1", "broker-1"),
        ("größe".encode(), "größe"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        (b"\xff\x00A", r"\xff\x00A"),
        ("right\u202eleft", r"right\u202eleft"),
        ("a\u2028b", r"a\u2028b"),
        ("C:\\n", r"C:\\n"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_shows_text_and_escapes_the_rest(value: str | bytes, shown: str) -> None:
    assert printable(value) == shown


def test_a_byte_that_looks_like_an_escape_cannot_be_confused_with_one() -> None:
    assert printable(b"\\xff") != printable(b"\xff")


def test_cuts_with_an_ellipsis_and_never_inside_an_escape() -> None:
    assert printable("abcdefgh", limit=8) == "abcdefgh"
    assert printable("abcdefghi", limit=8) == "abcde..."
    assert printable("ab\n\n\n\n\n", limit=8) == r"ab\n..."


def test_a_multi_byte_character_at_the_cut_is_whole() -> None:
    assert printable("€".encode() * 100, limit=10) == "€" * 7 + "..."


def test_a_large_input_is_not_walked() -> None:
    assert printable(b"a" * 50_000_000, limit=8) == "aaaaa..."


@given(st.one_of(st.text(alphabet=st.characters()), st.binary()), st.integers(min_value=0, max_value=100))
def test_is_always_one_bounded_printable_line(value: str | bytes, limit: int) -> None:
    shown = printable(value, limit)
    assert len(shown) <= max(limit, 4)
    assert shown.isprintable()


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (printable(one, 1000) == printable(other, 1000)) is (one == other)
