"""Where a value came from. Paths are tuples of keys and list indices, as pydantic's error locations are."""

from dataclasses import dataclass, field

from edge_agent.sanitize import printable

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """Write a path as people do, ``readers[0].device``; a key may be anything that a file holds, so it is sanitised."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return printable(text, limit=120)


@dataclass(frozen=True, slots=True)
class Origin:
    """One place that set a value: a file, with the line (from 1) if it is known, or an environment variable."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin("default")


@dataclass(slots=True)
class Tree:
    """Values merged so far, and for each path all its origins with their values, the winner last."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[Path, list[tuple[Origin, object]]] = field(default_factory=dict)

    def merge(self, values: dict[str, object], source: str, lines: dict[Path, int]) -> None:
        """Lay a file over what is there: tables key by key, lists as a whole."""
        self._merge(self.values, values, (), source, lines)

    def _merge(
        self, target: dict[str, object], values: dict[str, object], prefix: Path, source: str, lines: dict[Path, int]
    ) -> None:
        for key, value in values.items():
            path = (*prefix, key)
            self.record(path, Origin(source, lines.get(path)), value)
            if isinstance(value, dict):
                below = target.get(key)
                if not isinstance(below, dict):
                    below = target[key] = {}
                self._merge(below, value, path, source, lines)
            elif isinstance(value, list):
                self._forget_below(path)
                target[key] = [self._item(item, (*path, i), source, lines) for i, item in enumerate(value)]
            else:
                target[key] = value

    def _item(self, item: object, path: Path, source: str, lines: dict[Path, int]) -> object:
        self.record(path, Origin(source, lines.get(path)), item)
        if not isinstance(item, dict):
            return item
        copy: dict[str, object] = {}
        self._merge(copy, item, path, source, lines)
        return copy

    def _forget_below(self, path: Path) -> None:
        for known in [known for known in self.origins if len(known) > len(path) and known[: len(path)] == path]:
            del self.origins[known]

    def record(self, path: Path, origin: Origin, value: object) -> None:
        """Note that ``origin`` set ``path``."""
        self.origins.setdefault(path, []).append((origin, value))

    def origin_of(self, path: Path) -> Origin | None:
        """Who set ``path``, or the nearest table around it; None if nobody did."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]][-1][0]
        return None
