"""The list of all keys, read off the models: for error lines, `config explain`, the reference page and its tests."""

import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_agent.config.model import Settings
from edge_agent.config.origin import Path as KeyPath
from edge_agent.config.values import Expects

EACH_ITEM = "a list, each item "


@dataclass(frozen=True, slots=True)
class Key:
    """One key; a list item's is written ``readers[].device``."""

    name: str
    description: str
    expects: str
    required: bool
    default: object
    holds_text: bool
    drivers: tuple[str, ...] = ()
    """The drivers of a reader, tag or screen that have this key; empty: not in such a list."""


@cache
def all_keys() -> dict[str, Key]:
    """Every key by name, in the order of the models; the same key of several drivers is one."""
    keys: dict[str, Key] = {}
    for key in _walk(Settings, ""):
        known = keys.get(key.name)
        if known is None:
            keys[key.name] = key
        else:
            expects = known.expects if known.expects == key.expects else _either(known.expects, key.expects)
            keys[key.name] = Key(
                key.name,
                known.description,
                expects,
                known.required and key.required,
                known.default,
                known.holds_text,
                known.drivers + key.drivers,
            )
    return keys


def _either(one: str, other: str) -> str:
    if one.startswith('"') and other.startswith('"'):  # a word of several
        return f"{one.replace(' or ', ', ')} or {other}"
    return f"{one} or {other}"


def pattern(path: KeyPath) -> str:
    """Name the key at ``path``: ``("readers", 0, "device")`` is ``readers[].device``; items of a list are its key."""
    name = ""
    for part in path:
        name += "[]" if isinstance(part, int) else f".{part}" if name else part
    return name.removesuffix("[]")


def key_at(path: KeyPath) -> Key | None:
    """Return the key that ``path`` names, if there is one."""
    return all_keys().get(pattern(path))


def holds_text(path: KeyPath) -> bool:
    """Whether the value at ``path`` is text, so that 000123 or true needs no quotes in the environment."""
    key = key_at(path)
    return key is not None and (key.holds_text or isinstance(path[-1], int))


def sections() -> dict[str, FieldInfo]:
    """Top-level tables."""
    return dict(Settings.model_fields)


@cache
def lists() -> frozenset[str]:
    """The top-level names that are lists of tables, ``[[readers]]``."""
    return frozenset(name for name, info in sections().items() if get_origin(info.annotation) is tuple)


@cache
def lists_of_drivers() -> frozenset[str]:
    """Those of them whose tables have a ``driver`` that decides on the other keys."""
    return frozenset(name for name in lists() if f"{name}[].driver" in all_keys())


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        models = list(_models(info.annotation))
        for below in models:
            is_list = get_origin(info.annotation) is tuple
            yield from _walk(below, f"{prefix}{name}[]." if is_list else f"{prefix}{name}.")
        if not models:
            yield _key(model, prefix, name, info)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the section models inside an annotation."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    if get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from _models(inner)


def _key(model: type[BaseModel], prefix: str, name: str, info: FieldInfo) -> Key:
    drivers: tuple[str, ...] = ()
    if "driver" in model.model_fields:
        drivers = get_args(model.model_fields["driver"].annotation)
    return Key(
        name=prefix + name,
        description=info.description or "",
        expects=_expects(info.annotation, info.metadata),
        required=info.is_required(),
        default=None if info.is_required() else info.default,
        holds_text=_plain(info.annotation) in {str, Path},
        drivers=drivers,
    )


def _plain(annotation: object) -> object:
    """Strip Annotated and `| None`; a Literal of strings is text."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return _plain(next(arg for arg in get_args(annotation) if arg is not type(None)))
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return tuple
    return annotation


def _expects(annotation: object, metadata: Sequence[object]) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [part for item in args[1:] for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _expects(args[0], [*inner, *metadata])
    if origin in {Union, types.UnionType}:
        return _expects(next(arg for arg in args if arg is not type(None)), metadata)
    said = next((item.text for item in metadata if isinstance(item, Expects)), None)
    return said or _expects_kind(annotation, args, metadata)


def _expects_kind(annotation: object, args: tuple[object, ...], metadata: Sequence[object]) -> str:
    if get_origin(annotation) is Literal:
        choices = [json.dumps(choice) for choice in args]
        return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
    if get_origin(annotation) is tuple:
        return EACH_ITEM + _expects(args[0], [])
    if annotation in {int, float}:
        return ("a whole number" if annotation is int else "a number") + _bounds(metadata)
    return "true or false" if annotation is bool else "text"


def _bounds(metadata: Sequence[object]) -> str:
    low = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    high = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    return f" from {low} to {high}"
