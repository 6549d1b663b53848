"""Every verdict on a ticket, the order of the checks, and the seconds at which one verdict becomes another."""

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.tickets import MAX_INPUT_CHARS, TicketJudgement, TicketVerdict, verify_ticket
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.tags.ticket import CONTEXT, TICKET_BYTES, Ticket, link, seal
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.token_samples import ED25519, FLEET, NOW, OTHER_ED25519, P256, TERMINAL

NONCE = b"nonce-08"
RECORD = KeyRecord(public=ED25519.public, fleet=FLEET, terminal=TERMINAL)
P256_RECORD = KeyRecord(public=P256.public, fleet=FLEET, terminal="sh-000123-b")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def ticket(key: PrivateKey = ED25519, *, iat: int = NOW, ttl: int = 120, kid: bytes | None = None) -> str:
    return seal(Ticket(key.kid if kid is None else kid, iat, ttl, NONCE), key.sign)


def judge(
    text: str,
    *records: KeyRecord,
    now: float = NOW,
    used: Callable[[bytes, bytes], bool] | None = None,
) -> TicketJudgement:
    keys = {record.public.kid: record for record in records or (RECORD, P256_RECORD)}
    return verify_ticket(text, now=now, keys=keys.get, used=used)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (NOW - 3600, TicketVerdict.CLOCK_SUSPECT),
        (NOW - 10.1, TicketVerdict.CLOCK_SUSPECT),
        (NOW - 10, TicketVerdict.FRESH),
        (NOW, TicketVerdict.FRESH),
        (NOW + 130, TicketVerdict.FRESH),
        (NOW + 130.1, TicketVerdict.EXPIRED),
        (NOW + 86400 * 365, TicketVerdict.EXPIRED),
    ],
)
def test_a_ticket_is_fresh_from_its_issue_to_its_end_with_ten_seconds_on_both_sides(
    now: float, verdict: TicketVerdict
) -> None:
    found = judge(ticket(), now=now)
    assert found.verdict is verdict, found.reason
    assert found.ticket == Ticket(ED25519.kid, NOW, 120, NONCE)
    assert (found.fleet, found.terminal) == (FLEET, TERMINAL)


def test_text_and_link_are_the_same_ticket_and_the_link_tells_its_host() -> None:
    text = ticket()
    assert judge(link("t.example.net", text)) == replace(judge(text), host="t.example.net")


def test_the_key_and_not_the_ticket_names_algorithm_and_terminal() -> None:
    found = judge(ticket(P256))
    assert (found.verdict, found.terminal) == (TicketVerdict.FRESH, "sh-000123-b")
    assert judge(ticket(P256, kid=ED25519.kid)).verdict is TicketVerdict.BAD_SIGNATURE
    assert judge(ticket(ED25519, kid=P256.kid)).verdict is TicketVerdict.BAD_SIGNATURE


def test_a_ticket_that_nobody_registered_signed_tells_nothing_of_itself() -> None:
    for text in (ticket(OTHER_ED25519), ticket(OTHER_ED25519, kid=ED25519.kid)):
        found = judge(text)
        assert found.verdict in (TicketVerdict.UNKNOWN_KEY, TicketVerdict.BAD_SIGNATURE)
        assert (found.ticket, found.fleet, found.terminal) == (None, None, None)


def test_the_other_form_of_an_es256_signature_is_refused() -> None:
    raw = base64.urlsafe_b64decode(ticket(P256) + "=")
    s = P256_ORDER - int.from_bytes(raw[-32:], "big")
    other = base64.urlsafe_b64encode(raw[:-32] + s.to_bytes(32, "big")).rstrip(b"=").decode()
    assert judge(other).verdict is TicketVerdict.BAD_SIGNATURE


def test_what_a_token_or_a_body_alone_was_signed_for_is_no_ticket() -> None:
    sample = Ticket(ED25519.kid, NOW, 120, NONCE)
    assert judge(seal(sample, lambda data: ED25519.sign(data.removeprefix(CONTEXT)))).verdict is (
        TicketVerdict.BAD_SIGNATURE
    )


@pytest.mark.parametrize(
    ("limits", "iat", "now", "verdict"),
    [
        ({"valid_from": NOW + 11}, NOW, NOW, TicketVerdict.UNKNOWN_KEY),
        ({"valid_from": NOW + 10}, NOW, NOW, TicketVerdict.FRESH),
        ({"valid_to": NOW}, NOW, NOW, TicketVerdict.REVOKED_KEY),
        ({"valid_to": NOW}, NOW - 1, NOW + 100, TicketVerdict.FRESH),
        ({"revoked_at": NOW}, NOW - 1, NOW, TicketVerdict.REVOKED_KEY),
        ({"revoked_at": NOW}, NOW, NOW - 1, TicketVerdict.REVOKED_KEY),
        ({"revoked_at": NOW}, NOW - 2, NOW - 1, TicketVerdict.FRESH),
    ],
)
def test_a_key_counts_in_its_time_and_a_revoked_one_for_no_time_that_its_thief_may_write(
    limits: dict[str, int], iat: int, now: float, verdict: TicketVerdict
) -> None:
    found = judge(ticket(iat=iat), replace(RECORD, **limits), now=now)
    assert found.verdict is verdict, found.reason


def test_used_is_asked_after_the_signature_and_told_before_key_and_time() -> None:
    asked: list[tuple[bytes, bytes]] = []

    def used(kid: bytes, nonce: bytes) -> bool:
        asked.append((kid, nonce))
        return True

    assert judge(ticket(OTHER_ED25519, kid=ED25519.kid), used=used).verdict is TicketVerdict.BAD_SIGNATURE
    assert asked == []
    gone = replace(RECORD, revoked_at=NOW)
    assert judge(ticket(), gone, now=NOW + 9999, used=used).verdict is TicketVerdict.USED
    assert asked == [(ED25519.kid, NONCE)]
    assert judge(ticket(), used=lambda kid, nonce: (kid, nonce) != (ED25519.kid, NONCE)).verdict is TicketVerdict.FRESH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        ticket()[:-1],
        ticket() + "A",
        ticket() + "=",
        ticket()[:-1] + "+",
        " " + ticket(),
        ticket() + "\n",
        link("t.example.net", ticket()) + "?utm=1",
        link("t.example.net", ticket()).replace("https", "http"),
        link("t.example.net", ticket()).replace("/k/", "/K/"),
        "\udcff" * 115,
        chr(0x6F1) * 115,
        "https://" + "a" * 300 + "/k/" + ticket(),
        "x" * 10_000_000,
    ],
)
def test_what_is_no_ticket_is_malformed(text: str) -> None:
    assert judge(text).verdict is TicketVerdict.MALFORMED


def test_the_longest_link_is_read() -> None:
    url = link("a" * 253, ticket())
    assert len(url) == MAX_INPUT_CHARS
    assert judge(url).verdict is TicketVerdict.FRESH


@given(
    st.text(max_size=400)
    | st.text("ABCxyz019-_", min_size=115, max_size=115)
    | st.binary(min_size=TICKET_BYTES, max_size=TICKET_BYTES).map(
        lambda raw: base64.urlsafe_b64encode(b"\x01" + ED25519.kid + raw[9:]).rstrip(b"=").decode()
    ),
    st.floats(-1e12, 1e12),
)
def test_nothing_that_a_phone_sends_raises_or_counts(text: str, now: float) -> None:
    found = judge(text, now=now)
    assert found.verdict in (TicketVerdict.MALFORMED, TicketVerdict.UNKNOWN_KEY, TicketVerdict.BAD_SIGNATURE)
    assert found.reason.isprintable()


@given(st.integers(0, TICKET_BYTES * 8 - 1), st.sampled_from([ED25519, P256]))
def test_no_bit_of_a_ticket_can_be_turned(bit: int, key: PrivateKey) -> None:
    raw = bytearray(base64.urlsafe_b64decode(ticket(key) + "="))
    raw[bit // 8] ^= 1 << bit % 8
    assert judge(base64.urlsafe_b64encode(raw).rstrip(b"=").decode()).verdict is not TicketVerdict.FRESH


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 255),
    st.floats(0, 2**33),
)
def test_time_alone_decides_on_a_genuine_ticket(iat: int, ttl: int, now: float) -> None:
    found = judge(ticket(iat=iat, ttl=ttl), now=now).verdict
    if now < iat - 10:
        assert found is TicketVerdict.CLOCK_SUSPECT
    else:
        assert found is (TicketVerdict.FRESH if now <= iat + ttl + 10 else TicketVerdict.EXPIRED)
