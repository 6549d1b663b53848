"""Effective settings as flat lists: each key with its value, where it came from, and what it replaced."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from edge_agent.config.catalog import all_keys, key_at
from edge_agent.config.load import Loaded
from edge_agent.config.origin import DEFAULT, Origin, dotted
from edge_agent.config.origin import Path as KeyPath

Value = str | int | float | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class Explained:
    """One effective setting. ``value`` None: left out. ``replaced`` are the values that lost, oldest first."""

    key: str
    value: Value
    origin: Origin
    expects: str
    description: str
    default: Value
    required: bool
    replaced: tuple[tuple[Origin, object], ...] = ()


def explain_all(loaded: Loaded) -> list[Explained]:
    """Return every effective setting in the order of the reference."""
    return [_explain(loaded, path, value) for path, value in _flat(loaded.settings, ())]


def explain(loaded: Loaded, name: str) -> list[Explained]:
    """Return what ``name`` means: a key (``uplink.host``, ``readers[0].device``) or all keys of a section.

    Empty when there is nothing of that name.
    """
    wanted = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", name.strip().strip("[]"))
    return [
        item
        for item in explain_all(loaded)
        if item.key == wanted
        or item.key.startswith((f"{wanted}.", f"{wanted}["))
        or re.sub(r"\[\d+\]", "", item.key) == wanted
    ]


def known_names() -> list[str]:
    """Every key as the reference writes it."""
    return list(all_keys())


def plain(value: object) -> Value:
    """Return a setting as TOML and JSON have it."""
    if isinstance(value, tuple | list):
        return [str(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"no setting: {type(value).__name__}")


def _flat(model: BaseModel, prefix: KeyPath) -> Iterator[tuple[KeyPath, Value]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        path = (*prefix, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, path)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                yield from _flat(item, (*path, index))
        elif key_at(path) is not None:
            yield path, plain(value)


def _explain(loaded: Loaded, path: KeyPath, value: Value) -> Explained:
    key = key_at(path)
    if key is None:
        raise LookupError(dotted(path))
    history = loaded.tree.origins.get(path, [])
    return Explained(
        key=dotted(path),
        value=value,
        origin=history[-1][0] if history else DEFAULT,
        expects=key.expects,
        description=key.description,
        default=plain(key.default),
        required=key.required,
        replaced=tuple(history[:-1]),
    )
