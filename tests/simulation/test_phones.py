import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.cards import PPSE, PaymentApp, PlainCard, type2_tag
from edge_agent.simulation.odd_phones import Babbling, Extending, Fixed, FrameNoise, Silent, Vanishing, phone_with
from edge_agent.simulation.phones import TAP_AID, AppEvent, SimulatedPhone, TapApp, split_apdu, tlv
from edge_agent.simulation.picc import Answer

SELECT = bytes.fromhex("00a4040009") + TAP_AID + b"\x00"
TOKEN = bytes(range(1, 201))
GIVE = bytes.fromhex("80540000c8") + TOKEN + b"\x00"


def _app(**kwargs) -> TapApp:
    return TapApp(random.Random(7), **kwargs)


def _ask(app: TapApp, apdu: bytes) -> str:
    return app.command(apdu).data.hex()


def test_aid_is_the_one_of_the_contract():
    assert TAP_AID.hex() == "f05441504544474501"


def test_select_shows_version_nonce_and_what_is_optional():
    app = _app()
    assert _ask(app, SELECT) == "6f1e8409f05441504544474501a511800101810c" + app.nonce.hex() + "9000"
    app = _app(sub=b"pseudonym", capabilities=3)
    assert _ask(app, SELECT) == (
        "6f2c8409f05441504544474501a51f800101810c" + app.nonce.hex() + "8509" + b"pseudonym".hex() + "8201039000"
    )


def test_a_token_is_kept_and_receipted():
    app = _app()
    _ask(app, SELECT)
    assert _ask(app, GIVE) == "8610" + TOKEN[-16:].hex() + "9000"
    assert app.tokens == [TOKEN]
    assert app.receipts == [TOKEN[-16:]]


def test_the_nonce_lasts_until_its_token_came_and_the_link_ended():
    app = _app()
    nonce = app.nonce
    _ask(app, SELECT)
    app.link_lost()
    assert app.nonce == nonce
    _ask(app, SELECT)
    _ask(app, GIVE)
    assert app.nonce == nonce
    app.link_lost()
    assert app.nonce != nonce


@pytest.mark.parametrize(
    ("apdu", "status"),
    [
        ("80540000010100", "6985"),  # not selected
        ("00a4040005a000000003" + "00", "6a82"),
        ("00a4040009f0544150454447450200", "6a82"),
        ("00a4040007f0544150454447" + "00", "6a82"),  # no partial match
        ("00b0000010", "6d00"),
        ("84540000010100", "6e00"),
        ("00a404", "6700"),
        ("00a4040009f054", "6700"),
    ],
)
def test_refusals(apdu, status):
    assert _ask(_app(), bytes.fromhex(apdu)) == status


def test_refusals_after_select():
    app = _app()
    _ask(app, SELECT)
    assert _ask(app, bytes.fromhex("80540100010100")) == "6a86"
    assert _ask(app, bytes.fromhex("8054000000")) == "6700"
    app.link_lost()
    assert _ask(app, GIVE) == "6985"
    assert app.tokens == []


def test_a_locked_phone_answers_6985_and_keeps_nothing():
    events = []
    app = _app(locked=True, watcher=events.append)
    assert _ask(app, SELECT) == "6985"
    assert _ask(app, GIVE) == "6985"
    assert events == [AppEvent.REFUSED]


def test_the_watcher_sees_the_tap():
    events = []
    app = _app(watcher=events.append)
    _ask(app, SELECT)
    _ask(app, GIVE)
    app.link_lost()
    assert events == [AppEvent.SELECTED, AppEvent.DELIVERED, AppEvent.LINK_LOST]


@given(st.binary(max_size=300))
def test_any_apdu_gets_a_status_word(apdu):
    response = _app().command(apdu)
    assert len(response.data) >= 2


@pytest.mark.parametrize(
    ("apdu", "parts"),
    [
        ("00a40400", ("00a40400", "")),
        ("00b0000010", ("00b00000", "")),
        ("00a4040002aabb", ("00a40400", "aabb")),
        ("00a4040002aabb00", ("00a40400", "aabb")),
    ],
)
def test_the_four_cases_of_a_short_apdu(apdu, parts):
    assert split_apdu(bytes.fromhex(apdu)) == tuple(map(bytes.fromhex, parts))


@pytest.mark.parametrize(("size", "length"), [(0x7F, "7f"), (0x80, "8180"), (0xFF, "81ff"), (0x100, "820100")])
def test_tlv_lengths_are_shortest(size, length):
    assert tlv(0x81, bytes(size)) == b"\x81" + bytes.fromhex(length) + bytes(size)


def test_a_phone_has_a_random_uid_each_time_it_is_powered():
    phone = SimulatedPhone()
    uids = set()
    for _ in range(5):
        found = phone.activate()
        assert (found.uid[0], len(found.uid), found.sak) == (0x08, 4, 0x20)
        uids.add(found.uid)
        phone.field_off()
    assert len(uids) > 1


def test_plain_card_reads_nothing_out_and_type_2_does():
    card = PlainCard(bytes(4))
    assert card.receive(b"\x30\x00") is None  # not activated
    card.activate()
    assert card.receive(b"\x30\x00") == Answer(b"\x00", bits=4)
    assert card.receive(b"\x30\x00") is None  # a NAK ends the activation
    tag = type2_tag(random.Random(1))
    tag.activate()
    first = tag.receive(b"\x30\x00").frame
    assert first[:3] + first[4:8] == tag.uid
    assert tag.receive(b"\x30\x0f").frame == bytes(4) + first[:12]
    assert tag.receive(b"\x50\x00") is None
    assert tag.activate() is None
    tag.field_off()
    assert tag.activate() is not None


def test_payment_card_knows_ppse_only():
    app = PaymentApp()
    assert app.command(SELECT).data.hex() == "6a82"
    directory = app.command(b"\x00\xa4\x04\x00\x0e" + PPSE + b"\x00").data
    assert directory[0] == 0x6F
    assert directory[1] == len(directory) - 4
    assert directory.endswith(b"\x90\x00")
    assert app.commands[0] == SELECT


def test_vanishing_counts_commands_and_comes_back():
    phone = SimulatedPhone()
    leaving = Vanishing(phone, after=1)
    nonce = phone.nonce
    assert leaving.activate() is not None
    assert leaving.receive(b"\xe0\x80") is not None
    assert leaving.receive(b"\x02" + SELECT) is not None
    assert leaving.receive(b"\x03" + GIVE) is None
    assert leaving.gone
    assert leaving.receive(b"\xb2") is None
    leaving.field_off()
    assert leaving.activate() is None
    assert phone.tokens == []
    leaving.come_back()
    assert leaving.activate() is not None
    assert phone.nonce == nonce


def test_a_phone_may_hear_the_token_and_lose_its_receipt():
    phone = SimulatedPhone()
    leaving = Vanishing(phone, after=1, hears_last=True)
    leaving.activate()
    leaving.receive(b"\xe0\x80")
    leaving.receive(b"\x02" + SELECT)
    assert leaving.receive(b"\x03" + GIVE) is None
    assert phone.tokens == [TOKEN]


def test_building_blocks_of_odd_phones():
    assert Fixed(b"\x6d\x00").command(SELECT).data == b"\x6d\x00"
    assert Silent().command(SELECT) is None
    assert len(Babbling(random.Random(1)).command(SELECT).data) < 300
    assert Extending(_app(), 4).command(SELECT).extensions == 4
    assert Extending(Silent(), 4).command(SELECT) is None


def test_frame_noise_answers_rats_properly():
    rng = random.Random(3)
    noise = FrameNoise(phone_with(_app(), rng), rng)
    noise.activate()
    assert noise.receive(b"\xe0\x80").frame.hex() == "0578807002"
    answers = [noise.receive(b"\x02") for _ in range(20)]
    assert {answer.intact for answer in answers} == {True, False}
