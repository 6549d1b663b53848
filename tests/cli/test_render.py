import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli.render import Paper, ago, counted


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        self.flush()
        data = self.buffer.getvalue()  # type: ignore[attr-defined] # it is the BytesIO above
        return str(data.decode(self.encoding))


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({"TERM": "vt100"}, True),
        ({"TERM": "vt100", "NO_COLOR": "1"}, False),
        ({"TERM": "vt100", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({}, False),
    ],
)
def test_colours_only_where_they_are_wanted(env: dict[str, str], coloured: bool) -> None:
    assert ("\x1b" in Paper(Terminal(), env).paint("x", "bad")) is coloured
    assert Paper(io.StringIO(), env).paint("x", "bad") == "x"


def test_a_serial_console_gets_ascii() -> None:
    terminal = Terminal("ascii")
    Paper(terminal, {}).print("a · b → 5 µs ≤ ü…")
    assert terminal.text() == "a - b -> 5 us <= ?...\n"


@pytest.mark.parametrize(
    ("env", "ascii_only"),
    [
        ({}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # as Python leaves it
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8", "TERM": "vt220"}, True),
        ({"TERM": "vt220"}, True),
        ({"TERM": "vt220", "LANG": "C.UTF-8"}, False),
        ({"TERM": "xterm-256color", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LC_CTYPE": "zh_CN.UTF-8", "LANG": "C"}, False),
    ],
)
def test_who_says_that_the_terminal_has_ascii_only_gets_no_more(env: dict[str, str], ascii_only: bool) -> None:
    assert Paper(Terminal(), env).ascii is ascii_only
    assert not Paper(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), env).ascii, "a file is no terminal"


def test_a_path_is_never_cut() -> None:
    out = io.StringIO()
    Paper(out, {}).wrapped("see /" + "x" * 100)
    assert out.getvalue() == "see\n/" + "x" * 100 + "\n"


@given(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=10), st.text("ab -", max_size=300)), min_size=1, max_size=5)
)
def test_fields_stay_within_80_columns(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    Paper(out, {}).fields(rows)
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_ago_speaks_as_people_do(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_a_command_is_never_cut_at_its_hyphen() -> None:
    out = io.StringIO()
    Paper(out, {}).wrapped("x " * 36 + "edge-agent outbox export FILE")
    assert "edge-agent outbox export FILE" in out.getvalue()


def test_counted_things_are_in_the_right_number() -> None:
    assert [counted(number, "tap") for number in (0, 1, 2000)] == ["0 taps", "1 tap", "2,000 taps"]
