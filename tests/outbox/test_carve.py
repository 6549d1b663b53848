"""Whatever stands in the bytes: it never raises, and every row whose page is whole is found to the byte."""

import random
import struct
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.outbox import carve, raw_file
from edge_agent.outbox.base import Hole
from edge_agent.outbox.connection import PAGE_SIZE, wal_path
from edge_agent.outbox.database import Database, row_key
from edge_agent.outbox.raw_file import pieces
from tests.fakes.outbox_taps import PLAIN, plain_gap

LEAF = 0x0D


def random_tokens(count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.choice((1, 57, 58, 59, 200, 230, 248, 700))) for _ in range(count)]


def filled(path: Path, tokens: list[bytes], *, number: int = 1, exp: int = 1_790_000_000) -> Database:
    """A database whose rows hold these tokens, half of them still in its WAL only."""
    database = Database(path, PLAIN)
    run = database.connection.executemany
    rows = [(row_key(number, seq), exp + seq, token) for seq, token in enumerate(tokens, 1)]
    run("INSERT INTO rows (key, exp, token) VALUES (?, ?, ?)", rows[::2])
    database.checkpoint()
    run("INSERT INTO rows (key, exp, token) VALUES (?, ?, ?)", rows[1::2])
    return database


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        value, at = value << 7 | data[at] & 0x7F, at + 1
        if data[at - 1] < 0x80:
            return value, at


def leaf_rows(page: bytes) -> set[int]:
    """Keys in one sound leaf page, read as the file format says: an independent reader for these tests."""
    if page[0] != LEAF:
        return set()
    (cells,) = struct.unpack(">H", page[3:5])
    starts = [at for (at,) in struct.iter_unpack(">H", page[8 : 8 + 2 * cells])]
    return {varint(page, varint(page, at)[1])[0] for at in starts}


def carved(*files: Path) -> dict[int, carve.CarvedRow]:
    return {row.key: row for file in files for piece in pieces(file) for row in carve.rows(piece.data, piece.seen)}


@given(st.binary(max_size=4096))
def test_bytes_at_random_are_no_error(data: bytes) -> None:
    list(carve.rows(data)), list(carve.chains(data)), list(carve.gaps(data))


@given(st.data())
def test_bytes_that_look_like_records_are_no_error(data: st.DataObject) -> None:
    headers = [b"\x05\x00\x04\x83\x58", b"\x04\x00\x06\x7e", b"\x08\x00\x1c\x08\x04\x01\x06\x2c"]
    headers.append(b"\x09\x00\x09\x13\x01\x02\x07\x83\x58")
    parts = data.draw(st.lists(st.sampled_from(headers) | st.binary(max_size=40), max_size=12))
    joined = b"".join(parts)
    list(carve.rows(joined)), list(carve.chains(joined)), list(carve.gaps(joined))


@pytest.mark.parametrize("number", [1, 3, 256, 65535])
@pytest.mark.parametrize("exp", [0, 1, 100, 40_000, 1_790_000_000, 2**33, 2**50])
def test_every_row_of_a_sound_file_is_found(tmp_path: Path, number: int, exp: int) -> None:
    tokens = random_tokens(40, seed=number + exp)
    database = filled(tmp_path / "a.db", tokens, number=number, exp=exp - 1)
    found = carved(tmp_path / "a.db", wal_path(tmp_path / "a.db"))
    assert [found[row_key(number, seq)].token for seq in range(1, 41)] == tokens
    assert found[row_key(number, 1)].exp == exp
    assert len(found) == 40, "and nothing else"
    database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_row_whose_page_is_whole_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.db"
    for file in (path, wal_path(path)):
        file.unlink(missing_ok=True)
    tokens = random_tokens(60, seed=data.draw(st.integers(0, 5)))
    filled(path, tokens).close()
    raw = bytearray(path.read_bytes())
    harmed = set()
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        garbage = data.draw(st.binary(min_size=1, max_size=64))
        raw[at : at + len(garbage)] = garbage[: len(raw) - at]
        harmed |= {at // PAGE_SIZE, min(at + len(garbage), len(raw) - 1) // PAGE_SIZE}
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    path.write_bytes(raw)
    found = carved(path)
    for number in set(range(len(raw) // PAGE_SIZE)) - harmed:
        for key in leaf_rows(bytes(raw[number * PAGE_SIZE : (number + 1) * PAGE_SIZE])):
            if key >> 40:
                assert found[key].token == tokens[(key & 0xFFFFFFFF) - 1]


def test_a_row_is_found_once_wherever_the_piece_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = filled(tmp_path / "a.db", random_tokens(700, seed=1))
    monkeypatch.setattr(raw_file, "PIECE_BYTES", 1000)
    for file in (tmp_path / "a.db", wal_path(tmp_path / "a.db")):
        whole = [row.key for row in carve.rows(file.read_bytes())]
        assert [row.key for piece in pieces(file) for row in carve.rows(piece.data, piece.seen)] == whole
        assert len(whole) > 300
    database.close()


class FailingFile(FileIO):
    """Its second block cannot be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        if at < 8192 and at + (size or 0) > 4096:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_what_the_medium_cannot_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20_000)
    (tmp_path / "a").write_bytes(data)
    with FailingFile(str(tmp_path / "a")) as file:
        found, unreadable = raw_file._read(file, 0)
    assert unreadable == 4096
    assert found == data[:4096] + bytes(4096) + data[8192:]


def test_a_row_whose_lengths_do_not_agree_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path / "a.db", [b"t" * 200]).close()
    raw = (tmp_path / "a.db").read_bytes()
    at = raw.index(b"\x05\x00\x04")
    length = at - 8  # two bytes of length, six of rowid
    assert len(list(carve.rows(raw))) == 1
    changed = bytearray(raw)
    changed[length + 1] ^= 1
    assert list(carve.rows(bytes(changed))) == []


def test_chains_and_gap_records_are_found(tmp_path: Path) -> None:
    database = filled(tmp_path / "a.db", [b"t" * 200] * 3)
    (chain,) = database.chains()
    run = database.connection.execute
    run("UPDATE chains SET first_seq = 2, next_seq = 70000, head = ?", (b"h" * 16,))
    records = [plain_gap(Hole(chain.id, first, first + 3, b"p" * 16, b"h" * 16, "full")) for first in (1, 300, 70_000)]
    for first, sent_at, token in zip((1, 300, 70_000), (None, 5.0, 5.5), records, strict=True):
        run(
            "INSERT INTO records (chain, kind, first, last, sent_at, token) VALUES (1, 'gap', ?, ?, ?, ?)",
            (first, first + 3, sent_at, token),
        )
    database.close()
    raw = (tmp_path / "a.db").read_bytes()
    assert carve.CarvedChain(chain.id, 2, 70_000, b"h" * 16) in list(carve.chains(raw))
    assert set(carve.gaps(raw)) == set(records)
