"""A cue drawn in a terminal: fits 80 columns, needs no colour and no Unicode."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import CueName
from firmware_bridge.device import Display
from firmware_bridge.terminal_view import Drawer


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Serial(io.StringIO):
    encoding = "ascii"


@pytest.mark.parametrize("cue", CueName)
def test_every_cue_has_a_look_in_unicode_and_ascii(cue: CueName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, plain = Terminal(), Serial()
    Drawer(terminal).draw(Display(cue))
    Drawer(plain).draw(Display(cue, static=True))
    assert "\x1b[1;" in terminal.getvalue()
    assert cue in plain.getvalue()
    assert plain.getvalue().isascii()
    assert "(by itself)" in plain.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    terminal = Terminal()
    Drawer(terminal).draw(Display(CueName.THANKS, "¥2.00\ncoupon"))
    assert "\x1b" not in terminal.getvalue()
    assert "¥2.00 coupon" in terminal.getvalue()


@given(st.sampled_from(CueName), st.text(max_size=80), st.booleans())
def test_no_text_leaves_the_line_or_the_terminal(cue: CueName, text: str, static: bool) -> None:
    plain = Serial()
    Drawer(plain).draw(Display(cue, text, static=static))
    drawn = plain.getvalue()
    assert drawn.endswith("\n")
    assert drawn[:-1].isprintable()
    assert len(drawn) <= 80


def test_chinese_takes_two_columns_a_character() -> None:
    terminal = Terminal()
    Drawer(terminal).draw(Display(CueName.THANKS, "谢" * 60))
    assert terminal.getvalue().count("谢") == 18
