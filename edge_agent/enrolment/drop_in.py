"""The one file by which an enrolment takes effect: a drop-in of the configuration, put in place in one step. Pure.

It names everything that belongs together, so that no power cut can leave half of it in force.
"""

import json
from dataclasses import dataclass

NAME = "50-enrolment.toml"


@dataclass(frozen=True, slots=True)
class DropIn:
    """What the enrolment decides about the configuration; paths are absolute."""

    terminal: str
    fleet: str
    host: str
    port: int
    ca: str
    cert: str
    key: str
    tap_key: str = ""
    """Empty: the signing key stays where the rest of the configuration says."""

    def values(self) -> dict[str, dict[str, object]]:
        """What it sets, section by section, as TOML is read."""
        made: dict[str, dict[str, object]] = {"terminal": {"id": self.terminal, "fleet": self.fleet}}
        if self.tap_key:
            made["keys"] = {"path": self.tap_key}
        made["uplink"] = {
            "host": self.host,
            "port": self.port,
            "tls": True,
            "ca": self.ca,
            "cert": self.cert,
            "key": self.key,
        }
        return made

    def text(self) -> str:
        """Return the TOML file."""
        lines = [
            "# Written by `edge-agent enrol`, which replaces it as a whole: put changes of yours into a later file,"
        ]
        lines.append("# such as 90-local.toml.")
        for section, keys in self.values().items():
            lines.append(f"\n[{section}]")
            # A JSON string without non-ASCII escapes above 0xFFFF is a TOML basic string, too (TOML 1.0).
            lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in keys.items()]
        return "\n".join(lines) + "\n"


def read_values(values: dict[str, object]) -> DropIn | None:
    """Take apart what ``values`` made; None if it is not whole, because somebody edited it."""
    flat: dict[str, object] = {}
    for section in ("terminal", "keys", "uplink"):
        table = values.get(section, {})
        if not isinstance(table, dict):
            return None
        flat |= {f"{section}.{name}": value for name, value in table.items()}
    port = flat.get("uplink.port")
    texts = [
        flat.get(name)
        for name in ("terminal.id", "terminal.fleet", "uplink.host", "uplink.ca", "uplink.cert", "uplink.key")
    ]
    tap_key = flat.get("keys.path", "")
    if type(port) is not int or not all(isinstance(text, str) and text for text in [*texts, "-"]):
        return None
    terminal, fleet, host, ca, cert, key = (str(text) for text in texts)
    return DropIn(terminal, fleet, host, port, ca, cert, key, str(tap_key))
