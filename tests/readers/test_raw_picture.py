"""The words of a raw read: whatever is in the field has a verdict, a next step, and nothing of whose it is."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import LostReason
from edge_agent.readers.base import RawUid, TargetKind
from edge_agent.readers.raw_picture import Picture, Selected, ats_words, sak_words, status_words, uid_words, verdict_of

AID = bytes.fromhex("F05441504544474501")
SELECTS = st.builds(
    Selected,
    st.just(AID),
    st.none() | st.sampled_from([0x9000, 0x6A82, 0x6985, 0x6F00]) | st.integers(0, 0xFFFF),
    trouble=st.sampled_from(["", "too short"]),
    lost=st.none() | st.sampled_from(LostReason),
)
PICTURES = st.builds(
    Picture,
    kind=st.sampled_from(TargetKind),
    sak=st.integers(0, 255),
    atqa=st.none() | st.integers(0, 0xFFFF),
    uid_bytes=st.sampled_from([0, 4, 7, 10]),
    uid_random=st.booleans(),
    ats=st.binary(max_size=20),
    selects=st.lists(SELECTS, max_size=4).map(tuple),
    lost=st.sampled_from(["", "vanished"]),
)


@given(PICTURES)
def test_every_picture_has_a_verdict_a_next_step_and_is_good_only_with_a_tap_app(picture: Picture) -> None:
    verdict = verdict_of(picture)
    assert verdict.text
    assert verdict.next
    answers = any(one.sw == 0x9000 and not one.trouble for one in picture.selects)
    assert verdict.good is (answers and picture.kind is TargetKind.ISO_DEP)


@given(st.binary(min_size=1, max_size=32))
def test_any_ats_is_told_in_words(ats: bytes) -> None:
    assert ats_words(ats)


def test_an_ats_is_read_as_the_standard_has_it() -> None:
    said = ats_words(bytes.fromhex("067833880280"))
    assert said == "frames of 256 bytes, answers within 77 ms, needs 77.3 ms before the first, 1 historical byte"
    assert ats_words(b"\x01") == "frames of 32 bytes, answers within 5 ms, 0 historical bytes"
    assert "makes no sense" in ats_words(b"\x09\x78")
    assert "makes no sense" in ats_words(b"")


def test_words_for_what_technicians_meet() -> None:
    assert sak_words(0x20) == "ISO-DEP (ISO/IEC 14443-4)"
    assert sak_words(0x60).endswith("and NFC-DEP")
    assert "Type 2" in sak_words(0x00)
    assert "MIFARE Classic" in sak_words(0x18)
    assert status_words(0x6A82) == "no such application here"
    assert status_words(0x1234)
    assert "fixed" in uid_words(7, random=False)
    assert uid_words(0, random=False) == "not told by this reader"


def test_a_random_uid_is_known_without_being_shown() -> None:
    assert RawUid(bytes.fromhex("08123456")).is_random
    assert not RawUid(bytes.fromhex("04123456")).is_random
    assert not RawUid(bytes.fromhex("08123456789ABC")).is_random
    assert not RawUid(b"").is_random
