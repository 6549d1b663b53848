"""The lines of the configuration for a reader that was found, ready to be pasted. Pure.

Everything in them is what `edge-agent config check` takes; keys that have their default value are left out.
"""

from collections.abc import Collection

from edge_agent.readers.profiles.base import ProfileSettings

_DEFAULTS = ProfileSettings()


def table(name: str, driver: str, **values: str | int) -> list[str]:
    """Return one [[readers]] table, the values in their order."""
    rows = {"name": name, "driver": driver, **values}
    return ["[[readers]]", *(f"{key} = {_toml(value)}" for key, value in rows.items())]


def pn532(name: str, device: str) -> list[str]:
    """A PN532 on a serial line; its speed is left as it is delivered."""
    return table(name, "pn532", device=device)


def serial(name: str, device: str, baud: int, settings: ProfileSettings) -> list[str]:
    """A reader with a protocol of its own."""
    values: dict[str, str | int] = {"device": device, "baud": baud, "profile": settings.profile}
    if settings.profile == "aa_bb":
        values |= {
            key: value.hex().upper() if isinstance(value, bytes) else value
            for key in ("head", "tail", "length", "checksum")
            if (value := getattr(settings, key)) != getattr(_DEFAULTS, key)
        }
    return table(name, "serial", **values)


def pcsc(name: str, reader: str) -> list[str]:
    """A reader that pcscd knows."""
    return table(name, "pcsc", reader=reader)


def free_name(kind: str, taken: Collection[str]) -> str:
    """Return the first of ``kind``0, ``kind``1 ... that nobody has."""
    return next(name for number in range(len(taken) + 1) if (name := f"{kind}{number}") not in taken)


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
