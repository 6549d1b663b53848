"""What scripts and technicians rely on: every command has help and is documented with all its options."""

import argparse
import ast
import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli.commands import COMMANDS
from edge_agent.cli.main import main, parser_for
from firmware_bridge.cli.commands import COMMANDS as BRIDGE_COMMANDS
from firmware_bridge.cli.main import parser_for as bridge_parser_for

ROOT = Path(__file__).parent.parent
DOCS = "\n".join(
    path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
)
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
NAMES = sorted(COMMANDS)


def sub_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def with_parts(words: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield words, parser
    for name, below in sub_parsers(parser).items():
        yield from with_parts(f"{words} {name}", below)


def all_parsers(name: str) -> list[tuple[str, argparse.ArgumentParser]]:
    return list(with_parts(f"edge-agent {name}", sub_parsers(parser_for(name))[name]))


def section(words: str) -> str:
    """The part of docs/commands.md about one command."""
    command = " ".join(words.split()[:2])
    found = re.search(rf"(?ms)^## {command}\n(.*?)(?=^## |\Z)", PAGE)
    assert found, f"docs/commands.md has no section '{command}'"
    return found[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_a_module_with_add_parser_and_run(name: str) -> None:
    module = importlib.import_module(COMMANDS[name].module)
    assert ast.get_docstring(ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")))
    assert callable(module.add_parser)
    assert callable(module.run)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_part_has_help_in_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words, parser in all_parsers(name):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as caught:
            main([*words.split()[1:], "--help"])
        assert caught.value.code == 0
        assert f"usage: {words}" in out.getvalue()
        assert max(map(len, out.getvalue().splitlines())) <= 80
        undescribed = [
            action.dest
            for action in parser._actions
            if not action.help and not isinstance(action, argparse._SubParsersAction)
        ]
        assert undescribed == [], words


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_the_list_and_of_the_command_agree(name: str) -> None:
    listed = next(action for action in parser_for(name)._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in listed._choices_actions}
    assert helps[name] == COMMANDS[name].help


@pytest.mark.parametrize("name", NAMES)
def test_every_command_part_and_option_is_documented(name: str) -> None:
    for words, parser in all_parsers(name):
        assert words in DOCS, words
        options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        for option in options:
            if option != "--help":
                assert re.search(rf"`{option}[ `]", section(words)), f"{words} {option}"


def test_nothing_is_documented_that_does_not_exist() -> None:
    known = {words for name in NAMES for words, _ in all_parsers(name)}
    bridge = {f"firmware-bridge {name}" for name in BRIDGE_COMMANDS}
    for code in re.findall(r"`([^`\n]+)`", DOCS) + re.findall(
        r"(?m)^(?:\$ |sudo -u edge-agent )?((?:edge-agent|firmware-bridge) .*)$", DOCS
    ):
        words = re.match(r"(edge-agent|firmware-bridge)((?: [a-z][a-z-]*)*)", code)
        if words is None or not words[2]:
            continue
        command = " ".join(words[0].split()[:2])
        assert command in known | bridge, code
        parts = {part.split()[2] for part in known if part.startswith(f"{command} ")}
        if parts and len(words[0].split()) > 2:
            assert words[0].split()[2] in parts, code


@pytest.mark.parametrize("name", BRIDGE_COMMANDS)
def test_every_option_of_the_makers_command_is_documented(name: str) -> None:
    told = "\n".join(re.findall(r"`[^`\n]+`", section("firmware-bridge")))
    for action in sub_parsers(bridge_parser_for(name))[name]._actions:
        for option in action.option_strings:
            assert option in {"-h", "--help"} or re.search(rf"{option}\b", told), f"firmware-bridge {name} {option}"


def test_the_exit_statuses_are_documented() -> None:
    for status in ("0", "1", "2", "3", "78", "130"):
        assert re.search(rf"(?m)^\| {status} \|", PAGE)
