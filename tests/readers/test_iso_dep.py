import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.iso_dep import Ats, is_rats, parse_ats, wtx_answer, wtx_multiplier


@pytest.mark.parametrize(
    ("ats", "expected"),
    [
        pytest.param("01", Ats(fsci=2, fwi=4, sfgi=0), id="TL alone: all defaults"),
        pytest.param("0208", Ats(fsci=8, fwi=4), id="T0 alone"),
        pytest.param("03 28 71", Ats(fsci=8, fwi=7, sfgi=1), id="TB without TA"),
        pytest.param("03 18 80", Ats(fsci=8, fwi=4), id="TA without TB"),
        pytest.param("05 78 80 70 02", Ats(fsci=8, fwi=7), id="all three"),
        pytest.param("04 48 02 41", Ats(fsci=8, fwi=4), id="TC and a historical byte"),
        pytest.param("07 38 80 E0 11 22 33", Ats(fsci=8, fwi=14), id="historical bytes"),
        pytest.param("03 2F FF", Ats(fsci=8, fwi=4, sfgi=0), id="RFU values take the defaults"),
        pytest.param("02 05 99 99", Ats(fsci=5), id="bytes after TL are not the ATS"),
    ],
)
def test_every_legal_form_is_read(ats: str, expected: Ats) -> None:
    assert parse_ats(bytes.fromhex(ats)) == expected


@pytest.mark.parametrize("ats", ["", "00", "05", "05 78 80", "02 78", "03 78 80"])
def test_a_cut_ats_is_refused(ats: str) -> None:
    with pytest.raises(ValueError, match="ATS"):
        parse_ats(bytes.fromhex(ats))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(frame: bytes) -> None:
    try:
        ats = parse_ats(frame)
    except ValueError:
        return
    assert 0 <= ats.fsci <= 8
    assert 0 <= ats.fwi <= 14
    assert parse_ats(ats.canonical()) == ats


def test_times_are_those_of_the_standard() -> None:
    assert Ats(fwi=0).waiting_s == pytest.approx(302e-6, rel=1e-2)
    assert Ats(fwi=14).waiting_s == pytest.approx(4.95, rel=1e-2)
    assert Ats(sfgi=0).guard_s == 0
    assert Ats(sfgi=14).guard_s == pytest.approx(4.95, rel=1e-2)


def test_rats_is_told_from_blocks() -> None:
    assert is_rats(b"\xe0\x80")
    assert not is_rats(b"\xe0\x80\x00")
    assert not is_rats(b"\x02\x90")
    assert not is_rats(b"")


@pytest.mark.parametrize(
    ("block", "multiplier"),
    [("", None), ("02 90 00", None), ("B2", None), ("C2", None), ("F2 01", 1), ("F2 3B", 59), ("F2 FB", 59)],
)
def test_only_a_waiting_time_extension_has_a_multiplier(block: str, multiplier: int | None) -> None:
    assert wtx_multiplier(bytes.fromhex(block)) == multiplier


@pytest.mark.parametrize("block", ["F2", "F2 00", "F2 3C", "F2 3F", "F2 01 02"])
def test_a_multiplier_out_of_range_is_refused(block: str) -> None:
    with pytest.raises(ValueError, match="WTX"):
        wtx_multiplier(bytes.fromhex(block))


def test_wtx_answer_has_no_power_bits() -> None:
    multiplier = wtx_multiplier(bytes.fromhex("F2 C5"))
    assert multiplier is not None
    assert wtx_answer(multiplier) == bytes.fromhex("F2 05")
