"""A cue as one line: fits 80 columns, needs no colour and no Unicode."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import CueName
from firmware_bridge.device import Display
from firmware_bridge.paper import Paper
from firmware_bridge.terminal_view import line_of
from tests.fakes.tiny_terminal import TinyTerminal

XTERM = {"TERM": "xterm"}


class Serial(io.StringIO):
    encoding = "ascii"


@pytest.mark.parametrize("cue", CueName)
def test_every_cue_has_a_look_in_unicode_and_ascii(cue: CueName) -> None:
    coloured = line_of(Paper(TinyTerminal(), XTERM), Display(cue), 1.0)
    plain = line_of(Paper(Serial(), XTERM), Display(cue, static=True), 1.0)
    assert "\x1b[1;" in coloured
    assert cue in plain
    assert plain.isascii()
    assert plain.endswith("(by itself)")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(env: dict[str, str]) -> None:
    drawn = line_of(Paper(TinyTerminal(), XTERM | env), Display(CueName.THANKS, "¥2.00\ncoupon"), 1.0)
    assert "\x1b" not in drawn
    assert "¥2.00 coupon" in drawn


@given(st.sampled_from(CueName), st.text(max_size=80), st.booleans())
def test_no_text_leaves_the_line_or_the_terminal(cue: CueName, text: str, static: bool) -> None:
    drawn = line_of(Paper(Serial(), XTERM), Display(cue, text, static=static), 1.0)
    assert drawn.isprintable()
    assert len(drawn) <= 80


def test_chinese_takes_two_columns_a_character() -> None:
    assert line_of(Paper(TinyTerminal(), XTERM), Display(CueName.THANKS, "谢" * 60), 1.0).count("谢") == 18
