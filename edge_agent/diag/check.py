"""One check: what it looks at, what it may find, and how it looks. Each is a module of edge_agent.diag.checks.

A module ``checks/ROOM/NAME.py`` has one ``CHECK`` with the id NAME (hyphens for underscores). Importing it must be
cheap: what is slow to import is imported inside ``look``.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from edge_agent.diag import checks
from edge_agent.diag.finding import Finding, Kind, Seen
from edge_agent.diag.site import Site

ROOMS = ("host", "devices", "delivery")
"""In the order in which they are shown: from the ground up."""


@dataclass(frozen=True, slots=True)
class Check:
    """``look`` yields what it sees; it may raise NotHere, CannotLook or any EdgeAgentError or OSError."""

    id: str
    about: str
    """What it looks at, a few words: "the clock is synchronised"."""
    kinds: tuple[Kind, ...]
    look: Callable[[Site], Iterable[Finding | Seen]]
    room: str = ""
    """Filled in by `all_checks`."""


@cache
def all_checks() -> tuple[Check, ...]:
    """Import every check, in the order of the rooms and then of their names."""
    return tuple(_find())


@cache
def all_kinds() -> dict[str, Kind]:
    """Return every kind of finding by its id, those of the runner included."""
    from edge_agent.diag.runner import KINDS  # noqa: PLC0415 -- the runner imports this module

    found: dict[str, Kind] = {kind.id: kind for kind in KINDS}
    for check in all_checks():
        found |= {kind.id: kind for kind in check.kinds}
    return found


def _find() -> Iterator[Check]:
    for room in ROOMS:
        package = importlib.import_module(f"{checks.__name__}.{room}")
        for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            check: Check = importlib.import_module(f"{package.__name__}.{module}").CHECK
            yield Check(check.id, check.about, check.kinds, check.look, room)
