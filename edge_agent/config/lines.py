"""On which line a TOML file sets which key: the standard library's parser does not tell.

No second TOML grammar: a valid file is cut where a prefix of lines parses alone, and each piece is parsed by tomllib.
"""

import tomllib
from collections.abc import Iterator

from edge_agent.config.origin import Path

# A longer statement (a list over thousands of lines) loses its line numbers rather than costing seconds.
_MAX_STATEMENT_LINES = 200


def key_lines(text: str) -> dict[Path, int]:
    """Map every key, table and list item set by the valid TOML document ``text`` to its line, from 1."""
    found: dict[Path, int] = {}
    tables: dict[Path, int] = {}
    prefix: Path = ()
    for number, statement, is_header in _statements(text):
        if not is_header:
            for path in _leaves(tomllib.loads(statement), ()):
                found.setdefault((*prefix, *path), number)
            continue
        names, is_list = _header(tomllib.loads(statement))
        prefix = _resolve(names[:-1] if is_list else names, tables)
        if is_list:
            prefix = (*prefix, names[-1])
            found.setdefault(prefix, number)
            tables[prefix] = tables.get(prefix, -1) + 1
            prefix = (*prefix, tables[prefix])
        found.setdefault(prefix, number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (first line, text, is it a table header) of each statement that parses alone."""
    piece: list[str] = []
    start = 1
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not piece:
            start = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        piece.append(line)
        statement = "\n".join(piece)
        try:
            tomllib.loads(statement)
        except ValueError:  # goes on in the next line
            if len(piece) == _MAX_STATEMENT_LINES:
                return
            continue
        yield start, statement, piece[0].lstrip().startswith("[")
        piece.clear()


def _header(table: dict[str, object]) -> tuple[tuple[str, ...], bool]:
    names: list[str] = []
    value: object = table
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        names.append(name)
    return tuple(names), isinstance(value, list)


def _resolve(names: tuple[str, ...], tables: dict[Path, int]) -> Path:
    """Insert the current index after each name that is a list of tables."""
    path: Path = ()
    for name in names:
        path = (*path, name)
        if path in tables:
            path = (*path, tables[path])
    return path


def _leaves(value: object, prefix: Path) -> Iterator[Path]:
    if prefix:
        yield prefix
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*prefix, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, (*prefix, index))
