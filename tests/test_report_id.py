import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.report_id import RANDOM_BYTES, ReportId


def test_an_id_is_two_groups_of_four_from_its_bytes() -> None:
    assert ReportId.of(bytes(5)) == "0000-0000"
    assert ReportId.of(b"\xff" * 5) == "ZZZZ-ZZZZ"
    assert ReportId.of(bytes([0, 0, 0, 0, 33])) == "0000-0011"


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_an_id_that_is_read_aloud_is_read_back(random: bytes) -> None:
    made = ReportId.of(random)
    heard = made.replace("-", " ").replace("0", "o").replace("1", "l").lower()
    assert ReportId.parse(made) == ReportId.parse(heard) == made
    assert not set("ILOU") & set(made)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_two_draws_are_two_ids(one: bytes, other: bytes) -> None:
    one, other = one.ljust(5, b"x")[:5], other.ljust(5, b"x")[:5]
    assert (ReportId.of(one) == ReportId.of(other)) == (one == other)


@given(st.text(max_size=80))
def test_what_is_no_id_is_refused_and_nothing_else_happens(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert len(ReportId.parse(text)) == 9


@pytest.mark.parametrize("text", ["", "K7QF", "K7QF-2M4", "K7QF-2M4DX", "K7QF-2M4U", "K7QF.2M4D", "K7QF-2M4ß"])
def test_an_id_has_eight_characters_of_its_alphabet(text: str) -> None:
    with pytest.raises(ValueError, match="eight letters and digits"):
        ReportId.parse(text)


def test_an_id_is_made_of_five_bytes() -> None:
    with pytest.raises(ValueError, match="5 bytes, not 4"):
        ReportId.of(bytes(4))
