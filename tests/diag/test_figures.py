import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.figures import whole


@pytest.mark.parametrize(
    ("text", "base", "number"),
    [
        *[
            ("0", 10, 0),
            ("-40", 10, -40),
            ("50005", 16, 0x50005),
            ("0x0B", 16, 11),
            ("0x", 16, None),
            ("1.5", 10, None),
        ],
        *[("", 10, None), (" 1", 10, None), ("٣", 10, None), ("²", 10, None), ("9" * 5000, 10, None)],
        ("1_0", 10, None),
    ],
)
def test_only_a_plain_number_is_one(text: str, base: int, number: int | None) -> None:
    assert whole(text, base) == number


def test_nothing_is_none() -> None:
    assert whole(None) is None


@given(st.integers(-(2**62), 2**62))
def test_every_number_is_read(number: int) -> None:
    assert whole(str(number)) == number


@given(st.text(), st.sampled_from([10, 16]))
def test_no_text_is_an_error(text: str, base: int) -> None:
    whole(text, base)
