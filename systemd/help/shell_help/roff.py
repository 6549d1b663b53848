"""Text for man(7): escapes what would be a request or another character, and builds a page out of sections.

Pure. A hyphen in an option is \\-, so that it can be copied off the page into a shell.
"""

import textwrap
from collections.abc import Iterable

_WIDTH = 78


def escaped(text: str) -> str:
    """Return ``text`` as it will be read, on one line, whatever it begins with."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{text}" if text[:1] in {".", "'"} else text


def quoted(text: str) -> str:
    """Return one argument of a macro."""
    return '"' + escaped(text).replace('"', "\\(dq") + '"'


def bold(text: str) -> str:
    """Return ``text`` to be typed as it stands."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    """Return ``text`` that stands for something else."""
    return f"\\fI{escaped(text)}\\fR"


def items(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return tagged paragraphs; the tags are roff already, the texts are plain."""
    return [line for tag, text in rows for line in (".TP", tag, escaped(text))]


def paragraphs(text: str) -> list[str]:
    """Return plain paragraphs, which an empty line parts."""
    found = [part for part in text.split("\n\n") if part.strip()]
    return [line for part in found for line in (".PP", escaped(part))][1:]


def filled(line: str) -> list[str]:
    """Return a line of the source in lines that a person can compare; man fills them again. A macro stays whole."""
    if line.startswith("."):
        return [line]
    rows = textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"\\&{row}" if row[0] in {".", "'"} else row for row in rows]
