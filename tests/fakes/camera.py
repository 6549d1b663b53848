"""What a phone's camera makes of a QR code: an independent decoder (zxing-cpp) over grey pixels."""

from collections.abc import Sequence

import zxingcpp

QUIET = 4
"""Modules of white around a code (ISO/IEC 18004)."""


def read_grey(pixels: bytes, width: int, height: int) -> list[str]:
    """Return the texts of all codes in a picture of one byte for each pixel."""
    picture = memoryview(pixels).cast("B", (height, width))
    # QR alone: among its modules there may be what could be taken for the bars of another code.
    return [found.text for found in zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)]


def read_rows(rows: Sequence[str], *, scale: int = 4) -> list[str]:
    """Return the texts of a code given as rows of "0" and "1", printed with its quiet zone."""
    margin = b"\xff" * (QUIET * scale)
    white = b"\xff" * ((len(rows) + 2 * QUIET) * scale) * (QUIET * scale)
    lines = (margin + b"".join((b"\xff", b"\x00")[module == "1"] * scale for module in row) + margin for row in rows)
    side = (len(rows) + 2 * QUIET) * scale
    return read_grey(white + b"".join(line * scale for line in lines) + white, side, side)
