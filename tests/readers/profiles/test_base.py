import pytest

from edge_agent.readers.profiles.base import Fault, FaultKind, Reading, Stray, uid_of, uid_of_text
from edge_agent.readers.pseudonym import Pseudonyms


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"04A1B2C3", bytes.fromhex("04A1B2C3")),
        (b"04:a1:b2:c3:d4:e5:f6", bytes.fromhex("04A1B2C3D4E5F6")),
        (b"04 A1 B2 C3", bytes.fromhex("04A1B2C3")),
        (b"00112233445566778899", bytes.fromhex("00112233445566778899")),
        (b"0012345678", b"0012345678"),
        (b"member-4711", b"member-4711"),
        (b"04A1B2C", b"04A1B2C"),
    ],
)
def test_a_uid_in_hexadecimal_is_its_bytes_and_all_else_stays_text(text: bytes, value: bytes) -> None:
    assert uid_of_text(text).reveal() == value


def test_random_uids_of_phones_are_one_that_names_nobody() -> None:
    first, second = uid_of(bytes.fromhex("08123456")), uid_of_text(b"08 AB CD EF")
    assert first == second
    assert Pseudonyms().of(first, 0.0) is None
    assert uid_of(bytes.fromhex("0812345678")).reveal() == bytes.fromhex("0812345678")


def test_nothing_that_a_parser_tells_shows_a_number() -> None:
    assert "04" not in repr(Reading(uid_of_text(b"04A1B2C3")))
    assert repr(Fault(FaultKind.CHECKSUM)) == "Fault(kind=<FaultKind.CHECKSUM: 'checksum'>)"


def test_sixteen_stray_bytes_are_one_fault_and_a_sound_frame_excuses_them() -> None:
    stray = Stray()
    assert stray.add(15) == []
    assert stray.add(1) == [Fault(FaultKind.STRAY)]
    assert len(stray.add(40)) == 2
    stray.excuse()
    assert stray.add(15) == []
