import random

import nfc.clf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nfc.tag.tt4 import IsoDepInitiator

from edge_agent.simulation.iso_dep import ENDLESS, FRAME_SIZES, Ats, IsoDepCard, Response
from edge_agent.simulation.picc import Answer


class Recorder:
    """An application with a fixed answer that keeps the commands."""

    def __init__(self, response: Response | None) -> None:
        self.response = response
        self.commands: list[bytes] = []
        self.lost = 0

    def command(self, apdu: bytes) -> Response | None:
        self.commands.append(apdu)
        return self.response

    def link_lost(self) -> None:
        self.lost += 1


class Air:
    """What the driver's block layer needs of a frontend: frames go to the card, some are lost on the way."""

    def __init__(self, card: IsoDepCard, losses: list[tuple[bool, bool]] = ()) -> None:
        self._card = card
        self._losses = list(losses)
        self.sizes: list[tuple[int, int]] = []
        self.requests: list[bytes] = []

    def exchange(self, data: bytes, timeout: float) -> bytearray:
        self.requests.append(bytes(data))
        there, back = self._losses.pop(0) if self._losses else (False, False)
        answer = None if there else self._card.receive(bytes(data))
        if answer is None or back or answer.delay_s > timeout:
            raise nfc.clf.TimeoutError
        self.sizes.append((len(data), len(answer.frame)))
        return bytearray(answer.frame)


def _activated(app: Recorder, timing: Ats | None = None, rats: str = "e080", **kwargs) -> IsoDepCard:
    card = IsoDepCard(app, lambda: b"\x08\x01\x02\x03", timing=timing or Ats(), **kwargs)
    assert card.activate() is not None
    assert card.receive(bytes.fromhex(rats)) is not None
    return card


def _reader(card: IsoDepCard, losses: list[tuple[bool, bool]] = ()) -> IsoDepInitiator:
    return IsoDepInitiator(Air(card, losses), FRAME_SIZES[card.timing.fsci], card.timing.frame_waiting_s)


apdus = st.binary(min_size=1, max_size=600)


@given(
    st.lists(st.tuples(apdus, st.binary(max_size=700)), min_size=1, max_size=4), st.integers(0, 8), st.integers(0, 8)
)
def test_any_sizes_chain_both_ways(talk, fsci, fsdi):
    app = Recorder(None)
    card = _activated(app, Ats(fsci=fsci), rats=f"e0{fsdi << 4:02x}")
    reader = _reader(card)
    for command, response in talk:
        app.response = Response(response)
        assert reader.exchange(command) == response
    assert app.commands == [command for command, _ in talk]
    # Two bytes of CRC belong to the frame sizes.
    assert max(sent for sent, _ in reader.clf.sizes) <= FRAME_SIZES[fsci] - 2
    assert max(got for _, got in reader.clf.sizes) <= FRAME_SIZES[fsdi] - 2


# The driver gives up after five repetitions of one block: no more than two losses in any six exchanges.
lost_now_and_then = st.lists(st.sampled_from([(False, False), (True, False), (False, True)]), max_size=40).map(
    lambda losses: [pair if i % 6 in {0, 3} else (False, False) for i, pair in enumerate(losses)]
)


@settings(deadline=None)
@given(st.lists(st.tuples(apdus, st.binary(max_size=300)), min_size=1, max_size=3), lost_now_and_then)
def test_lost_frames_are_repeated_and_no_command_runs_twice(talk, losses):
    app = Recorder(None)
    # FSC 64 and FSD 64: long enough chains without many frames.
    reader = _reader(_activated(app, Ats(fsci=5), rats="e050"), losses)
    for command, response in talk:
        app.response = Response(response)
        assert reader.exchange(command) == response
    assert app.commands == [command for command, _ in talk]


@given(st.binary(max_size=300))
def test_any_frame_is_survived(frame):
    card = _activated(Recorder(Response(b"\x90\x00")))
    answer = card.receive(frame)
    assert answer is None or isinstance(answer, Answer)


def test_presence_check_is_answered_and_changes_nothing():
    app = Recorder(Response(b"\x90\x00"))
    reader = _reader(_activated(app))
    reader.exchange(None)
    assert reader.exchange(b"\x00\x01") == b"\x90\x00"
    reader.exchange(None)
    assert reader.exchange(b"\x00\x02") == b"\x90\x00"
    assert app.commands == [b"\x00\x01", b"\x00\x02"]


def test_r_nak_with_the_card_s_number_repeats_the_last_block():
    card = _activated(Recorder(Response(b"\x90\x00")))
    first = card.receive(b"\x02\x00\xa4")
    assert card.receive(b"\xb2") == Answer(first.frame)
    assert card.receive(b"\xb3") == Answer(b"\xa2")


def test_ats_fields():
    assert Ats().encode() == bytes.fromhex("0578807002")
    assert Ats(ta=None, fwi=4, historical=b"ab").encode() == bytes.fromhex("066840026162")
    assert Ats(fwi=8).frame_waiting_s == pytest.approx(0.0773, abs=1e-3)


def test_rats_offers_cid_and_foreign_cids_are_not_answered():
    card = _activated(Recorder(Response(b"\x90\x00")), rats="e083")
    assert card.receive(b"\x02\x00") is None
    assert card.receive(b"\x0a\x04\x00") is None
    assert card.receive(b"\x0a") is None
    assert card.receive(b"\x0a\x03\x00") == Answer(b"\x0a\x03\x90\x00")


def test_pps_is_accepted_right_after_rats_only():
    card = _activated(Recorder(Response(b"\x90\x00")))
    assert card.receive(b"\xd0\x11\x00") == Answer(b"\xd0")
    assert card.receive(b"\xd0\x11\x00") is None
    assert card.receive(b"\x02\x00") == Answer(b"\x02\x90\x00")


def test_a_block_longer_than_fsc_and_a_block_with_nad_are_not_answered():
    app = Recorder(Response(b"\x90\x00"))
    card = _activated(app, Ats(fsci=0))
    assert card.receive(b"\x02" + bytes(14)) is None
    assert card.receive(b"\x06\x00\x00") is None
    assert card.receive(b"\x02" + bytes(13)) is not None
    assert app.commands == [bytes(13)]


def test_deselect_halts_until_the_field_goes_off():
    app = Recorder(Response(b"\x90\x00"))
    card = _activated(app)
    assert card.receive(b"\xc2") == Answer(b"\xc2")
    assert app.lost == 1
    assert card.activate() is None
    assert card.receive(b"\xe0\x80") is None
    card.field_off()
    assert card.activate() is not None
    assert app.lost == 1


def test_in_the_protocol_state_no_poll_is_answered():
    card = _activated(Recorder(None))
    assert card.activate() is None
    card.field_off()
    assert card.activate() is not None


def test_uid_is_drawn_once_per_power_up():
    rng = random.Random(1)
    card = IsoDepCard(Recorder(None), lambda: b"\x08" + rng.randbytes(3))
    first = card.activate()
    assert card.activate() == first
    card.field_off()
    assert card.activate() != first


def test_forced_extensions_come_before_the_answer():
    reader = _reader(_activated(Recorder(Response(b"\x90\x00", extensions=3))))
    assert reader.exchange(b"\x00") == b"\x90\x00"
    assert [request[0] for request in reader.clf.requests] == [0x02, 0xF2, 0xF2, 0xF2]


def test_endless_extensions_never_answer():
    card = _activated(Recorder(Response(b"\x90\x00", extensions=ENDLESS)))
    answer = card.receive(b"\x02\x00")
    for _ in range(500):
        assert answer == Answer(b"\xf2\x01")
        answer = card.receive(b"\xf2\x01")


def test_a_slow_application_asks_for_time_and_answers_when_it_said():
    latency = 0.5
    card = _activated(Recorder(Response(b"\x90\x00", delay_s=latency)))
    answer, waited, extensions = card.receive(b"\x02\x00"), 0.0, 0
    allowed = card.timing.frame_waiting_s
    while answer.frame[0] == 0xF2:
        assert answer.delay_s < allowed
        waited, extensions = waited + answer.delay_s, extensions + 1
        allowed = card.timing.frame_waiting_s * answer.frame[1]
        answer = card.receive(answer.frame)
    assert answer.frame == b"\x02\x90\x00"
    assert answer.delay_s < allowed
    assert extensions >= 1
    assert waited + answer.delay_s == pytest.approx(latency)


def test_an_extension_must_be_confirmed_with_its_own_number():
    card = _activated(Recorder(Response(b"\x90\x00", extensions=1)))
    card.receive(b"\x02\x00")
    assert card.receive(b"\xf2\x05") is None
    assert card.receive(b"\xf2") is None
    assert card.receive(b"\xf2\x01") == Answer(b"\x02\x90\x00")


def test_silence_of_the_application_is_silence_of_the_card():
    card = _activated(Recorder(None))
    assert card.receive(b"\x02\x00") is None
    assert card.receive(b"\xb2") is None
    assert card.receive(b"\xb3") == Answer(b"\xa2")
