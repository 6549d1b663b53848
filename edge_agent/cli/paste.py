"""Take a text that a person pastes: whole, however long its lines are, and nothing of what comes behind it."""

import os
import re
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

_CTRL_D = b"\x04"
_EMPTY_LINE = re.compile(rb"\n[ \t\r]*\n")


def read_pasted(prompt: str, most: int) -> bytes:
    """Return the lines of standard input up to an empty one behind them, or to its end; bounded by about ``most``."""
    if sys.stdin.isatty():
        return _typed(sys.stdin.fileno(), prompt, most)
    data = b""
    while len(data) < most and (line := sys.stdin.buffer.readline(most)):
        if data.strip() and not line.strip():
            break
        data += line
    return data


def _typed(terminal: int, prompt: str, most: int) -> bytes:
    data = b""
    with _whole_lines(terminal):
        print(prompt, file=sys.stderr, flush=True)
        while len(data) < most and (piece := os.read(terminal, 4096)):
            text, end, _ = piece.partition(_CTRL_D)
            data = (data + text).lstrip()
            if end or _EMPTY_LINE.search(data):
                break
    return _EMPTY_LINE.split(data, maxsplit=1)[0]


@contextmanager
def _whole_lines(terminal: int) -> Iterator[None]:
    """By itself a terminal cuts each line at 4095 characters (termios(3), canonical mode), and says nothing.

    What was pasted behind the end is thrown away: it is not for the shell.
    """
    before = termios.tcgetattr(terminal)
    flags, control = before[3], [*before[6]]
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    termios.tcsetattr(terminal, termios.TCSANOW, [*before[:3], flags & ~termios.ICANON, *before[4:6], control])
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
