"""What pydantic found wrong, told to a person: one line for each, with file, line, key, and what was expected."""

import datetime as dt
import difflib
import json
import re
from collections.abc import Iterator

import annotated_types
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge_agent.config.catalog import EACH_ITEM, all_keys, key_at, lists, lists_of_drivers, pattern, sections
from edge_agent.config.origin import Origin, Path, Tree, dotted
from edge_agent.config.section import MISPLACED
from edge_agent.sanitize import printable

MAX_REASON = 200


def problem_lines(error: ValidationError, tree: Tree, main: str) -> list[str]:
    """Return one line for each error, in the order of the sections; ``main`` is to blame for what is missing."""
    lines = []
    for detail in error.errors(include_url=False):
        for path, text in _explain(detail):
            origin = tree.origin_of(path) or Origin(main)
            lines.append(f"{origin}: [{dotted(path)}] {text}" if path else f"{origin}: {text}")
    return lines


def _explain(detail: ErrorDetails) -> Iterator[tuple[Path, str]]:
    path, kind = _plain_path(detail["loc"]), detail["type"]
    if kind == "missing":
        yield from _missing(path)
    elif kind == "extra_forbidden":
        yield path, _unknown(path)
    elif kind == MISPLACED:
        yield (*path, *detail["ctx"]["place"]), printable(detail["ctx"]["text"], MAX_REASON)
    elif kind in {"union_tag_invalid", "union_tag_not_found"}:
        path = (*path, "driver")
        given = isinstance(detail["input"], dict) and detail["input"].get("driver")
        expected = _expected(path)
        yield path, f"got {show(given)}, expected {expected}" if given else f"is missing, expected {expected}"
    elif kind == "value_error" and key_at(path) is None:
        yield path, str(detail["ctx"]["error"])
    elif kind != "too_short" or not detail["input"]:  # a list is also too short where its items are wrong
        reason = str(detail.get("ctx", {}).get("error", "")) if kind == "value_error" else ""
        yield path, f"got {show(detail['input'])}{f' ({reason})' if reason else ''}, expected {_expected(path, kind)}"


def _plain_path(loc: Path) -> Path:
    """Drop the driver that pydantic puts between a list item and its key."""
    if len(loc) > 2 and loc[0] in lists_of_drivers():
        return (*loc[:2], *loc[3:])
    return loc


def _missing(path: Path) -> Iterator[tuple[Path, str]]:
    if len(path) > 1:
        yield path, f"is missing, expected {_expected(path)}"
        return
    # A whole section: name the keys that it must hold.
    for key in all_keys().values():
        if key.required and key.name.startswith(f"{path[0]}."):
            yield tuple(key.name.split(".")), f"is missing, expected {key.expects}"


def _unknown(path: Path) -> str:
    last = str(path[-1])
    if "password" in last or "secret" in last:
        return "unknown key: passwords are never written here, expected `password_file` with the name of a file"
    if (key := key_at(path)) is not None:
        return f"this driver has no such key, only {' or '.join(key.drivers)}"
    around = pattern(path[:-1])
    if around:
        prefix = f"{around}[]." if around in lists() else f"{around}."
        known = [name.removeprefix(prefix) for name in all_keys() if name.startswith(prefix)]
    else:
        known = list(sections())
    close = difflib.get_close_matches(last, known, n=1)
    elsewhere = [name for name in all_keys() if name.endswith(f".{last}")]
    if close:
        hint = f"did you mean `{close[0]}`?"
    elif elsewhere:
        hint = f"did you mean `{elsewhere[0]}`?"
    else:
        hint = f"expected one of {', '.join(known)}" if known else "there is nothing to set here"
    return f"unknown key, {hint}" if around else f"unknown section, {hint}"


def _expected(path: Path, kind: str = "") -> str:
    key = key_at(path)
    if key is not None:
        if isinstance(path[-1], int):
            return key.expects.removeprefix(EACH_ITEM)
        of_items = {"too_long": ", and fewer of them", "too_short": ", at least one"}
        return key.expects + (of_items.get(kind, "") if key.expects.startswith(EACH_ITEM) else "")
    name = str(path[0]) if path else ""
    if name in lists():
        most = next(item.max_length for item in sections()[name].metadata if isinstance(item, annotated_types.MaxLen))
        return f"at most {most} tables [[{name}]]" if kind == "too_long" else f"tables [[{name}]]"
    return f"a table [{name}]"


def show(value: object) -> str:
    """Write a wrong value as TOML would, shortened, without a password that someone put into a URL."""
    if isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a huge number"
    if isinstance(value, str):
        return f'"{printable(re.sub(r"//[^/@]*@", "//[hidden]@", value))}"'
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a table" if isinstance(value, dict) else type(value).__name__
