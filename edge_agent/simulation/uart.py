"""What a UART takes in that listens at another speed than the one its peer sends at. Pure; 8N1, no noise.

A receiver waits for a falling edge and samples from there in the middle of its own bits. A wrong stop bit does not
change the byte: Linux makes it a NUL only where INPCK is set (termios(3)), which no raw line has.
"""

from collections.abc import Iterator

_DATA_BITS = 8
_FRAME_BITS = 10


def received(data: bytes, *, sent_at: int, read_at: int) -> bytes:
    """Return what a UART at ``read_at`` baud makes of ``data``, sent without pauses at ``sent_at`` baud."""
    if sent_at == read_at:
        return data
    line = tuple(_bits(data))
    out = bytearray()
    at = 0.0  # in bits of the sender
    step = sent_at / read_at
    while (start := _falling_edge(line, at)) is not None:
        samples = [_level(line, start + (0.5 + bit) * step) for bit in range(_FRAME_BITS)]
        if samples[0]:  # a pulse too short for a start bit
            at = start + 0.5 * step
            continue
        out.append(sum(level << bit for bit, level in enumerate(samples[1 : 1 + _DATA_BITS])))
        at = start + (_FRAME_BITS - 0.5) * step
    return bytes(out)


def _bits(data: bytes) -> Iterator[int]:
    for byte in data:
        yield 0
        yield from ((byte >> bit) & 1 for bit in range(_DATA_BITS))
        yield 1


def _level(line: tuple[int, ...], at: float) -> int:
    return line[int(at)] if at < len(line) else 1  # an idle line is high


def _falling_edge(line: tuple[int, ...], after: float) -> int | None:
    """The next moment at which the line goes low; at the very beginning it came from high."""
    for bit in range(max(0, int(after)), len(line)):
        if line[bit] == 0 and bit >= after and (bit == 0 or line[bit - 1] == 1):
            return bit
    return None
