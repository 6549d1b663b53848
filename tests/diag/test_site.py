import sys
import threading
from pathlib import Path

import pytest

from edge_agent.control_client import NotAllowed
from edge_agent.diag import site as module
from edge_agent.diag.finding import CannotLook
from edge_agent.diag.site import AGENT, AGENT_DOWN, CONFIG_INVALID, DEFAULT_SOCKET, Site
from edge_agent.errors import ConfigError

ENV = {"PATH": "/usr/bin:/bin"}


def site_of(folder: Path, text: str = "not toml") -> Site:
    path = folder / "edge-agent.toml"
    path.write_text(text)
    return Site(path, root=folder, env=ENV)


def test_its_files_are_below_its_root(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").write_text(" 12.5 3\n")
    site = site_of(tmp_path)
    assert site.path("/proc/uptime") == tmp_path / "proc/uptime"
    assert site.read("/proc/uptime") == "12.5 3"
    assert site.read("/proc/missing") is None


def test_a_wrong_configuration_is_one_error_for_its_check_and_a_reason_for_all_others(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with pytest.raises(ConfigError):
        _ = site.loaded
    with pytest.raises(CannotLook) as lost:
        _ = site.settings
    assert lost.value.because == CONFIG_INVALID
    assert site.socket == DEFAULT_SOCKET


def test_what_one_check_asked_is_there_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANGS_S", 60)
    site = site_of(tmp_path)
    asked: list[str] = []

    def ask() -> str:
        asked.append("once")
        return "answer"

    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(site.once("it", ask))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["answer"] * 8
    assert asked == ["once"]
    assert site.once("other", lambda: 7) == 7


def test_where_it_hangs_nobody_else_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANGS_S", 0.1)
    site, began, free = site_of(tmp_path), threading.Event(), threading.Event()

    def hang() -> str:
        began.set()
        free.wait(60)
        return "late"

    first = threading.Thread(target=lambda: site.once("it", hang))
    first.start()
    try:
        began.wait(60)
        with pytest.raises(CannotLook) as lost:
            site.once("it", hang)
        assert lost.value.because == "check-timed-out"
    finally:
        free.set()
        first.join()
    assert site.once("it", hang) == "late"


def test_an_agent_that_may_run_is_not_taken_for_none(tmp_path: Path) -> None:
    assert Site(tmp_path / "edge-agent.toml", socket=tmp_path / "s", env=ENV).runs is False

    class Closed(Site):
        def ask(self, request: dict[str, object], timeout_s: float = 0) -> dict[str, object]:
            raise NotAllowed("no permission", remedy="use sudo")

    with pytest.raises(CannotLook) as lost:
        _ = Closed(tmp_path / "edge-agent.toml", env=ENV).runs
    assert lost.value.because == AGENT


def test_without_an_agent_the_reason_is_that_it_is_down(tmp_path: Path) -> None:
    site = Site(tmp_path / "edge-agent.toml", socket=tmp_path / "s", env=ENV)
    with pytest.raises(CannotLook) as lost:
        _ = site.status
    assert lost.value.because == AGENT_DOWN
    assert site.running is None


def test_many_threads_load_the_configuration_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANGS_S", 60)
    path = tmp_path / "edge-agent.toml"
    path.write_text((Path(__file__).parents[2] / "config/edge-agent.toml").read_text())
    site = Site(path, env=ENV)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(id(site.loaded))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_command_gets_no_input_and_speaks_english(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['LC_ALL'], repr(sys.stdin.read())); sys.exit(3)"
    done = site_of(tmp_path).run([sys.executable, "-c", code], timeout_s=60)
    assert (done.status, done.out, done.err) == (3, "C ''\n", "")


def test_a_missing_command_and_one_that_hangs_cannot_look(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with pytest.raises(CannotLook, match="no `no-such-command`"):
        site.run(["no-such-command"])
    with pytest.raises(CannotLook, match="did not end within"):
        site.run(["sleep", "60"], timeout_s=0.05)
