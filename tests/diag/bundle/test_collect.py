import json
import threading
from collections.abc import Iterator

import pytest

from edge_agent.diag.bundle.collect import CUT, Collector, Part, gather
from edge_agent.errors import ControlError


def one(collector: Collector) -> Part:
    (part,) = gather([collector])
    return part


def fail(error: Exception) -> object:
    raise error


def test_parts_come_in_the_order_in_which_they_were_asked_for() -> None:
    first_may_go = threading.Event()
    slow = Collector("slow", "", lambda: first_may_go.wait(10) and "slow")
    quick = Collector("quick", "", lambda: first_may_go.set() or "quick")
    assert [(part.name, part.data) for part in gather([slow, quick])] == [("slow", b"slow\n"), ("quick", b"quick\n")]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ControlError("nobody answers", remedy="start it"), "nobody answers"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (FileNotFoundError(2, "No such file or directory", "/etc/x"), "/etc/x: No such file or directory"),
        (ZeroDivisionError("odd\n\x1b[2Jtext"), "ZeroDivisionError: odd \\x1b[2Jtext"),
        (ValueError("password=hunter2"), "ValueError: password=[redacted]"),
    ],
)
def test_what_fails_leaves_a_line_and_nothing_else(error: Exception, told: str) -> None:
    bad, good = gather([Collector("a", "", lambda: fail(error)), Collector("b", "", lambda: "x")])
    assert (bad.data, bad.problem) == (b"", told)
    assert (good.data, good.problem) == (b"x\n", "")


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_what_hangs_is_left_behind(never: threading.Event) -> None:
    part = one(Collector("a", "", never.wait, within_s=0.05))
    assert (part.data, part.problem) == (b"", "it took longer than 0.05 s")


def test_the_beginning_is_kept_or_the_newest_lines_and_it_is_said() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    head = one(Collector("a", "", lambda: text, limit=100))
    tail = one(Collector("a", "", lambda: text, limit=100, newest=True, gate="lines"))
    assert (head.cut, tail.cut) == (True, True)
    assert head.data.startswith(b"line 0\n")
    assert head.data.endswith(f"\n{CUT}\n".encode())
    assert tail.data.startswith(f"{CUT}\nline 9".encode())
    assert tail.data.endswith(b"line 999\n")
    assert max(len(head.data), len(tail.data)) <= 100 + len(CUT) + 1
    assert not one(Collector("a", "", lambda: "x" * 99, limit=100)).cut


@pytest.mark.parametrize(
    ("gate", "found"),
    [
        ("text", "password=hunter2"),
        ("lines", json.dumps({"event": "x", "nonce": "hunter2"})),
        ("toml", 'password = "hunter2"'),
        ("json", {"password": "hunter2", "text": "password=hunter2"}),
        ("json", ["password=hunter2"]),
    ],
)
def test_nothing_gets_past_the_gate(gate: str, found: object) -> None:
    part = one(Collector("a", "", lambda: found, gate=gate))  # type: ignore[arg-type] # parametrised: one of its words
    assert b"hunter2" not in part.data
    assert b"[redacted]" in part.data


def test_a_secret_at_the_edge_of_what_is_kept_is_not_cut_in_two() -> None:
    secret = "ab" * 16
    for before in range(60, 100):
        part = one(Collector("a", "", lambda before=before: "x " * (before // 2) + secret + " y" * 50, limit=100))  # type: ignore[misc] # a default of a lambda has no type
        assert secret[:12].encode() not in part.data
