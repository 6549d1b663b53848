"""Settings from environment variables: ``EDGE_AGENT__SECTION__KEY=value``, list items by number.

A value is read as TOML (``5``, ``true``, ``["a", "b"]``), and as plain text where the key holds text or TOML has no
reading: ``EDGE_AGENT__TERMINAL__ID=000123`` needs no quotes.
"""

import re
import tomllib
from collections.abc import Callable, Mapping

from edge_agent.config.origin import Origin, Path, Tree, dotted

ENV_PREFIX = "EDGE_AGENT__"
_MAX_VALUE_CHARS = 4096


def read_environment(env: Mapping[str, str], tree: Tree, is_text: Callable[[Path], bool]) -> list[str]:
    """Lay the environment over ``tree``; return one line for each variable that names no place."""
    problems = []
    named = [(_key_path(name), name) for name in env if name.startswith(ENV_PREFIX)]
    # Numbers by value, so that item 2 is there before item 10.
    for path, name in sorted(named, key=lambda item: [(isinstance(part, str), part) for part in item[0]]):
        if "" in path or len(path) < 2 or isinstance(path[0], int):
            problems.append(f"environment {name}: names no key, expected {ENV_PREFIX}SECTION__KEY")
        elif len(env[name]) > _MAX_VALUE_CHARS:
            problems.append(f"environment {name}: is longer than {_MAX_VALUE_CHARS} characters")
        else:
            origin = Origin(f"environment {name}")
            problem = _set(tree, path, _value(env[name], is_text=is_text(path)), origin)
            if problem:
                problems.append(f"{origin}: [{dotted(path)}] {problem}")
    return problems


def _key_path(name: str) -> Path:
    parts = name[len(ENV_PREFIX) :].lower().split("__")
    return tuple(int(part) if re.fullmatch("[0-9]{1,4}", part, re.ASCII) else part for part in parts)


def _value(text: str, *, is_text: bool) -> object:
    if is_text and not text.startswith(('"', "'")):
        return text
    try:
        # One key must come out: a line feed in the value must not smuggle in another statement.
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _set(tree: Tree, path: Path, value: object, origin: Origin) -> str:
    """Put ``value`` at ``path``, making tables and the next list item as needed. Returns what is wrong, or ''."""
    place: object = tree.values
    for index, part in enumerate(path[:-1]):
        fresh: object = [] if isinstance(path[index + 1], int) else {}
        below, problem = _step(place, part, fresh)
        if problem:
            return problem
        if below is fresh:
            tree.record(path[: index + 1], origin, fresh)
        place = below
    _, problem = _step(place, path[-1], value, replace=True)
    if not problem:
        tree.record(path, origin, value)
    return problem


def _step(place: object, part: str | int, value: object, *, replace: bool = False) -> tuple[object, str]:
    """Go to ``part`` of a table or list; ``value`` is put there if nothing is, or if ``replace``."""
    if isinstance(place, dict) and isinstance(part, str):
        if replace or part not in place:
            place[part] = value
        return place[part], ""
    if isinstance(place, list) and isinstance(part, int):
        if part > len(place):
            return None, f"there are {len(place)} items, expected a number from 0 to {len(place)}"
        if part == len(place):
            place.append(value)
        elif replace:
            place[part] = value
        return place[part], ""
    return None, "expected a number of a list item" if isinstance(place, list) else "expected the name of a key"
