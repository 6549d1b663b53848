"""What a stream can show: nothing that is written on it fails, whatever its encoding."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.paper import Paper, columns, cut, padded


class Ascii(io.StringIO):
    encoding = "ascii"


@given(st.text(max_size=40))
def test_no_character_is_too_much_for_an_old_terminal(text: str) -> None:
    out = Ascii()
    Paper(out, {}).print(text)
    assert out.getvalue().isascii()


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_text_is_cut_and_filled_to_its_columns(text: str, width: int) -> None:
    assert columns(padded(text, width)) == width
    assert text.startswith(cut(text, width))


@pytest.mark.parametrize(
    ("env", "unicode"),
    [
        ({}, True),
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"}, True),
    ],
)
def test_the_locale_of_the_user_counts(env: dict[str, str], unicode: bool) -> None:
    class Utf8(io.StringIO):
        encoding = "utf-8"

    assert Paper(Utf8(), env).unicode is unicode


def test_rows_stay_in_their_columns() -> None:
    out = Ascii()
    Paper(out, {}).rows([("label", "word " * 40), ("temperature", "41 °C"), ("empty", "")])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("  label        word word")
    assert lines[1].startswith(" " * 15 + "word")
    assert lines[-2] == "  temperature  41 deg C"
