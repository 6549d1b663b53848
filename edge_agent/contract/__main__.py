"""``python -m edge_agent.contract``: write config/contract and the generated parts of two pages; ``--check``.

It writes into the source tree that it was started from and nowhere else.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent.contract import artefacts
from edge_agent.errors import ConfigError, ExitCode
from firmware_bridge import manual

FOLDER = Path("config/contract")
PAGE = Path("docs/contract.md")
SCREEN_PAGE = Path("docs/screen-link.md")
# page -> the function that renews its generated parts
PAGES = {PAGE: artefacts.with_generated_parts, SCREEN_PAGE: manual.with_generated_parts}


def source_tree() -> Path:
    """Return the root of the source tree; raises ConfigError for an installed copy, which has no business here."""
    root = Path(__file__).resolve().parents[2]
    project = root / "pyproject.toml"
    if not project.is_file() or 'name = "edge-agent"' not in project.read_text(encoding="utf-8"):
        raise ConfigError([f"{root} is no source tree of edge-agent: nothing is generated there"])
    return root


def wanted(root: Path) -> dict[Path, bytes]:
    """Return what every generated file must contain, by its path below the root."""
    made = {FOLDER / name: content for name, content in artefacts.files().items()}
    for page, renewed in PAGES.items():
        try:
            made[page] = renewed((root / page).read_text(encoding="utf-8")).encode()
        except (OSError, ValueError) as exc:
            raise ConfigError([f"{page}: {exc}"]) from exc
    return made


def differences(root: Path, made: dict[Path, bytes]) -> list[str]:
    """Return one line for each file that is missing, stale or not generated."""
    lines = []
    for path, content in made.items():
        if not (root / path).is_file():
            lines.append(f"{path}: missing")
        elif (root / path).read_bytes() != content:
            lines.append(f"{path}: not what the generator writes")
    for found in sorted((root / FOLDER).rglob("*")):
        path = found.relative_to(root)
        if found.is_file() and path not in made:
            lines.append(f"{path}: nothing generates this file; remove it")
    return lines


def write(root: Path, made: dict[Path, bytes]) -> list[Path]:
    """Write what differs; return the paths written. Refuses every path but its own."""
    written = []
    for path, content in made.items():
        target = root / path
        if path not in PAGES and not target.resolve().is_relative_to((root / FOLDER).resolve()):
            raise ConfigError([f"{path} is not below {FOLDER}: refused"])
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, or with ``--check`` compare; 0 when all is as generated, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.contract", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    options = parser.parse_args(arguments)
    try:
        root = source_tree()
        made = wanted(root)
        if options.check:
            problems = differences(root, made)
        else:
            for path in write(root, made):
                sys.stdout.write(f"wrote {path}\n")
            problems = differences(root, made)
    except ConfigError as exc:
        problems = exc.problems
    for line in problems:
        sys.stderr.write(f"{line}\n")
    if problems and options.check:
        sys.stderr.write("run `make contract`\n")
    return ExitCode.PROBLEM if problems else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
