"""The scripts in the shells themselves."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from shell_help.__main__ import ROOT

FOLDER = ROOT / "completion"


def completed(command: str, *words: str, cwd: Path) -> set[str]:
    """What bash offers for the last word."""
    script = f"""
        source {FOLDER}/{command}.bash
        function=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=({command} "$@"); COMP_CWORD=$#; COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
        $function; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bare = ["bash", "--norc", "-c", script, "bash", *words]
    done = subprocess.run(bare, capture_output=True, text=True, check=True, timeout=30, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["no"], {"now-playing"}),
        (["outbox", ""], {"stats", "list", "export", "verify", "resend"}),
        (["outbox", "list", "--st"], {"--state"}),
        (["outbox", "list", "--state", ""], {"pending", "sent", "stored", "parked"}),
        (["logs", "--level", "w"], {"warning"}),
        (["config", "check", "--config", "some"], {"some.toml"}),
        (["token", "inspect", "some"], {"some.toml"}),
    ],
)
def test_bash_knows_commands_parts_options_choices_and_files(
    words: list[str], offered: set[str], tmp_path: Path
) -> None:
    (tmp_path / "some.toml").touch()
    assert completed("edge-agent", *words, cwd=tmp_path) >= offered
    assert not words[-1] or completed("edge-agent", *words, cwd=tmp_path) == offered


def test_bash_knows_the_makers_command_too(tmp_path: Path) -> None:
    assert completed("firmware-bridge", "conf", cwd=tmp_path) == {"conformance"}
    assert "--port" in completed("firmware-bridge", "play", "--p", cwd=tmp_path)


@pytest.mark.system
@pytest.mark.parametrize("command", ["edge-agent", "firmware-bridge"])
def test_zsh_takes_its_script(command: str, tmp_path: Path, require_system: Callable[[str], str]) -> None:
    script = (
        f"autoload -Uz compinit && compinit -D -u && autoload -Uz _{command} && autoload +X _{command} && echo taken"
    )
    done = subprocess.run(
        [require_system("zsh"), "-f", "-c", f"fpath=({FOLDER} $fpath); {script}; print $_comps[{command}]"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert (done.stdout.split(), done.stderr) == (["taken", f"_{command}"], "")
