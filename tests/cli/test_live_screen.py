from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli.live_screen import LiveScreen, Segment
from tests.fakes.vt100 import Vt100

_SEGMENT = st.tuples(st.text(st.sampled_from("ab 1→界\x07"), max_size=12), st.sampled_from(["", "good", "bad", "dim"]))
_LINES = st.lists(st.lists(_SEGMENT, max_size=4), max_size=4)


def plain(line: list[Segment], width: int) -> str:
    return "".join(text for text, _ in line).replace("界", "?").replace("\x07", "?")[:width]


@given(st.lists(st.tuples(_LINES, st.sampled_from([30, 30, 30, 22])), min_size=1, max_size=6), st.booleans())
def test_after_each_frame_the_terminal_shows_the_lines_and_the_cursor_is_below_them(
    frames: list[tuple[list[list[Segment]], int]], colour: bool
) -> None:
    terminal, screen = Vt100(columns=30), LiveScreen(3, colour=colour)
    for lines, width in frames:
        terminal.feed(screen.frame(lines, width))
        wanted = [plain(line, width) for line in [*lines, [], [], []][:3]]
        assert [line.rstrip() for line in terminal.lines()] == [line.rstrip() for line in wanted]
        assert (terminal.row, terminal.column, terminal.colour) == (3, 0, "")


def test_what_did_not_change_is_not_written_again() -> None:
    screen = LiveScreen(2, colour=True)
    lines: list[list[Segment]] = [[("readers   ", "dim"), ("nfc0 polling", "good")], [("41 s ago", "")]]
    assert screen.frame(lines, 79)
    assert screen.frame(lines, 79) == ""
    assert screen.frame([lines[0], [("42 s ago", "")]], 79) == "\x1b[1A\x1b[1C2\x1b[1B\r"


def test_without_colours_nothing_is_coloured() -> None:
    assert "m" not in LiveScreen(1, colour=False).frame([[("x", "good")]], 79)


def test_another_width_draws_everything_anew() -> None:
    terminal, screen = Vt100(), LiveScreen(1, colour=False)
    terminal.feed(screen.frame([[("a" * 70, "")]], 79))
    terminal.feed(screen.frame([[("a" * 70, "")]], 40))
    assert terminal.lines() == ["a" * 40]
