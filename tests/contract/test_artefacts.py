"""The generated files are what the generator writes, it writes nothing else, and the running agent never imports it."""

import ast
import shutil
from pathlib import Path

import pytest

from edge_agent.contract import __main__ as generator
from edge_agent.contract import artefacts
from edge_agent.errors import ConfigError, ExitCode

ROOT = Path(__file__).parents[2]


def test_every_file_is_as_generated() -> None:
    assert generator.differences(ROOT, generator.wanted(ROOT)) == []


def test_generation_is_deterministic() -> None:
    assert artefacts.files() == artefacts.files()
    assert artefacts.document_parts() == artefacts.document_parts()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / generator.FOLDER, tmp_path / generator.FOLDER)
    (tmp_path / "docs").mkdir()
    for page in generator.PAGES:
        shutil.copy(ROOT / page, tmp_path / page)
    monkeypatch.setattr(generator, "source_tree", lambda: tmp_path)
    return tmp_path


def test_check_is_content_with_what_is_generated(tree: Path) -> None:
    assert generator.main(["--check"]) == ExitCode.OK


@pytest.mark.parametrize("name", ["config/contract/tap-token.cddl", "docs/contract.md", "docs/screen-link.md"])
def test_check_finds_a_changed_file_and_writes_nothing(
    tree: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (tree / name).read_text()
    changed = text.replace("2: link", "2: line").replace("COSE_Key:  ", "COSE_KEY:  ").replace("8..16", "8..17")
    changed = changed.replace("number of the button, u8", "number of the button, u16")
    assert changed != text
    (tree / name).write_text(changed)
    assert generator.main(["--check"]) == ExitCode.PROBLEM
    assert f"{name}: not what the generator writes" in capsys.readouterr().err
    assert (tree / name).read_text() == changed
    assert generator.main([]) == ExitCode.OK
    assert (tree / name).read_text() == text


def test_check_finds_missing_and_stray_files(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "config/contract/asyncapi.yaml").unlink()
    (tree / "config/contract/vectors/old.json").write_text("{}")
    assert generator.main(["--check"]) == ExitCode.PROBLEM
    told = capsys.readouterr().err
    assert "config/contract/asyncapi.yaml: missing" in told
    assert "config/contract/vectors/old.json: nothing generates this file" in told


def test_writing_touches_only_what_differs(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "config/contract/asyncapi.yaml").unlink()
    assert generator.main([]) == ExitCode.OK
    assert capsys.readouterr().out == "wrote config/contract/asyncapi.yaml\n"


@pytest.mark.parametrize("name", ["config/other.json", "config/contract/../evil", "/etc/evil", "README.md"])
def test_nothing_is_written_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="refused"):
        generator.write(tmp_path, {Path(name): b"evil"})
    assert list(tmp_path.rglob("*")) == []


def test_a_page_without_its_parts_is_refused(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tree / generator.PAGE
    page.write_text(page.read_text().replace("<!-- generated: topics -->", ""))
    assert generator.main(["--check"]) == ExitCode.PROBLEM
    assert "generated parts" in capsys.readouterr().err


def test_an_installed_copy_generates_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generator, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    assert generator.main([]) == ExitCode.PROBLEM
    assert list(tmp_path.rglob("*")) == []


def test_the_running_agent_never_imports_the_generator() -> None:
    for path in (ROOT / "edge_agent").rglob("*.py"):
        if path.is_relative_to(ROOT / "edge_agent/contract"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not any(name.startswith("edge_agent.contract") for name in names), path
