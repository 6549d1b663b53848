import io
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from edge_agent.cli.log_view import LogView
from edge_agent.cli.main import main
from edge_agent.cli.render import Paper
from edge_agent.diag.log_lines import LogLine
from tests.fakes.journal_file import write_journal


def event(name: str, second: int, level: str = "info", **fields: object) -> str:
    told = {"event": name, **fields, "level": level, "timestamp": f"2026-09-21T14:{second // 60:02}:{second % 60:02}Z"}
    return json.dumps(told)


LOG = [
    event("agent_starts", 0, version="0.1.0"),
    *(event("uplink_lost", 10 + 3 * number, "warning", reason="refused", count=number) for number in range(37)),
    event("reader_lost", 300, "error", reader="nfc0", reason="unplugged\x1b[2J"),
]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TZ", "UTC")
    path = tmp_path / "agent.log"
    path.write_text("\n".join(LOG) + "\n", encoding="utf-8")
    return path


def test_the_log_is_told_in_lines_and_what_repeats_is_counted(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--file", str(log)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "14:00:00 info     agent_starts version=0.1.0",
        "14:00:10 warning  uplink_lost reason=refused count=0 (x 37 in 1 min)",
        '14:05:00 error    reader_lost reader=nfc0 reason="unplugged\\u001b[2J"',
    ]


@pytest.mark.parametrize(
    ("words", "events"),
    [
        (["--level", "error"], ["reader_lost"]),
        (["--grep", "NFC0"], ["reader_lost"]),
        (["--grep", "reason=refused"], ["uplink_lost"]),
        (["-n", "1"], ["reader_lost"]),
        (["--lines", "2"], ["uplink_lost", "reader_lost"]),
        (["--since", "2026-09-21T14:02:00+00:00"], ["reader_lost"]),
        (["--grep", "no such thing"], []),
    ],
)
def test_only_what_is_asked_for_is_shown(
    words: list[str], events: list[str], log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", "--file", str(log), *words]) == 0
    said = capsys.readouterr()
    assert [line.split()[2] for line in said.out.splitlines()[1:]] == events
    assert ("no line of the log is like that" in said.err) is not bool(events)


def test_a_program_gets_every_line_as_an_object(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--file", str(log), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(told) == 39
    assert told[-1] == {
        "at": 1_789_999_500.0,
        "level": "error",
        "event": "reader_lost",
        "source": "edge-agent",
        "fields": {"reader": "nfc0", "reason": "unplugged\x1b[2J"},
    }


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = io.TextIOWrapper(io.BytesIO(b'{"event":"x","level":"info"}\n\xff\xfe odd \x07\n'), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", data)
    assert main(["logs", "--file", "-"]) == 0
    assert capsys.readouterr().out == "         info     x\n         -        \ufffd\ufffd odd \\x07\n"


@pytest.mark.parametrize(
    "words", [["-n", "0"], ["-n", "x"], ["--since", "soon"], ["--level", "loud"], ["-f", "--file", "x"]]
)
def test_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["logs", *words])
    assert caught.value.code == 2


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--file", str(tmp_path / "none")]) == 3
    assert "cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.system
def test_a_journal_file_of_another_machine_can_be_read(
    tmp_path: Path, require_system: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    require_system("journalctl")
    entries = [(1_790_000_000 + number, "edge-agent", line) for number, line in enumerate(LOG)]
    file = write_journal(require_system("systemd-journal-remote"), tmp_path, entries)
    assert main(["logs", "--file", str(file), "--json", "-n", "2"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["at"], line["event"]) for line in told] == [
        (1_790_000_037.0, "uplink_lost"),
        (1_790_000_038.0, "reader_lost"),
    ]


@pytest.mark.system
def test_a_service_that_never_ran_is_told(
    tmp_path: Path, require_system: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    require_system("journalctl")
    file = write_journal(require_system("systemd-journal-remote"), tmp_path, [(1_790_000_000, "cron", "x")])
    assert main(["logs", "--file", str(file)]) == 3
    assert capsys.readouterr().err == (
        "edge-agent: the journal has nothing of edge-agent.service\n  did it ever start? systemctl status edge-agent\n"
    )


def test_who_follows_sees_each_line_at_once_and_repetitions_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What journalctl of systemd 252 prints, in the form of a program that ends: the real one follows for ever.
    told = [{"__REALTIME_TIMESTAMP": f"{1_790_000_000 + n}000000", "MESSAGE": line} for n, line in enumerate(LOG)]
    (tmp_path / "said").write_text("".join(json.dumps(line) + "\n" for line in told), encoding="utf-8")
    (tmp_path / "journalctl").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat {tmp_path}/said\n')
    (tmp_path / "journalctl").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert main(["logs", "--follow", "-n", "40"]) == 0
    lines = [line[9:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        "info     agent_starts version=0.1.0",
        "warning  uplink_lost reason=refused count=0",
        "the same 36 times more in 36 s",
        'error    reader_lost reader=nfc0 reason="unplugged\\u001b[2J"',
    ]
    assert "--lines=40 --follow" in (tmp_path / "asked").read_text()


def test_a_terminal_of_80_columns_gets_wrapped_lines_and_a_new_day_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LogView(Paper(sys.stdout), UTC, wrap=True)
    view.line(LogLine("long", "info", 1_790_000_000.0, (("text", "word " * 40),), trace="ValueError: odd"))
    view.line(LogLine("next", "debug", 1_790_086_400.0))
    view.line(LogLine("never", "debug", 1e300))
    out = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in out)
    assert [line for line in out if line.startswith("2026")] == ["2026-09-21 (UTC)", "2026-09-22 (UTC)"]
    assert out[-1] == "?        debug    never"
    assert 'exception="ValueError: odd"' in " ".join(" ".join(out).split())


@pytest.mark.parametrize("words", [(), ("--level", "info")])
def test_the_hole_that_a_power_cut_left_in_a_file_is_passed_over(
    words: tuple[str, ...], log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hole = "\0" * 300_000
    log.write_text(f"{LOG[0]}\n{hole}{LOG[-1]}\n{LOG[1][:30]}{hole}", encoding="utf-8")
    assert main(["logs", "--file", str(log), *words]) == 0
    out = capsys.readouterr().out
    assert "\\x00" not in out
    lines = out.splitlines()
    assert [line.split()[2] for line in lines[1:3]] == ["agent_starts", "reader_lost"]
    assert LOG[1][:30] in lines[3]


def test_a_line_without_an_end_is_not_held_in_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.log"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert main(["logs", "--file", str(path)]) == 0
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert "no line of the log is like that" in capsys.readouterr().err
