"""The walk over a chain: whatever happened to it in good order holds, and whatever was done to it does not."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli.outbox_check import Broken, ChainCheck, Signed
from edge_agent.models import FIRST_PREV, ChainPosition
from edge_agent.outbox.base import GapRecord, Head, StoredRow
from edge_agent.tokens.chain import Gap, seal_record
from edge_agent.tokens.sign1 import link_hash
from edge_agent.tokens.tap_token import make_sealer
from tests.fakes.token_samples import CHAIN, ED25519, FLEET, NOW, OTHER_ED25519, TERMINAL, tap, token

LENGTH = 12
SIGNED = Signed({ED25519.kid: ED25519.public}, FLEET, TERMINAL)


def tokens_of(length: int, chain: bytes = CHAIN) -> list[bytes]:
    seal, prev, found = make_sealer(ED25519, FLEET, TERMINAL), FIRST_PREV, []
    for seq in range(1, length + 1):
        found.append(seal(tap(), ChainPosition(chain, seq, prev)))
        prev = link_hash(found[-1])
    return found


TOKENS = tokens_of(LENGTH)
HASHES = [FIRST_PREV, *map(link_hash, TOKENS)]
"""By seq; of seq 0 it is zeros."""


def row(seq: int, content: bytes | None = None) -> StoredRow:
    return StoredRow(CHAIN, seq, "pending", "", NOW + 90, TOKENS[seq - 1] if content is None else content)


def gap_of(first: int, last: int, key: object = ED25519, **changes: object) -> GapRecord:
    told = Gap(TERMINAL, NOW, CHAIN, first, last, HASHES[first - 1], HASHES[last], "evicted")
    told = replace(told, **changes)  # type: ignore[arg-type] # the fields of a gap
    return GapRecord(first, CHAIN, first, last, seal_record(told, key, FLEET, TERMINAL))  # type: ignore[arg-type] # a key


@dataclass
class History:
    """What is on disk of one chain: rows by seq, gap records, and seqs that are known to be gone."""

    rows: dict[int, StoredRow]
    gaps: list[GapRecord]
    gone: set[int]
    end: int = LENGTH
    head: Head | None = None
    first: int = 1

    def check(self) -> ChainCheck:
        def gone_until(seq: int) -> int:
            last = seq - 1
            while last + 1 in self.gone:
                last += 1
            return last if last >= seq else 0

        head = self.head or Head(CHAIN, self.end, HASHES[self.end])
        check = ChainCheck(SIGNED, first=self.first, gaps=self.gaps, gone_until=gone_until, head=head)
        for seq in sorted(self.rows):
            check.row(self.rows[seq])
        check.end(self.end)
        return check


FATES = st.lists(st.sampled_from(["here", "gone", "given up"]), min_size=LENGTH, max_size=LENGTH)


def history(fates: list[str]) -> History:
    """Rows that were delivered and deleted, evicted with a gap record for each run, or are still here."""
    found = History({}, [], set())
    run: list[int] = []
    for seq, fate in enumerate([*fates, "end"], start=1):
        if fate != "given up" and run:
            found.gaps.append(gap_of(run[0], run[-1]))
            run = []
        if fate == "here":
            found.rows[seq] = row(seq)
        elif fate == "gone":
            found.gone.add(seq)
        elif fate == "given up":
            run.append(seq)
    return found


@given(FATES)
def test_whatever_became_of_rows_in_good_order_the_chain_holds(fates: list[str]) -> None:
    check = history(fates).check()
    assert check.rows == fates.count("here")
    assert check.given_up == fates.count("given up")


@given(FATES, st.data())
def test_a_row_that_disappears_is_always_noticed(fates: list[str], data: st.DataObject) -> None:
    found = history(fates)
    if found.rows:
        seq = data.draw(st.sampled_from(sorted(found.rows)))
        del found.rows[seq]
        with pytest.raises(Broken, match=rf"^row {seq} is missing, and no gap record tells of it"):
            found.check()


@given(FATES, st.data())
def test_a_changed_byte_is_always_noticed(fates: list[str], data: st.DataObject) -> None:
    found = history(fates)
    if found.rows:
        seq = data.draw(st.sampled_from(sorted(found.rows)))
        changed = bytearray(TOKENS[seq - 1])
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        found.rows[seq] = row(seq, bytes(changed))
        with pytest.raises(Broken, match=rf"^row {seq} "):
            found.check()


def here(first: int = 1) -> History:
    return History({seq: row(seq) for seq in range(first, LENGTH + 1)}, [], set(range(1, first)), first=first)


def other_chain(found: History) -> None:
    found.rows[5] = row(5, tokens_of(5, b"otherone")[-1])


def swapped(found: History) -> None:
    found.rows[5], found.rows[6] = row(5, TOKENS[5]), row(6, TOKENS[4])


def re_signed(found: History) -> None:
    seal = make_sealer(OTHER_ED25519, FLEET, TERMINAL)
    found.rows[5] = row(5, seal(tap(), ChainPosition(CHAIN, 5, HASHES[4])))


def forged_link(found: History) -> None:
    seal = make_sealer(ED25519, FLEET, TERMINAL)
    found.rows[5] = row(5, seal(tap(), ChainPosition(CHAIN, 5, b"x" * 16)))


def issued_twice(found: History) -> None:
    seal = make_sealer(ED25519, FLEET, TERMINAL)
    found.rows[5] = row(5, seal(tap(rtt_ms=99), ChainPosition(CHAIN, 5, HASHES[4])))


def other_terminal(found: History) -> None:
    seal = make_sealer(ED25519, FLEET, "sh-000999-z")
    found.rows[5] = row(5, seal(tap(), ChainPosition(CHAIN, 5, HASHES[4])))


def misnamed(found: History) -> None:
    found.rows[5] = row(5, token(seq=5, prev=HASHES[4], iss="sh-000999-z"))


def cut_off(found: History) -> None:
    del found.rows[LENGTH]


def grown_behind_its_end(found: History) -> None:
    found.head = Head(CHAIN, LENGTH, b"h" * 16)


def on_no_disk(found: History) -> None:
    found.rows[5] = row(5, b"")


def gap(**changes: object) -> Callable[[History], None]:
    def change(found: History) -> None:
        for seq in (5, 6):
            del found.rows[seq]
        found.gaps.append(gap_of(5, 6, **changes))

    return change


def relabelled_gap(found: History) -> None:
    gap()(found)
    found.gaps[0] = replace(found.gaps[0], token=gap_of(4, 6).token)


def forged_gap(found: History) -> None:
    gap()(found)
    token = found.gaps[0].token
    found.gaps[0] = replace(found.gaps[0], token=token[:-1] + bytes([token[-1] ^ 1]))


def gap_that_is_none(found: History) -> None:
    gap()(found)
    found.gaps[0] = replace(found.gaps[0], token=b"junk")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_chain, "row 5 holds the token of another place: 6f746865726f6e65 5"),
        (swapped, "row 5 holds the token of another place"),
        (re_signed, f"row 5 is signed by key {OTHER_ED25519.kid.hex()}, not by {ED25519.kid.hex()}"),
        (forged_link, "row 5 does not follow from the row before it"),
        (issued_twice, "row 6 does not follow from the row before it"),
        (other_terminal, "row 5 has a wrong signature"),
        (misnamed, "row 5 has a wrong signature"),
        (cut_off, f"row {LENGTH} is missing, and no gap record tells of it"),
        (grown_behind_its_end, f"row {LENGTH} is not the one that the outbox knows as the end of its chain"),
        (on_no_disk, "row 5 is missing on disk"),
        (gap(key=OTHER_ED25519), f"the gap record of rows 5 to 6 is signed by key {OTHER_ED25519.kid.hex()}, not by"),
        (forged_gap, "the gap record of rows 5 to 6 has a wrong signature"),
        (gap(prev=b"x" * 16), "the gap record of rows 5 to 6 does not follow from the row before them"),
        (gap(hash=b"x" * 16), "row 7 does not follow from the row before it"),
        (relabelled_gap, "the gap record of rows 5 to 6 tells of other rows"),
        (gap_that_is_none, "the gap record of rows 5 to 6 is none"),
    ],
)
def test_what_was_done_to_a_chain_is_told(change: Callable[[History], None], why: str) -> None:
    found = here()
    change(found)
    with pytest.raises(Broken) as broken:
        found.check()
    assert str(broken.value).startswith(why)


def test_a_gap_whose_ends_nobody_knew_is_no_break() -> None:
    found = here()
    gap(prev=FIRST_PREV, hash=FIRST_PREV)(found)
    assert found.check().given_up == 2


def test_a_gap_record_may_tell_of_rows_that_are_still_here() -> None:
    found = here()
    del found.rows[6]
    found.gaps.append(gap_of(5, 8))
    assert found.check().given_up == 1


def test_a_chain_may_begin_where_delivery_left_it() -> None:
    assert here(first=4).check().rows == LENGTH - 3
    found = here(first=4)
    found.rows[4] = row(4, make_sealer(ED25519, FLEET, TERMINAL)(tap(), ChainPosition(CHAIN, 4, b"x" * 16)))
    with pytest.raises(Broken, match="row 5 does not follow"):
        found.check()
