"""The check in a child process: the same answer as in this one, the same problems, and no answer is an error."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.errors import ConfigError
from edge_agent.settings import Check, Checked, Plain
from tests.fakes.whole_agent import write_config

SAMPLE = Path(__file__).parent.parent / "config" / "edge-agent.toml"


def env(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


@pytest.mark.parametrize("path", [SAMPLE, None])
def test_the_child_answers_what_this_process_would(path: Path | None, tmp_path: Path) -> None:
    config = path or write_config(tmp_path, reader="/dev/nfc", host="127.0.0.1", port=1883)
    settings_here = checked(load(config, env(EDGE_AGENT__TOKEN__TTL="77")))
    found = Check(config, env(EDGE_AGENT__TOKEN__TTL="77")).result()
    assert found == settings_here
    assert found.settings.token.ttl == 77
    assert found.digest == settings_here.digest


def test_a_changed_setting_changes_the_digest() -> None:
    one = Check(SAMPLE, env())
    other = Check(SAMPLE, env(EDGE_AGENT__TOKEN__TTL="77"))
    assert one.result().digest != other.result().digest


def test_every_problem_comes_back_in_its_own_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, reader="no path", host="127.0.0.1", port=0)
    with pytest.raises(ConfigError) as here:
        load(config, env())
    with pytest.raises(ConfigError) as told:
        Check(config, env()).result()
    assert told.value.problems == here.value.problems
    assert len(told.value.problems) == 2


def test_the_child_imports_nothing_from_the_folder_that_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tomllib.py").write_text("raise SystemExit('planted')\n")
    monkeypatch.chdir(tmp_path)
    assert Check(SAMPLE, env()).result().settings.terminal.fleet == "sh"


def test_a_child_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def killed(_command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"], **options)

    monkeypatch.setattr(settings.subprocess, "Popen", killed)
    with pytest.raises(ConfigError, match="ended with status -9"):
        Check(SAMPLE, env()).result()


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    found: Checked = checked(load(SAMPLE, {}))
    assert isinstance(found.settings, Plain)
    with pytest.raises(AttributeError, match="ttl"):
        found.settings.token.ttl = 1
    with pytest.raises(AttributeError):
        found.digest = ""  # type: ignore[misc]  # that it is frozen is what is tested
