"""The copyright file: the agent's license, and of each bundled library its own, word for word."""

from pathlib import Path

from deb_recipe.bundled import Bundled

_HEAD = """\
edge-agent, the tap agent of a terminal
Copyright 2026 the edge-agent authors

License: Apache-2.0. On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.

Everything below /usr/lib/edge-agent but edge_agent and firmware_bridge is of others: libraries of Python, unmodified,
as published. Each with its license:
"""


# A license that every Debian system has is named, not told again (policy 12.5): its title -> its file.
_COMMON = {
    "Apache License Version 2.0": "Apache-2.0",
    "GNU GENERAL PUBLIC LICENSE Version 2": "GPL-2",
    "GNU GENERAL PUBLIC LICENSE Version 3": "GPL-3",
    "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1": "LGPL-2.1",
    "GNU LESSER GENERAL PUBLIC LICENSE Version 3": "LGPL-3",
}


def text_of(libraries: list[Bundled]) -> str:
    """The file's text. A license that several libraries share word for word is told once."""
    shown: dict[str, list[str]] = {}
    lines = [_HEAD]
    for library in libraries:
        lines.append(f"{library.name} {library.version}")
        lines.append(f"  License: {library.license}")
        lines.append(f"  Source: https://pypi.org/project/{library.name}/{library.version}/")
        if not library.texts:
            lines.append("  Its wheel has no license file; the sources' own headers tell copyright and license.")
        for path in library.texts:
            text = _text(path)
            shown.setdefault(text, []).append(f"{library.name} {path.name}")
        lines.append("")
    for text, where in shown.items():
        lines.extend(["-" * 78, ", ".join(where), "-" * 78, "", text, ""])
    return "\n".join(lines)


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").strip("\n")
    start = " ".join(text[:200].split())
    common = next((name for title, name in _COMMON.items() if start.startswith(title)), None)
    return f"The text is /usr/share/common-licenses/{common} on Debian systems." if common else text
