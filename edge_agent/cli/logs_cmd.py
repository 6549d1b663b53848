"""`edge-agent logs`: what the agent wrote into the journal, or into a file, as lines for people. Only reads."""

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from edge_agent.cli.commands import COMMANDS, Commands
from edge_agent.cli.log_view import LogView
from edge_agent.cli.render import Paper
from edge_agent.diag import journal
from edge_agent.diag.log_lines import LEVELS, MAX_LINE, Folding, LogLine, is_at_least, is_empty, moment, read_line
from edge_agent.errors import ExitCode

DEFAULT_LINES = 50
_MOST_LINES = 100_000
_JOURNAL_FILE = ".journal"


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "logs",
        help=COMMANDS["logs"].help,
        description="Show the agent's log as lines for people; what is told many times in a row stands there once, "
        "with its count. Exit status: 0 shown, 3 the journal cannot be read or has nothing of the agent.",
    )
    parser.add_argument(
        "-n", "--lines", type=_lines, default=DEFAULT_LINES, metavar="N", help="the newest N (default: %(default)s)"
    )
    parser.add_argument(
        "--since", type=_moment, metavar="WHEN", help='from 90s, 30min, 2h or 1d ago, 14:05, today, "2026-11-23 14:05"'
    )
    parser.add_argument(
        "--level", choices=LEVELS, default="debug", metavar="LEVEL", help=f"{', '.join(LEVELS)}; or worse"
    )
    parser.add_argument(
        "--grep", metavar="TEXT", help="only lines with this text, such as nfc0; large or small letters"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    source.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="read a log file or a .journal file in place of the journal; - is stdin",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each line, none left out as repeated")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; raises JournalError when there is nothing to read."""
    wanted = _Wanted(args)
    if args.follow:
        return _follow(args, wanted)
    with _lines_of(args, wanted) as source:
        lines: Iterable[str] = source
        if wanted.all and wanted.since is None:  # a gigabyte of lines is passed over, not read
            lines = deque((line for line in source if not is_empty(line)), maxlen=args.lines)
        shown = deque(wanted.of(lines), maxlen=args.lines)
    if args.json:
        for line in shown:
            print(json.dumps(line.as_json()))
        return ExitCode.OK
    view = LogView(Paper(sys.stdout))
    folding = Folding()
    for line in shown:
        if group := folding.add(line):
            view.group(group)
    if group := folding.end():
        view.group(group)
    if not shown:
        print("edge-agent: no line of the log is like that", file=sys.stderr)
    return ExitCode.OK


class _Wanted:
    """Which lines are asked for; counts all that it was given."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.level: str = args.level
        self.since: float | None = args.since
        self.text: str = (args.grep or "").casefold()
        self.seen = 0

    @property
    def all(self) -> bool:
        """Whether every line is wanted, so that the newest ones are enough to be read."""
        return self.level == LEVELS[0] and not self.text

    def of(self, lines: Iterable[str]) -> Iterator[LogLine]:
        """The lines that are wanted."""
        for text in lines:
            line = read_line(text)
            if line is None:
                continue
            self.seen += 1
            early = self.since is not None and line.at is not None and line.at < self.since
            if not early and is_at_least(line, self.level) and (not self.text or self.text in _haystack(line)):
                yield line


def _haystack(line: LogLine) -> str:
    told = [f"{name}={value}" for name, value in line.fields]
    return " ".join([line.source, line.level, line.event, *told, line.trace]).casefold()


@contextmanager
def _lines_of(args: argparse.Namespace, wanted: _Wanted) -> Iterator[Iterator[str]]:
    if args.file is not None and args.file.suffix != _JOURNAL_FILE:
        with _opened(args.file) as file:
            yield file
        return
    lines = args.lines if wanted.all else _MOST_LINES
    with journal.reading(journal.command(lines=lines, since=args.since, file=args.file)) as reading:
        yield reading.lines()
        reading.check(wanted.seen)
    if not wanted.seen and wanted.since is None:
        raise journal.JournalError(
            f"the journal has nothing of {journal.UNIT}",
            remedy="did it ever start? systemctl status edge-agent",
        )


@contextmanager
def _opened(file: Path) -> Iterator[Iterator[str]]:
    if str(file) == "-":
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr] # it is a TextIOWrapper unless replaced
        yield _lines_in(sys.stdin)
        return
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            yield _lines_in(stream)
    except OSError as error:
        raise journal.JournalError(f"{file} cannot be read: {error.strerror}") from None


def _lines_in(stream: TextIO) -> Iterator[str]:
    """Its lines; one of a megabyte, such as the hole that a power cut left, comes in pieces."""
    while line := stream.readline(MAX_LINE):
        yield line


def _follow(args: argparse.Namespace, wanted: _Wanted) -> int:
    """Each line at once; the same again is only counted, and told when something else comes."""
    view = LogView(Paper(sys.stdout))
    folding = Folding()
    with journal.reading(journal.command(lines=args.lines, since=args.since, follow=True)) as reading:
        for line in wanted.of(reading.lines()):
            if args.json:
                print(json.dumps(line.as_json()), flush=True)
                continue
            before = folding.open
            group = folding.add(line)
            if group is not None:
                view.again(group)
            if group is not None or before is None:
                view.line(line)
            sys.stdout.flush()
        reading.check(wanted.seen)
    return ExitCode.OK


def _lines(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 6 and 1 <= int(word) <= _MOST_LINES):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST_LINES}")
    return int(word)


def _moment(word: str) -> float:
    try:
        return moment(word, datetime.now().astimezone())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
