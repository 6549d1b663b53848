"""The plan against lines whose bytes arrive as a UART at another speed would take them in."""

from collections.abc import Iterable
from functools import reduce
from operator import xor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.readers.probe_plan import (
    CANDIDATES,
    LISTEN_BAUDS,
    LONGEST_BYTES,
    LONGEST_S,
    QUIET_S,
    Candidate,
    HoldAgain,
    Listening,
    Speed,
    Tally,
    Verdict,
    judge,
    lead,
)
from edge_agent.simulation.uart import received

STX, AA_BB_XOR, ASCII = CANDIDATES[0], CANDIDATES[1], next(c for c in CANDIDATES if c.settings.profile == "ascii_line")
bauds = st.sampled_from(LISTEN_BAUDS)
numbers = st.binary(min_size=5, max_size=5)


def stx_frame(number: bytes, end: bytes = b"") -> bytes:
    digits = number.hex().upper() + f"{reduce(xor, number):02X}"
    return b"\x02" + digits.encode() + end + b"\x03"


def aa_bb_frame(candidate: Candidate, payload: bytes) -> bytes:
    settings = candidate.settings
    overhead = len(settings.head) + len(settings.tail) + (2 if settings.checksum == "none" else 3)
    body = bytes([0, len(payload) + (overhead if settings.length == "frame" else 0)]) + payload
    checks = {"xor": bytes([reduce(xor, body)]), "sum": bytes([sum(body) & 0xFF]), "none": b""}
    return settings.head + body + checks[settings.checksum] + settings.tail


def line(text: str, end: bytes) -> bytes:
    return text.encode() + end


hex_lines = st.builds(
    line, st.text("0123456789ABCDEF", min_size=8, max_size=20), st.sampled_from([b"\r", b"\n", b"\r\n"])
)
frames = st.one_of(
    st.tuples(st.just(STX), st.builds(stx_frame, numbers, st.sampled_from([b"", b"\r\n"]))),
    st.sampled_from([c for c in CANDIDATES if c.settings.profile == "aa_bb" and c.checked]).flatmap(
        lambda candidate: st.tuples(
            st.just(candidate), st.builds(aa_bb_frame, st.just(candidate), st.binary(min_size=4, max_size=12))
        )
    ),
    st.tuples(st.just(ASCII), hex_lines),
)


class Person:
    """Holds a card to a reader as often as asked; ``said`` is what the reader sends each time."""

    def __init__(self, listening: Listening, said: Iterable[bytes], sent_at: int) -> None:
        self.listening = listening
        self.holds = 0
        self._said = said
        self._sent_at = sent_at
        self._now = 10.0

    def hold(self) -> Verdict | None:
        """Once; None if the plan wants more."""
        self.holds += 1
        effects = []
        for piece in self._said:
            self._now += 0.01
            data = received(piece, sent_at=self._sent_at, read_at=self.listening.baud)
            effects += self.listening.heard(data, self._now)
        self._now += QUIET_S
        effects += self.listening.quiet(self._now)
        return next((effect for effect in effects if isinstance(effect, Verdict)), None)

    def hold_until_found(self, at_most: int) -> Verdict:
        for _ in range(at_most):
            if (verdict := self.hold()) is not None:
                return verdict
        raise AssertionError(f"nothing found in {at_most} times; heard {self.listening.heard_at}")


# -- speeds -----------------------------------------------------------------------------------------------------------


@given(frames, bauds)
def test_any_reader_is_found_by_as_many_holds_as_there_are_speeds(what: tuple[Candidate, bytes], sent_at: int) -> None:
    candidate, frame = what
    verdict = Person(Listening(), [frame], sent_at).hold_until_found(len(LISTEN_BAUDS))
    assert verdict.baud == sent_at
    assert candidate in (verdict.candidate, *verdict.also)
    assert verdict.good == 1


@pytest.mark.parametrize("sent_at", LISTEN_BAUDS)
@pytest.mark.parametrize(
    "frame",
    [stx_frame(bytes.fromhex("0C000621A5")), bytes.fromhex("AA00060000160FF47F94BB"), b"04A1B2C3D4E5F6\r\n"],
)
def test_two_holds_are_enough_for_what_readers_really_say(frame: bytes, sent_at: int) -> None:
    person = Person(Listening(), [frame], sent_at)
    assert person.hold_until_found(2).baud == sent_at
    assert person.holds == (1 if sent_at == LISTEN_BAUDS[0] else 2)


@given(st.binary(min_size=1, max_size=30), bauds)
def test_the_first_bits_never_speak_for_more_than_the_true_speed(data: bytes, sent_at: int) -> None:
    heard = received(data, sent_at=sent_at, read_at=LISTEN_BAUDS[0])
    assert min(map(lead, heard)) >= min(LISTEN_BAUDS[0] // sent_at, 9)


def test_a_silent_line_stays_at_its_speed() -> None:
    listening = Listening()
    assert [listening.quiet(float(now)) for now in range(100)] == [()] * 100
    assert listening.baud == LISTEN_BAUDS[0]
    assert listening.heard_at == {}


def test_bytes_without_sense_move_on_once_they_end_and_ask_for_the_card_again() -> None:
    listening = Listening()
    assert listening.heard(b"\x80\x81\x83", 1.0) == ()
    assert listening.quiet(1.0 + QUIET_S / 2) == ()
    speed, again = listening.quiet(1.1 + QUIET_S)
    assert isinstance(speed, Speed)
    assert again == HoldAgain()
    assert listening.baud == speed.baud != LISTEN_BAUDS[0]
    assert listening.heard_at == {LISTEN_BAUDS[0]: 3}


def test_a_reader_that_repeats_itself_without_a_pause_is_not_waited_for() -> None:
    listening = Listening()
    frame = stx_frame(bytes.fromhex("0C000621A5"))
    now, effects = 0.0, []
    while not any(isinstance(effect, Verdict) for effect in effects):
        now += 0.065
        effects += listening.heard(received(frame, sent_at=9600, read_at=listening.baud), now)
    assert now < 2 * LONGEST_S + 1
    assert HoldAgain() not in effects


@given(st.integers(0, 255))
def test_every_speed_is_tried_before_one_is_tried_again(byte: int) -> None:
    assume(byte not in b"\r\n")
    listening = Listening()
    tried = []
    for _ in range(2 * len(LISTEN_BAUDS)):
        tried.append(listening.baud)
        listening.heard(bytes([byte]), 1.0)
        listening.quiet(2.0)
    assert sorted(tried[: len(LISTEN_BAUDS)]) == sorted(LISTEN_BAUDS)
    assert sorted(tried[len(LISTEN_BAUDS) :]) == sorted(LISTEN_BAUDS)


@given(st.lists(st.tuples(st.binary(max_size=700), st.floats(0, 1)), max_size=20))
def test_noise_of_any_kind_leaves_a_plan_that_goes_on(noise: list[tuple[bytes, float]]) -> None:
    listening = Listening()
    now = 1.0
    for data, pause in noise:
        now += pause
        effects = (*listening.heard(data, now), *listening.quiet(now))
        if any(isinstance(effect, Verdict) for effect in effects):
            assert listening.heard(b"more", now) == listening.quiet(now + 9) == ()
            return
        assert listening.baud in LISTEN_BAUDS
    assert sum(listening.heard_at.values()) == sum(len(data) for data, _ in noise)


# -- evidence ---------------------------------------------------------------------------------------------------------


def test_the_frame_that_listening_began_in_the_middle_of_does_no_harm() -> None:
    frame = stx_frame(bytes.fromhex("0C000621A5"))
    verdict = Person(Listening(bauds=(9600,)), [frame[5:], frame], 9600).hold()
    assert verdict is not None
    assert verdict.candidate == STX


def test_many_frames_that_need_no_silence_end_it_early() -> None:
    listening = Listening(bauds=(9600,))
    frame = stx_frame(bytes.fromhex("0C000621A5"))
    (verdict,) = listening.heard(frame * 3, 1.0)
    assert isinstance(verdict, Verdict)
    assert verdict.good == 3


def test_a_frame_that_says_that_no_card_is_there_is_proof_as_well() -> None:
    # AA 00 02 01 83 80 BB: an RDM880 that was asked, and has none.
    (verdict,) = [Person(Listening(bauds=(9600,)), [bytes.fromhex("AA0002018380BB")], 9600).hold()]
    assert verdict is not None
    assert verdict.candidate == AA_BB_XOR


def test_a_frame_whose_two_check_bytes_agree_names_both() -> None:
    # No two bytes of 00 04 10 20 40 80 share a bit: their XOR and their sum are both F4.
    verdict = Person(Listening(bauds=(9600,)), [bytes.fromhex("AA000410204080F4BB")], 9600).hold()
    assert verdict is not None
    assert verdict.candidate == AA_BB_XOR
    assert [candidate.settings.checksum for candidate in verdict.also] == ["sum"]


def test_a_check_byte_counts_for_more_than_many_lines() -> None:
    verdict = judge([Tally(ASCII, 9, 0, 90), Tally(STX, 1, 0, 90)], 9600)
    assert verdict is not None
    assert verdict.candidate == STX


@pytest.mark.parametrize(("good", "faults", "heard"), [(0, 0, 50), (1, 1, 50), (2, 0, 8), (1, 0, 4)])
def test_a_few_printable_characters_are_no_line(good: int, faults: int, heard: int) -> None:
    assert judge([Tally(ASCII, good, faults, heard)], 9600) is None


@pytest.mark.parametrize(("good", "faults", "taken"), [(1, 0, True), (1, 1, True), (1, 2, False), (0, 0, False)])
def test_a_checked_frame_is_taken_until_faults_outweigh_it(good: int, faults: int, taken: bool) -> None:
    assert (judge([Tally(STX, good, faults, 50)], 9600) is not None) == taken


@given(st.lists(st.tuples(st.sampled_from(CANDIDATES), st.integers(0, 9), st.integers(0, 9)), unique_by=lambda t: t[0]))
def test_the_verdict_is_plausible_and_nothing_plausible_is_heavier(rows: list[tuple[Candidate, int, int]]) -> None:
    tallies = [Tally(candidate, good, faults, 100) for candidate, good, faults in rows]
    verdict = judge(tallies, 9600)
    plausible = {tally.candidate: tally for tally in tallies if tally.plausible}
    assert (verdict is None) == (not plausible)
    if verdict is None:
        return
    best = plausible[verdict.candidate]
    assert best.good > 0
    assert verdict.candidate not in verdict.also
    for other in plausible.values():
        assert (other.candidate.checked, other.good - other.faults) <= (best.candidate.checked, best.good - best.faults)


def test_every_candidate_has_a_text_of_its_own() -> None:
    assert len({str(candidate) for candidate in CANDIDATES}) == len(CANDIDATES)
    assert "AA..BB" in str(AA_BB_XOR)


def test_too_much_noise_is_judged_before_it_ends() -> None:
    listening = Listening()
    (effect,) = listening.heard(b"\x80" * LONGEST_BYTES, 1.0)
    assert isinstance(effect, Speed)
