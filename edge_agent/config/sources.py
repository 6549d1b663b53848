"""Read the configuration file and its drop-ins, FILE.d/*.toml by name; finds no meaning in them.

The later file wins key by key, and a list replaces a list. Whatever can be wrong with a file (missing, a directory,
a FIFO, too large, no UTF-8, no TOML) becomes one line; nothing is skipped silently.
"""

import re
import tomllib
from pathlib import Path

from edge_agent.config.lines import key_lines
from edge_agent.config.origin import Tree
from edge_agent.small_file import NotAFile, read_small

MAX_FILE_BYTES = 256 * 1024
MAX_DROP_INS = 64
_MAX_NESTING = 16


def read_files(path: Path) -> tuple[Tree, list[str]]:
    """Return the values of FILE and its drop-ins with their origins, and one line for each file that cannot be used."""
    tree = Tree()
    problems: list[str] = []
    for file in (path, *drop_ins(path, problems)):
        text = _read(file, problems)
        values = None if text is None else _parse(file, text, problems)
        if text is not None and values is not None:
            tree.merge(values, str(file), key_lines(text))
    return tree, problems


def drop_ins(path: Path, problems: list[str]) -> list[Path]:
    """Return FILE.d/*.toml in the order in which they are laid over FILE."""
    folder = path.with_name(path.name + ".d")
    try:
        names = sorted(file for file in folder.iterdir() if file.suffix == ".toml" and not file.name.startswith("."))
    except (
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
    ):  # ValueError: a NUL in the name, told by the file itself
        return []
    except OSError as error:
        problems.append(f"{folder} cannot be listed: {error.strerror}")
        return []
    if len(names) > MAX_DROP_INS:
        problems.append(f"{folder} holds {len(names)} files, expected at most {MAX_DROP_INS}")
        return []
    return names


def _read(file: Path, problems: list[str]) -> str | None:
    try:
        data, _ = read_small(file, MAX_FILE_BYTES)
    except NotAFile as error:
        problems.append(f"{file} {error.strerror}, expected a TOML file")
        return None
    except OSError as error:
        problems.append(f"{file} cannot be read: {error.strerror}")
        return None
    if len(data) > MAX_FILE_BYTES:
        problems.append(f"{file} is larger than {MAX_FILE_BYTES // 1024} KiB, expected a configuration file")
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(f"{file}:{line} is not UTF-8 text (byte 0x{data[error.start]:02x}), expected a TOML file")
        return None


def _parse(file: Path, text: str, problems: list[str]) -> dict[str, object] | None:
    try:
        values = tomllib.loads(text)
    except RecursionError:
        problems.append(f"{file} is nested too deeply, expected tables of plain values")
    except ValueError as error:  # TOMLDecodeError is one; int() raises a plain one for thousands of digits
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        last = len(text.rstrip().splitlines()) or 1
        where = f":{found[1]} column {found[2]}" if found else f":{last}" if "end of document" in str(error) else ""
        what = re.sub(r" \(at .*\)$", "", str(error).splitlines()[0])
        problems.append(f"{file}{where} is not valid TOML: {what}")
    else:
        if _depth(values) <= _MAX_NESTING:
            return values
        problems.append(f"{file} is nested too deeply, expected tables of plain values")
    return None


def _depth(value: object) -> int:
    depth = 0
    level = [value]
    while level and depth <= _MAX_NESTING:
        depth += 1
        level = [
            below
            for item in level
            if isinstance(item, dict | list)
            for below in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
