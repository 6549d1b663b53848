"""Text of a peer: nothing that steers a terminal or a reader's eye gets through."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.printable import fit_utf8, printable


@given(st.one_of(st.text(), st.binary()), st.integers(min_value=1, max_value=80))
def test_is_short_and_free_of_control_characters(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert not any(unicodedata.category(char)[0] == "C" for char in shown)


def test_keeps_what_people_read() -> None:
    assert printable("谢谢 ¥2.00") == "谢谢 ¥2.00"
    assert printable(b"v1\x1b[31m") == "v1?[31m"
    assert printable("right\u202eleft") == "right?left"
    assert printable("x" * 65) == "x" * 63 + "…"


@given(st.text(), st.integers(min_value=0, max_value=70))
def test_fits_whole_characters(text: str, size: int) -> None:
    data = fit_utf8(text, size)
    assert len(data) <= size
    assert text.encode("utf-8", errors="replace").startswith(data)
    data.decode("utf-8")
