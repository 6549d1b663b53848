"""JSON as the contract allows it: small, one object, no duplicate keys, no NaN, exact types, values in range.

What a peer sent is never repaired and never guessed at: the answer is a value or a WireError that says why not.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from edge_agent.errors import UplinkError

T = TypeVar("T")

MAX_DEPTH = 8
"""Objects and arrays within each other, the outermost counted."""

# Format characters (Cf) stay allowed: Persian and Indic text for the screen cannot be written without joiners.
_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})


class WireError(UplinkError):
    """Bytes that are no payload of the contract; the text is one line and quotes no more than names of fields."""

    code = "wire"


def load_object(payload: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Decode one JSON object of at most ``max_bytes`` bytes; raises WireError."""
    if len(payload) > max_bytes:
        raise WireError(f"{len(payload)} bytes, at most {max_bytes} are allowed")
    try:
        value = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise WireError("not UTF-8") from error
    except RecursionError as error:
        raise WireError("nested too deeply") from error
    except ValueError as error:
        raise WireError("not JSON") from error
    if not isinstance(value, dict):
        raise WireError("not a JSON object")
    _check_depth(value)
    return value


def dump_object(value: Mapping[str, Any], *, max_bytes: int) -> bytes:
    """Encode without blanks, keys in the given order; raises WireError if larger than ``max_bytes``."""
    _check_depth(value)
    try:
        payload = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError) as error:
        raise WireError(f"cannot be JSON: {type(error).__name__}") from error
    if len(payload) > max_bytes:
        raise WireError(f"{len(payload)} bytes, at most {max_bytes} are allowed")
    return payload


def take_text(source: Mapping[str, Any], key: str, *, longest: int, shortest: int = 1) -> str:
    """One line of ``shortest`` to ``longest`` characters: no control characters, separators or lone surrogates."""
    value = _required(source, key, str)
    if not shortest <= len(value) <= longest:
        raise WireError(f"{key} has {len(value)} characters, {shortest} to {longest} are allowed")
    if any(unicodedata.category(char) in _NOT_IN_A_LINE for char in value):
        raise WireError(f"{key} has control characters")
    return value


def take_int(source: Mapping[str, Any], key: str, *, lowest: int, highest: int) -> int:
    """An integer in the closed range; true and 1.0 are no integers."""
    value = _required(source, key, int)
    if not lowest <= value <= highest:
        raise WireError(f"{key} is out of range {lowest} to {highest}")
    return value


def take_hex(source: Mapping[str, Any], key: str, *, size: int) -> bytes:
    """``size`` bytes as lowercase hex."""
    value = _required(source, key, str)
    if len(value) != 2 * size or any(digit not in "0123456789abcdef" for digit in value):
        raise WireError(f"{key} is not {size} bytes in lowercase hex")
    return bytes.fromhex(value)


def take_object(source: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A nested object; its own fields are the caller's business."""
    return _required(source, key, dict)


def take_list(source: Mapping[str, Any], key: str, *, longest: int) -> list[Any]:
    """A list of at most ``longest`` items."""
    value = _required(source, key, list)
    if len(value) > longest:
        raise WireError(f"{key} has {len(value)} items, at most {longest} are allowed")
    return value


def _check_depth(value: object) -> None:
    """The same limit on every interpreter: how deep the JSON library itself can go differs between them."""
    layer = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in layer:
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        if not inner:
            return
        layer = inner
    if any(isinstance(item, Mapping | list | tuple) for item in layer):
        raise WireError("nested too deeply")


def _required(source: Mapping[str, Any], key: str, kind: type[T]) -> T:
    if key not in source:
        raise WireError(f"{key} is missing")
    value = source[key]
    # type() and not isinstance(): True is an int to Python, but not to JSON.
    if type(value) is not kind:
        raise WireError(f"{key} is not of type {kind.__name__}")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise WireError("duplicate keys")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise WireError("a number is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise WireError(f"{name} is no JSON number")
