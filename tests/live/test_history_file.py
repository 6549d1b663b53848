import os
from pathlib import Path

from structlog.testing import capture_logs

from edge_agent.clock import FakeClock
from edge_agent.live.history_file import HistoryFile


def test_the_next_process_of_this_boot_knows_what_this_one_knew(tmp_path: Path) -> None:
    clock, file = FakeClock(), HistoryFile(tmp_path / "history")
    history = file.load(clock.read())
    history.tap(clock.read().up, 0.05)
    file.save(history)
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o600
    clock.advance(60)
    assert file.load(clock.read()).as_json(clock.read())["all"] == history.as_json(clock.read())["all"]


def test_without_a_readable_file_it_begins_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    (tmp_path / "history").write_bytes(b"no history" * 99_999)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "history", "folder", "pipe"):
        assert HistoryFile(tmp_path / name).load(clock.read()).as_json(clock.read())["rows"] == []


def test_a_place_that_takes_no_file_is_told_once_and_again_after_it_worked(tmp_path: Path) -> None:
    clock = FakeClock()
    folder = tmp_path / "later"
    file = HistoryFile(folder / "history")
    history = file.load(clock.read())
    with capture_logs() as logs:
        file.save(history)
        file.save(history)
        assert [entry["event"] for entry in logs] == ["history_not_kept"]
        folder.mkdir()
        file.save(history)
        (folder / "history.new").symlink_to(tmp_path / "elsewhere")
        file.save(history)
    assert len(logs) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_two_agents_in_one_folder_keep_their_days_apart(tmp_path: Path) -> None:
    clock = FakeClock()
    lobby, garage = (HistoryFile.beside(tmp_path / name) for name in ("lobby.sock", "garage.sock"))
    history = lobby.load(clock.read())
    history.tap(clock.read().up, None)
    (tmp_path / "history").write_text("somebody's own")
    lobby.save(history)
    assert garage.load(clock.read()).as_json(clock.read())["rows"] == []
    assert lobby.load(clock.read()).as_json(clock.read())["rows"]
    assert (tmp_path / "history").read_text() == "somebody's own"
