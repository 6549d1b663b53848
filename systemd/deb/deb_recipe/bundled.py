"""The libraries in the package by their own metadata: name, version, license, texts. It judges none of it."""

import re
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

_CLASSIFIER = "License :: OSI Approved :: "
_TEXTS = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "licenses/**/*")


@dataclass(frozen=True, slots=True)
class Bundled:
    """One library as it is in the package."""

    name: str
    """As the lock spells it: lower case, dashes."""
    version: str
    license: str
    is_expression: bool
    """Whether the license is an SPDX expression, not the free words of older metadata."""
    tags: frozenset[str]
    """For what its wheel was made, as `cp311-cp311-manylinux2014_x86_64`."""
    texts: tuple[Path, ...]
    """Files with its license."""


def libraries(packages: Path) -> list[Bundled]:
    """Every library in a site-packages folder but the agent itself, by name."""
    found = [_read(path) for path in packages.glob("*.dist-info")]
    return sorted((one for one in found if one.name != "edge-agent"), key=lambda one: one.name)


def normal(name: str) -> str:
    """A project's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(info: Path) -> Bundled:
    fields = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    wheel = HeaderParser().parsestr((info / "WHEEL").read_text(encoding="utf-8"))
    classified = [
        text.removeprefix(_CLASSIFIER) for text in fields.get_all("Classifier", []) if text.startswith(_CLASSIFIER)
    ]
    told = fields["License-Expression"] or " or ".join(classified) or fields["License"] or "not told"
    return Bundled(
        name=normal(fields["Name"]),
        version=fields["Version"],
        license=" ".join(told.split()),
        is_expression=fields["License-Expression"] is not None,
        tags=frozenset(wheel.get_all("Tag", [])),
        texts=tuple(sorted({path for pattern in _TEXTS for path in info.glob(pattern) if path.is_file()})),
    )
