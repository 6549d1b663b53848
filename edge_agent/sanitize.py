"""Text from a peer (phone, broker, screen, file) made fit for a log line or a terminal.

Whatever comes in, what goes out is one line of bounded length without control, format or bidirectional characters:
a phone cannot forge a log line, move the cursor of a technician's terminal, or fill the journal.
"""

ELLIPSIS = "..."


def printable(value: str | bytes | bytearray | memoryview, limit: int = 64) -> str:
    r"""Return ``value`` as one printable line of at most ``limit`` characters (at least 4).

    Bytes are read as UTF-8, bytes that are none become ``\xNN``; every character that is not printable
    (`str.isprintable`: control, format, surrogate, private use, line and paragraph separators) is written as its
    Python escape. A backslash is doubled, so that the escapes stay unambiguous. What is too long ends in ``...``.
    """
    limit = max(limit, len(ELLIPSIS) + 1)
    text = _as_text(value, limit)
    out: list[str] = []
    length = 0
    for char in text:
        shown = _shown(char)
        length += len(shown)
        if length > limit:
            return _cut(out, limit)
        out.append(shown)
    return "".join(out)


def _as_text(value: str | bytes | bytearray | memoryview, limit: int) -> str:
    # One character more than can be shown decides whether the end is cut; a longer input is never decoded whole.
    if isinstance(value, str):
        return value[: limit + 1]
    head = bytes(value[: 4 * (limit + 1)])
    # Strictly undecodable bytes become lone surrogates here, and \xNN in _shown.
    return head.decode("utf-8", errors="surrogateescape")[: limit + 1]


def _shown(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # PEP 383: a byte that is no UTF-8
    return char.encode("unicode_escape").decode("ascii")


def _cut(shown: list[str], limit: int) -> str:
    room = limit - len(ELLIPSIS)
    length = sum(map(len, shown))
    while length > room:
        length -= len(shown.pop())
    return "".join(shown) + ELLIPSIS
