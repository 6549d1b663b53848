from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.apdu import (
    ApduError,
    ApduFault,
    PhoneApplication,
    Response,
    deliver_token,
    parse_application,
    parse_receipt,
    parse_response,
    select,
)

AID = bytes.fromhex("F05441504544474501")
NONCE = bytes(range(16))


def tlv(tag: str, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    elif size < 0x100:
        length = bytes([0x81, size])
    else:
        length = b"\x82" + size.to_bytes(2, "big")
    return bytes.fromhex(tag) + length + value


def fci(*inner: bytes, aid: bytes = AID) -> bytes:
    return tlv("6F", tlv("84", aid) + tlv("A5", b"".join(inner)))


VERSION = tlv("80", b"\x01")
MINIMAL = fci(VERSION, tlv("81", NONCE))


def test_select_is_the_contracts_bytes() -> None:
    assert select(AID).hex() == "00a4040009f0544150454447450100"


def test_token_command_is_the_contracts_bytes() -> None:
    assert deliver_token(b"\xd2\x84").hex() == "80540000" + "02" + "d284" + "00"


def test_largest_token_of_the_contract_fits_one_short_command() -> None:
    assert len(deliver_token(bytes(248))) == 5 + 248 + 1


@pytest.mark.parametrize("size", [0, 256])
def test_command_data_outside_a_short_lc_is_refused(size: int) -> None:
    with pytest.raises(ApduError) as refused:
        deliver_token(bytes(size))
    assert refused.value.fault is ApduFault.LENGTH


@pytest.mark.parametrize("size", [4, 17])
def test_select_refuses_what_is_no_aid(size: int) -> None:
    with pytest.raises(ApduError):
        select(bytes(size))


def test_response_is_data_and_status_word() -> None:
    assert parse_response(bytes.fromhex("0102036A82")) == Response(b"\x01\x02\x03", 0x6A82)
    assert parse_response(b"\x90\x00") == Response(b"", 0x9000)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [(b"", ApduFault.TRUNCATED), (b"\x90", ApduFault.TRUNCATED), (bytes(259), ApduFault.OVERSIZE)],
)
def test_response_without_status_or_too_long_is_refused(raw: bytes, fault: ApduFault) -> None:
    with pytest.raises(ApduError) as refused:
        parse_response(raw)
    assert refused.value.fault is fault


def test_full_answer_is_parsed() -> None:
    data = fci(VERSION, tlv("81", NONCE), tlv("85", b"pseudony"), tlv("82", b"\x05"))
    assert parse_application(data, AID) == PhoneApplication(1, NONCE, b"pseudony", 5)


def test_optional_fields_may_be_absent() -> None:
    assert parse_application(MINIMAL, AID) == PhoneApplication(version=1, nonce=NONCE, sub=None, capabilities=0)


def test_unknown_tags_are_skipped_at_every_level() -> None:
    inner = tlv("A5", tlv("9F6E", b"junk") + VERSION + tlv("BF0C", b"\xff\xff") + tlv("81", NONCE) + tlv("9F6E", b""))
    data = tlv("C1", b"?") + tlv("6F", tlv("50", b"label") + inner + tlv("84", AID)) + tlv("DF8101", b"")
    assert parse_application(data, AID).nonce == NONCE


def test_long_length_forms_are_read() -> None:
    padding = tlv("53", bytes(150))
    assert parse_application(fci(padding, VERSION, tlv("81", NONCE)), AID).nonce == NONCE


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"", ApduFault.MISSING, id="nothing"),
        pytest.param(tlv("6F", tlv("A5", VERSION + tlv("81", NONCE))), ApduFault.MISSING, id="no 84"),
        pytest.param(tlv("6F", tlv("84", AID)), ApduFault.MISSING, id="no A5"),
        pytest.param(fci(tlv("81", NONCE)), ApduFault.MISSING, id="no version"),
        pytest.param(fci(VERSION), ApduFault.MISSING, id="no nonce"),
        pytest.param(fci(VERSION, tlv("81", bytes(7))), ApduFault.LENGTH, id="short nonce"),
        pytest.param(fci(VERSION, tlv("81", bytes(17))), ApduFault.LENGTH, id="long nonce"),
        pytest.param(fci(VERSION, tlv("81", NONCE), tlv("85", bytes(7))), ApduFault.LENGTH, id="short sub"),
        pytest.param(fci(VERSION, tlv("81", NONCE), tlv("85", bytes(13))), ApduFault.LENGTH, id="long sub"),
        pytest.param(fci(tlv("80", b""), tlv("81", NONCE)), ApduFault.LENGTH, id="empty version"),
        pytest.param(fci(VERSION, tlv("81", NONCE), tlv("82", b"ab")), ApduFault.LENGTH, id="long capabilities"),
        pytest.param(fci(VERSION, tlv("81", NONCE), tlv("81", NONCE)), ApduFault.DUPLICATE, id="two nonces"),
        pytest.param(MINIMAL + MINIMAL, ApduFault.DUPLICATE, id="two answers"),
        pytest.param(fci(VERSION, tlv("81", NONCE), aid=b"OTHER"), ApduFault.UNEXPECTED, id="another application"),
        pytest.param(MINIMAL[:-1], ApduFault.TRUNCATED, id="cut value"),
        pytest.param(MINIMAL + b"\x81", ApduFault.TRUNCATED, id="trailing tag"),
        pytest.param(MINIMAL + b"\x1f\x81", ApduFault.TRUNCATED, id="cut tag"),
        pytest.param(MINIMAL + b"\x1f\x81\x82\x01", ApduFault.OVERSIZE, id="long tag"),
        pytest.param(b"\x6f\x80" + MINIMAL[2:] + b"\x00\x00", ApduFault.INDEFINITE, id="indefinite length"),
        pytest.param(b"\x6f\x84\x00\x00\x00\x01\x00", ApduFault.OVERSIZE, id="length of four bytes"),
        pytest.param(b"\x6f\x82\x01", ApduFault.TRUNCATED, id="cut length"),
        pytest.param(b"\x6f\x82\xff\xff\x00", ApduFault.TRUNCATED, id="length beyond the end"),
        pytest.param(tlv("53", bytes(300)), ApduFault.OVERSIZE, id="oversize answer"),
    ],
)
def test_bad_answers_are_refused_with_their_reason(data: bytes, fault: ApduFault) -> None:
    with pytest.raises(ApduError) as refused:
        parse_application(data, AID)
    assert refused.value.fault is fault


@pytest.mark.parametrize(
    ("data", "receipt"),
    [(b"", None), (tlv("87", b"?"), None), (tlv("86", b""), b""), (tlv("86", bytes(32)), bytes(32))],
)
def test_receipt_is_optional(data: bytes, receipt: bytes | None) -> None:
    assert parse_receipt(data) == receipt


def test_receipt_is_capped() -> None:
    with pytest.raises(ApduError) as refused:
        parse_receipt(tlv("86", bytes(33)))
    assert refused.value.fault is ApduFault.LENGTH


@given(
    version=st.integers(0, 255),
    nonce=st.binary(min_size=8, max_size=16),
    sub=st.none() | st.binary(min_size=8, max_size=12),
    capabilities=st.integers(0, 255),
    aid=st.binary(min_size=5, max_size=16),
    data=st.data(),
)
def test_every_valid_answer_is_read_back_in_any_order(
    version: int, nonce: bytes, sub: bytes | None, capabilities: int, aid: bytes, data: st.DataObject
) -> None:
    inner = [tlv("80", bytes([version])), tlv("81", nonce), tlv("82", bytes([capabilities])), tlv("9F01", b"?")]
    if sub is not None:
        inner.append(tlv("85", sub))
    shuffled = data.draw(st.permutations(inner))
    assert parse_application(fci(*shuffled, aid=aid), aid) == PhoneApplication(version, nonce, sub, capabilities)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_an_apdu_error(data: bytes) -> None:
    for parse in (parse_response, parse_receipt, lambda raw: parse_application(raw, AID)):
        with suppress(ApduError):
            parse(data)


@given(st.integers(0, len(MINIMAL) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_still_a_legal_answer(at: int, value: int) -> None:
    damaged = bytearray(MINIMAL)
    damaged[at] = value
    try:
        phone = parse_application(bytes(damaged), AID)
    except ApduError:
        return
    assert 8 <= len(phone.nonce) <= 16


@given(st.binary(min_size=1, max_size=255))
def test_token_command_round_trip(token: bytes) -> None:
    command = deliver_token(token)
    assert (command[4], command[5:-1], command[-1]) == (len(token), token, 0)
