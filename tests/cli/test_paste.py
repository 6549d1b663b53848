"""What a person pastes, on a real terminal line and from a pipe."""

import io
import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from edge_agent.cli.paste import read_pasted


class Typist:
    """A terminal as standard input, and a person at its other end who waits for the prompt."""

    def __init__(self) -> None:
        self.person, self.terminal = pty.openpty()
        os.set_blocking(self.person, False)
        self.stdin = open(self.terminal, closefd=False)  # noqa: SIM115 -- a descriptor; closed in close()

    def types(self, data: bytes) -> threading.Thread:
        def work() -> None:
            deadline = time.monotonic() + 60
            while termios.tcgetattr(self.terminal)[3] & termios.ICANON and time.monotonic() < deadline:
                time.sleep(0.005)
            left = data
            while left and time.monotonic() < deadline:
                with suppress(BlockingIOError):
                    left = left[os.write(self.person, left[:256]) :]
                with suppress(BlockingIOError):
                    os.read(self.person, 4096)  # the echo

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def close(self) -> None:
        self.stdin.close()
        os.close(self.person)
        os.close(self.terminal)


@pytest.fixture
def typist(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    made = Typist()
    monkeypatch.setattr(sys, "stdin", made.stdin)
    yield made
    made.close()


@pytest.mark.parametrize("end", [b"\n\n", b"\n  \n", b"\x04", b"\n\x04"], ids=["empty", "blanks", "ctrl-d", "line"])
def test_a_line_that_is_longer_than_a_terminals_is_taken_whole(
    typist: Typist, end: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    text = bytes(ord("a") + number % 26 for number in range(9000))
    typing = typist.types(b"\n" + text + end)
    assert read_pasted("Paste it:", 64 * 1024).strip() == text
    typing.join()
    assert capsys.readouterr().err == "Paste it:\n"
    assert termios.tcgetattr(typist.terminal)[3] & termios.ICANON


def test_what_is_pasted_behind_the_end_is_not_left_for_the_shell(typist: Typist) -> None:
    typing = typist.types(b"one\ntwo\n\nrm -r something\n")
    assert read_pasted("", 1024) == b"one\ntwo"
    typing.join()
    os.set_blocking(typist.terminal, False)
    with pytest.raises(BlockingIOError):
        os.read(typist.terminal, 100)


def test_no_more_is_taken_than_is_allowed(typist: Typist) -> None:
    typing = typist.types(b"x" * 2048)
    assert 1024 <= len(read_pasted("", 1024)) <= 1024 + 4096
    typing.join()


def test_a_pipe_ends_at_the_empty_line_or_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, taken in ((b"\n\none\ntwo\n \nthree", b"one\ntwo"), (b"one", b"one"), (b"", b"")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert read_pasted("", 1024).strip() == taken
