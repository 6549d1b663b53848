"""The documentation keeps its promises: links resolve, examples work, keys and commands are there."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks import reliability
from edge_agent.config import load
from edge_agent.config.catalog import all_keys

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.exists()
]
PAGES += sorted((ROOT / "config").rglob("*.md")) + sorted((ROOT / "benchmarks").rglob("*.md"))
PAGES.append(ROOT / "firmware_bridge" / "mcu" / "README.md")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^(```+).*?^\1$", "", text)


def anchors(path: Path) -> set[str]:
    """GitHub's anchors of the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#{1,6} (.+)$", without_code(path.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        number = 1
        unique = slug
        while unique in found:
            unique = f"{slug}-{number}"
            number += 1
        found.add(unique)
    return found


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (name_of(page), block)
        for page in PAGES
        for block in re.findall(rf"(?ms)^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_the_project_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_have_one_title_and_no_trailing_blanks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^# .+$", without_code(text))) == 1
    assert re.findall(r"(?m)[ \t]+$", text) == []
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_every_page_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)", without_code(page.read_text(encoding="utf-8"))):
            path = (page.parent / target).resolve()
            if not re.match(r"[a-z]+:", target) and path.is_file():
                waiting.append(path)
    assert [name_of(page) for page in PAGES if page not in seen] == []


def test_the_readme_names_the_commands_that_do_everything() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make demo", "make test"):
        assert command in text


def test_every_configuration_key_is_documented_in_its_section() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in all_keys():
        section, _, key = name.replace("[]", "").partition(".")
        found = re.search(rf"(?ms)^### `\[+{section}\]+`\n(.*?)(?=^### |\Z)", page)
        assert found, section
        assert f"| `{key}` |" in found[1], name


def test_configuration_examples_are_right(tmp_path: Path) -> None:
    whole = 0
    for page, block in blocks("toml"):
        values = tomllib.loads(block)
        known = {name.replace("[]", "").partition(".")[0] for name in all_keys()}
        if "terminal" in values and "uplink" in values and set(values) <= known:
            path = tmp_path / "example.toml"
            path.write_text(block, encoding="utf-8")
            load(path, {})
            whole += 1
        else:
            assert values, page
    assert whole >= 1


def test_environment_variables_in_examples_name_real_keys() -> None:
    names = {name.replace("[]", "") for name in all_keys()}
    shown = {
        variable
        for page in PAGES
        for variable in re.findall(r"\bEDGE_AGENT__([A-Z0-9_]+)\b", page.read_text(encoding="utf-8"))
    }
    assert shown
    for variable in shown - {"SECTION__KEY"}:
        assert ".".join(part for part in variable.lower().split("__") if not part.isdigit()) in names, variable


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^## (.+)$", text)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", heading), heading
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"(?m)^### (.+)$", text)) <= kinds
    dates = re.findall(r"(?m)^## \[\d.*\] - (.+)$", text)
    assert dates == sorted(dates, reverse=True)


def rows_of(page: str, name: str) -> list[list[str]]:
    """The table between the markers of this name, without its two head lines."""
    table = page.partition(f"<!-- {name}:begin -->")[2].partition(f"<!-- {name}:end -->")[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_reliability_page_shows_what_was_measured_and_no_loss_of_ours() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    proofs, peers = rows_of(page, reliability.PROOFS), rows_of(page, reliability.PEERS)
    assert {"kill -9 of the agent", "power cut", "broker killed amid a drain"} <= {row[0] for row in proofs}
    assert [row for row in proofs if (row[4], row[5]) != ("0", "0")] == []
    ours = [row for row in peers if row[1] == "edge-agent"]
    assert ours
    assert [row for row in ours if (row[3], row[4]) != ("0", "0")] == []
    assert {row[0] for row in peers} == {row[0] for row in ours}, "each fault for ours, too"


def test_a_new_report_replaces_its_table_and_nothing_else() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    report = {"fault": "f", "how": "a | b", "times": 3, "promised": 1234, "lost": 0, "given_up": 2, "duplicates": 1}
    report |= {"stored": 1240, "unpromised": 5}
    lines = reliability.proof_table([report | {"times": 1, "recovery_s": None}, report | {"recovery_s": None}])
    changed = reliability.with_table(page, reliability.PROOFS, lines)
    assert rows_of(changed, reliability.PROOFS) == [["f", "a / b", "3", "1,234", "0", "3", "2", "1", "-"]]
    assert rows_of(changed, reliability.PEERS) == rows_of(page, reliability.PEERS)
    assert reliability.with_table(changed, reliability.PROOFS, lines) == changed
    with pytest.raises(ValueError, match="needs"):
        reliability.with_table("# a page", reliability.PROOFS, lines)
