"""Real journals, made by systemd-journal-remote and read by journalctl."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.diag import journal
from edge_agent.diag.journal import JournalError
from tests.fakes.journal_file import write_journal


def read(file: Path, lines: int | None = None, since: float | None = None) -> list[str]:
    with journal.reading(journal.command(lines=lines, since=since, file=file)) as reading:
        found = list(reading.lines())
        reading.check(len(found))
    return found


@pytest.fixture
def file(tmp_path: Path, require_system: Callable[[str], str]) -> Path:
    require_system("journalctl")
    entries = [(1_790_000_000 + second, "edge-agent", f"line {second}") for second in range(5)]
    entries.append((1_790_000_009, "cron", "of another service"))
    return write_journal(require_system("systemd-journal-remote"), tmp_path, entries)


@pytest.mark.system
def test_the_entries_of_the_service_and_no_others_are_read(file: Path) -> None:
    assert ["line" in text for text in read(file)] == [True] * 5
    assert ["line 3" in read(file, lines=2)[0], "line 4" in read(file, lines=2)[1]] == [True, True]
    assert len(read(file, since=1_790_000_002.5)) == 2


@pytest.mark.system
def test_a_journal_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(JournalError, match=r"journalctl finds no journal: .*No such file"):
        read(file.with_name("none.journal"))


@pytest.mark.system
@pytest.mark.usefixtures("as_root")  # only root can become somebody who may not read
def test_a_journal_that_may_not_be_read_is_told_with_what_to_do(
    file: Path, require_system: Callable[[str], str]
) -> None:
    file.chmod(0o600)
    words = ["setpriv", "--reuid=65534", "--clear-groups", *journal.command(file=file)]
    with (
        pytest.raises(JournalError, match="no permission to read the journal") as caught,
        journal.reading(words) as reading,
    ):
        reading.check(len(list(reading.lines())))
    assert "systemd-journal" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_a_machine_without_journalctl_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(JournalError, match="journalctl cannot be run") as caught,
        journal.reading(["journalctl"], env={"PATH": str(tmp_path)}),
    ):
        pass
    assert "--file FILE" in caught.value.remedy


@pytest.mark.timeout(20)
def test_a_journalctl_that_complains_of_a_thousand_broken_files_is_still_read_to_the_end() -> None:
    talk = "yes 'Journal file x.journal~ is truncated, ignoring file.' | head -c 300000 >&2; echo '{}'"
    with journal.reading(["sh", "-c", talk]) as reading:
        assert list(reading.lines()) == ["{}\n"]
        reading.check(1)
