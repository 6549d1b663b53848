"""The framed screen in a terminal: in its place, within 80 columns, and a line for each cue where there is no room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import CueName
from firmware_bridge.device import Display
from firmware_bridge.paper import columns
from firmware_bridge.terminal_pictures import COLUMNS, LOOKS, ROWS
from firmware_bridge.terminal_screen import TerminalScreen
from tests.fakes.tiny_terminal import TinyTerminal

FRAME = ROWS + 3
XTERM = {"TERM": "xterm", "LANG": "C.UTF-8"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def screen_on(terminal: TinyTerminal, clock: Clock, size: tuple[int, int] = (80, 24), **env: str) -> TerminalScreen:
    return TerminalScreen(terminal, env=XTERM | env, clock=clock, size=size)


def test_the_frame_stays_in_its_place_and_the_cues_scroll_above_it() -> None:
    terminal, clock = TinyTerminal(), Clock()
    screen = screen_on(terminal, clock)
    screen.show(Display(CueName.INVITE, static=True))
    clock.now += 1.5
    screen.tick()
    screen.show(Display(CueName.THANKS, "¥2.00\na coupon", level=60), until=clock.now + 3.5)
    clock.now += 0.5
    screen.tick()
    *above, end = terminal.lines
    assert end == ""
    assert len(above) == 2 + FRAME
    assert ["invite" in above[0], "thanks" in above[1]] == [True, True]
    frame = "\n".join(above[2:])
    for said in ("谢谢", "thank you", "¥2.00", "a coupon", "0.5 s", "falls back in  3.0 s", "level  60 ▮▮▮▮▮▮▯▯▯▯"):
        assert said in frame, frame
    assert "手机" not in frame


def test_the_cursor_comes_back() -> None:
    terminal = TinyTerminal()
    screen = screen_on(terminal, Clock())
    screen.show(Display(CueName.INVITE))
    assert not terminal.cursor
    screen.close()
    screen.close()
    assert terminal.cursor


def test_a_standing_cue_that_is_sent_again_is_nothing_new() -> None:
    terminal, clock = TinyTerminal(), Clock()
    screen = screen_on(terminal, clock)
    for cue in (CueName.INVITE, CueName.INVITE, CueName.THANKS, CueName.THANKS):
        screen.show(Display(cue), until=clock.now + 12)
        clock.now += 4
    assert len(terminal.lines) == 3 + FRAME + 1


@pytest.mark.parametrize("cue", CueName)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_cue_has_its_picture(cue: CueName, encoding: str) -> None:
    terminal, clock = TinyTerminal(encoding), Clock()
    screen = screen_on(terminal, clock)
    screen.show(Display(cue))
    for _ in range(8):
        clock.now += 0.25
        screen.tick()
    assert {columns(line) for line in terminal.lines[1:-2]} == {79}
    assert columns(terminal.lines[-2]) <= 80
    assert LOOKS[cue].words.en in "".join(terminal.lines)
    assert encoding != "ascii" or terminal.getvalue().isascii()
    look = LOOKS[cue]
    for picture in (*look.moves, look.plain):
        assert len(picture) == ROWS
        assert max(map(columns, picture)) <= COLUMNS


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"LC_ALL": "C"}, {"COLORTERM": "truecolor"}, {}])
def test_what_the_terminal_is_said_to_show(env: dict[str, str]) -> None:
    terminal = TinyTerminal()
    screen_on(terminal, Clock(), **env).show(Display(CueName.THANKS, "谢谢", level=20))
    drawn = terminal.getvalue()
    assert ("m" in terminal.orders) == ("NO_COLOR" not in env)
    assert drawn.isascii() == ("LC_ALL" in env)
    assert ("\x1b[38;2;32;88;44m" in drawn) == ("COLORTERM" in env)
    assert ("\x1b[2;32m" in drawn) == (env in ({}, {"LC_ALL": "C"}))


@pytest.mark.parametrize(("size", "env"), [((79, 24), {}), ((80, 13), {}), ((200, 50), {"TERM": "dumb"})])
def test_a_line_for_each_cue_where_there_is_no_room(size: tuple[int, int], env: dict[str, str]) -> None:
    terminal, clock = TinyTerminal(), Clock()
    screen = screen_on(terminal, clock, size, **env)
    for cue in CueName:
        screen.show(Display(cue))
        screen.tick()
    screen.close()
    assert len(terminal.lines) == len(CueName) + 1
    assert not terminal.orders & set("FJKhl")


@given(st.sampled_from(CueName), st.text(max_size=80), st.integers(0, 100), st.sampled_from(["utf-8", "ascii"]))
def test_no_text_leaves_the_frame(cue: CueName, text: str, level: int, encoding: str) -> None:
    terminal = TinyTerminal(encoding)
    screen_on(terminal, Clock()).show(Display(cue, text, level))
    assert len(terminal.lines) == 1 + FRAME + 1
    assert {columns(line) for line in terminal.lines[1:-2]} == {79}
    assert all(columns(line) <= 80 for line in terminal.lines)
