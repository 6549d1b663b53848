import pytest

from edge_agent.readers.aids import DEFAULT_AID, check_aid, payment_system


@pytest.mark.parametrize("aid", ["F05441504544474501", "f0 54 41 50 45 44 47 45 01", DEFAULT_AID])
def test_own_aid_is_accepted_as_text_or_bytes(aid: str | bytes) -> None:
    assert check_aid(aid) == b"\xf0TAPEDGE\x01"


@pytest.mark.parametrize(
    ("aid", "owner"),
    [
        (b"2PAY.SYS.DDF01".hex(), "PPSE"),
        (b"1PAY.SYS.DDF01".hex(), "PSE"),
        (b"2PAY.SYS.DDF01\x01".hex(), "PPSE"),
        (b"2PAY.".hex(), "PPSE"),
        ("A0000000031010", "Visa"),
        ("A0000000041010", "Mastercard"),
        ("A0000000043060", "Maestro"),
        ("A00000002501", "American Express"),
        ("A0000000421010", "Cartes Bancaires"),
        ("A0000000651010", "JCB"),
        ("A0000001211010", "Dankort"),
        ("A0000001410001", "PagoBANCOMAT"),
        ("A0000001523010", "Discover"),
        ("A0000002281010", "mada"),
        ("A0000002771010", "Interac"),
        ("A0000003241010", "Discover"),
        ("A000000333010101", "UnionPay"),
        ("A0000003591010", "girocard"),
        ("A0000003710001", "Verve"),
        ("A00000038410", "eftpos"),
        ("A0000005241010", "RuPay"),
        ("A0000006581010", "Mir"),
        ("A0000006723010", "TROY"),
        ("A0000007271010", "NAPAS"),
        ("A000000003", "Visa"),
        ("D5780000021010", "BankAxept"),
    ],
)
def test_payment_systems_are_refused_by_name_with_the_remedy(aid: str, owner: str) -> None:
    with pytest.raises(ValueError, match=owner) as refused:
        check_aid(aid)
    assert "your own phone app" in str(refused.value)


@pytest.mark.parametrize(
    ("aid", "reason"),
    [("", "5 to 16 bytes"), ("F0544150", "5 to 16 bytes"), ("F0" * 17, "5 to 16 bytes"), ("tap-edge", "hexadecimal")],
)
def test_what_is_no_aid_is_refused(aid: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_aid(aid)


def test_an_aid_that_only_resembles_a_payment_system_is_no_payment_system() -> None:
    assert payment_system(bytes.fromhex("A0000000031010")) == "Visa"
    assert payment_system(bytes.fromhex("A0000008031010")) is None
    assert payment_system(b"3PAY.SYS.DDF01") is None
