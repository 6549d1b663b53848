import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import TicketError
from edge_agent.tags.ticket import CONTEXT, TICKET_BYTES, TICKET_CHARS, Ticket, link, parse, parse_link, seal
from edge_agent.tokens.keys import PrivateKey

KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
TICKET = Ticket(KEY.kid, 1_700_000_000, 120, b"nonce-08")

tickets = st.builds(
    Ticket, st.just(KEY.kid), st.integers(0, 2**32 - 1), st.integers(1, 255), st.binary(min_size=8, max_size=8)
)


def test_the_bytes_are_those_of_the_contract() -> None:
    text = seal(TICKET, KEY.sign)
    raw = base64.urlsafe_b64decode(text + "=")
    assert len(text) == TICKET_CHARS
    assert len(raw) == TICKET_BYTES
    body = b"\x01" + KEY.kid + bytes.fromhex("6553f100") + b"\x78" + b"nonce-08"
    assert raw[:22] == body
    assert KEY.public.verify(raw[22:], b"tap-ticket/v1\x00" + body)
    assert TICKET.exp == 1_700_000_120


@given(tickets)
def test_what_was_sealed_reads_back_and_verifies(ticket: Ticket) -> None:
    parsed = parse(seal(ticket, KEY.sign))
    assert parsed.ticket == ticket
    assert parsed.verified_by(KEY.public.verify)


@given(tickets, st.integers(0, TICKET_BYTES * 8 - 1))
def test_no_bit_can_be_turned(ticket: Ticket, bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(seal(ticket, KEY.sign) + "="))
    raw[bit // 8] ^= 1 << bit % 8
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    try:
        parsed = parse(text)
    except TicketError:
        return
    assert not parsed.verified_by(KEY.public.verify)


@given(st.text(max_size=130) | st.text("ABCxyz019-_", min_size=115, max_size=115))
def test_any_text_is_a_ticket_or_a_ticket_error(text: str) -> None:
    try:
        parsed = parse(text)
    except TicketError:
        return
    assert seal(parsed.ticket, lambda _data: parsed.signature) == text


def test_a_ticket_has_one_form_only() -> None:
    text = seal(TICKET, KEY.sign)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(text[-1])
    other = text[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last ^ 1]
    assert base64.urlsafe_b64decode(other + "=") == base64.urlsafe_b64decode(text + "=")
    with pytest.raises(TicketError, match="not the form"):
        parse(other)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Ticket(KEY.kid[:7], 1, 1, bytes(8)), "8 bytes"),
        (Ticket(KEY.kid, -1, 1, bytes(8)), "iat -1"),
        (Ticket(KEY.kid, 2**32, 1, bytes(8)), "iat"),
        (Ticket(KEY.kid, 1, 0, bytes(8)), "1 to 255 seconds, not 0"),
        (Ticket(KEY.kid, 1, 256, bytes(8)), "not 256"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: Ticket, text: str) -> None:
    with pytest.raises(TicketError, match=text):
        seal(wrong, KEY.sign)


def test_a_signature_of_another_length_is_refused() -> None:
    with pytest.raises(TicketError, match="63 bytes"):
        seal(TICKET, lambda data: bytes(63) if data.startswith(CONTEXT) else b"")


def test_the_link_reads_back() -> None:
    text = seal(TICKET, KEY.sign)
    url = link("t.example.net", text)
    assert url == f"https://t.example.net/k/{text}"
    assert parse_link(url) == ("t.example.net", text)


@pytest.mark.parametrize("change", ["?x=1", "/", "#a", " "])
def test_a_link_with_more_is_refused(change: str) -> None:
    with pytest.raises(TicketError, match="ticket link"):
        parse_link(link("t.example.net", seal(TICKET, KEY.sign)) + change)
