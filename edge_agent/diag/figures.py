"""Numbers out of files and programs of the system, which may say anything. Pure."""

import re

_WHOLE = {10: re.compile(r"-?[0-9]{1,19}"), 16: re.compile(r"(?:0[xX])?[0-9a-fA-F]{1,16}")}


def whole(text: str | None, base: int = 10) -> int | None:
    """Return the whole number that ``text`` is, of at most 64 bits and to this base (10 or 16); None for all else."""
    return int(text, base) if text is not None and _WHOLE[base].fullmatch(text) else None
