import io
import re
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.export_file import FORMAT, SUFFIXES, ExportHeader, ExportItem, read_export, write_export
from edge_agent.uplink.wire import WireError

HEADER = ExportHeader("sh", "sh-000123-a", 1_790_000_000)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=24)
HEADERS = st.builds(ExportHeader, NAMES, NAMES, st.integers(0, 2**64 - 1))
ITEMS = st.builds(ExportItem, st.sampled_from(SUFFIXES), st.binary(min_size=1, max_size=248))


def written(items: list[ExportItem], header: ExportHeader = HEADER) -> bytes:
    stream = io.BytesIO()
    assert write_export(stream, header, iter(items)) == len(items)
    return stream.getvalue()


def read(data: bytes) -> tuple[ExportHeader, list[ExportItem]]:
    header, items = read_export(io.BytesIO(data))
    return header, list(items)


def taps(count: int) -> list[ExportItem]:
    return [ExportItem("evt/tap", bytes([number]) * 200) for number in range(count)]


@given(HEADERS, st.lists(ITEMS, max_size=8))
def test_what_was_written_is_read(header: ExportHeader, items: list[ExportItem]) -> None:
    assert read(written(items, header)) == (header, items)


@given(HEADERS, st.lists(ITEMS, max_size=8))
def test_any_cbor_library_can_read_it_and_would_write_the_same(header: ExportHeader, items: list[ExportItem]) -> None:
    data = written(items, header)
    stream = io.BytesIO(data)
    found = [cbor2.load(stream) for _ in range(len(items) + 2)]
    assert stream.read() == b""
    assert found[0] == {"format": FORMAT, "fleet": header.fleet, "terminal": header.terminal, "at": header.at}
    assert found[1:-1] == [[item.suffix, item.content] for item in items]
    assert found[-1] == ["end", len(items)]
    assert b"".join(cbor2.dumps(value, canonical=True) for value in found) == data


def as_far_as_it_goes(data: bytes) -> tuple[list[ExportItem], str]:
    """The items before the file goes wrong, and what is said then."""
    good: list[ExportItem] = []
    try:
        good.extend(read_export(io.BytesIO(data))[1])
    except WireError as error:
        return good, error.text
    return good, ""


@given(st.lists(ITEMS, max_size=4), st.data())
def test_a_cut_is_always_noticed_and_the_good_items_are_counted(items: list[ExportItem], data: st.DataObject) -> None:
    whole = written(items)
    good, said = as_far_as_it_goes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert said.endswith("the file is cut short")
    assert good == items[: len(good)]
    if not said.startswith("this is no"):
        assert re.match(rf"after {len(good)} good items?: ", said)


@pytest.mark.parametrize(("lost", "count"), [(1, 3), (6, 3), (7, 2), (300, 1)])
def test_a_torn_file_gives_the_items_before_the_tear(lost: int, count: int) -> None:
    good, said = as_far_as_it_goes(written(taps(3))[:-lost])
    assert good == taps(count)
    assert said == f"after {count} good item{'s' if count > 1 else ''}: the file is cut short"


def head_of(**fields: object) -> bytes:
    whole = {"at": 1, "fleet": "sh", "format": FORMAT, "terminal": "t-1"} | fields
    return cbor2.dumps(whole, canonical=True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut short"),
        (b"SQLite format 3\x00", "none of an export"),
        (b"\xd2\x84\x43\xa1\x01\x27", "none of an export"),
        (head_of(format="tap-export/2"), "its format is not tap-export/1"),
        (head_of(format="x" * 33), "33 bytes, at most 32"),
        (head_of(more=1), "the header is another"),
        (head_of(at="now"), "none of an export"),
        (head_of(at=-1), "none of an export"),
        (head_of(at=1.5), "none of an export"),
        (head_of(fleet="SH"), "fleet is not"),
        (head_of(fleet="é"), "not ASCII"),
        (head_of(terminal=""), "terminal is not"),
        (b"\xbf" + head_of()[1:] + b"\xff", "none of an export"),
        (b"\xa4\x62at\x18\x01" + head_of()[5:], "shortest form"),
    ],
)
def test_a_foreign_file_is_told_before_its_first_item(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=r"this is no tap-export/1 file") as refused:
        read_export(io.BytesIO(data))
    assert why in refused.value.text


GOOD = cbor2.dumps(["evt/tap", b"t"])


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (cbor2.dumps(["evt/tap", b""]), "0 bytes, 1 to 248"),
        (cbor2.dumps(["evt/tap", bytes(249)]), "249 bytes, 1 to 248"),
        (b"\x82\x67evt/tap\x5b" + b"\xff" * 8, "bytes, 1 to 248"),
        (b"\x82\x67evt/tap\x5f\x41\x00\xff", "none of an export"),
        (cbor2.dumps(["evt/tap", "text"]), "none of an export"),
        (cbor2.dumps(["evt/tap"]), "none of an export"),
        (cbor2.dumps(["evt/tap", b"t", 1]), "none of an export"),
        (cbor2.dumps(["evt/new", b"t"]), "unknown kind"),
        (cbor2.dumps(["evt/alarms", b"t"]), "10 bytes, at most 7"),
        (cbor2.dumps(["end", 3]), "the end of the file counts 3"),
        (cbor2.dumps(["end", 2]) + b"\x00", "more bytes follow the end"),
        (cbor2.dumps(["end", 2]) + head_of(), "more bytes follow the end"),
        (head_of(), "none of an export"),
    ],
)
def test_what_is_wrong_behind_good_items_is_told_with_their_number(tail: bytes, why: str) -> None:
    _, items = read_export(io.BytesIO(head_of() + GOOD * 2 + tail))
    assert [next(items).content, next(items).content] == [b"t", b"t"]
    with pytest.raises(WireError, match=r"^after 2 good items: ") as refused:
        list(items)
    assert why in refused.value.text


@given(st.binary(max_size=300) | st.binary(max_size=120).map(lambda tail: head_of() + GOOD + tail))
def test_any_bytes_give_items_or_a_reason(data: bytes) -> None:
    with suppress(WireError):
        header, items = read(data)
        assert written(items, header) == data


@given(st.lists(ITEMS, min_size=1, max_size=3), st.data())
def test_a_changed_byte_never_gives_anything_but_items_or_a_reason(
    items: list[ExportItem], data: st.DataObject
) -> None:
    whole = bytearray(written(items))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with suppress(WireError):
        header, found = read(bytes(whole))
        assert written(found, header) == whole


@pytest.mark.parametrize(
    "item", [ExportItem("evt/tap", b""), ExportItem("evt/gap", bytes(249)), ExportItem("evt/batch", b"x")]
)
def test_what_may_not_be_in_an_export_is_not_written(item: ExportItem) -> None:
    with pytest.raises(WireError, match="no place in an export"):
        write_export(io.BytesIO(), HEADER, [item])


@pytest.mark.parametrize("header", [ExportHeader("", "t", 1), ExportHeader("f", "T", 1), ExportHeader("f", "t", -1)])
def test_a_header_that_nobody_could_read_is_not_written(header: ExportHeader) -> None:
    with pytest.raises(WireError):
        write_export(io.BytesIO(), header, [])


class Trickle(io.RawIOBase):
    """Gives one byte for each read, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.largest = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size)
        return self._data.read(min(size, 1))


def test_it_streams_whatever_the_file_claims() -> None:
    source = Trickle(written(taps(3)))
    header, items = read_export(source)  # type: ignore[arg-type] # a raw stream is all that it needs
    assert (header, list(items)) == (HEADER, taps(3))
    assert source.largest <= 248
