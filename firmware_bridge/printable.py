"""Text from a peer, made safe to print, log or show. Must never let a control or direction character through."""

import unicodedata

# Cc control, Cf format (bidi overrides, zero width), Cs surrogate, Co private use, Cn unassigned, Zl/Zp separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str | bytes, limit: int = 64) -> str:
    """Return at most ``limit`` characters; what cannot be shown becomes "?", a cut is marked with "…"."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    shown = "".join("?" if unicodedata.category(char) in _UNSAFE else char for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def fit_utf8(text: str, size: int) -> bytes:
    """Return the longest beginning of ``text`` that takes at most ``size`` bytes, never half a character."""
    data = text.encode("utf-8", errors="replace")
    if len(data) <= size:
        return data
    return data[:size].decode("utf-8", errors="ignore").encode("utf-8")
