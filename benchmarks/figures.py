"""One measured figure and the bound that it is held to; ``run()`` of each benchmark module returns a list of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A value, its unit, and in words the bound of the issue; ``ok`` is None where nothing is promised."""

    name: str
    value: float
    unit: str
    bound: str = ""
    ok: bool | None = None
