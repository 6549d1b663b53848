import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.profiles.acs_ccid import (
    NAK_FRAME,
    AcsCcidParser,
    Answer,
    Command,
    Message,
    SlotChange,
    Status,
    encode,
)
from edge_agent.readers.profiles.acs_dialogue import REPEATS, SENDS, Dialogue
from edge_agent.readers.profiles.base import Fault, FaultKind

APDU = bytes.fromhex("00A40400")
SEQ = 7


def block(seq: int = SEQ, status: int = 0, data: bytes = b"\x90\x00", kind: Answer = Answer.DATA_BLOCK) -> Message:
    return Message(kind, 0, seq, status, 0x81, data)


@pytest.fixture
def xfr() -> Dialogue:
    return Dialogue(Command.XFR_BLOCK, SEQ, APDU, baud=9600, now=0.0)


def test_an_acknowledged_command_is_waited_for_and_answered(xfr: Dialogue) -> None:
    assert xfr.frame == encode(Command.XFR_BLOCK, SEQ, APDU)
    assert xfr.due(5.0) < 0.3
    assert xfr.handle([Status.ACK], 0.05) == b""
    assert xfr.due(5.0) == 5.0
    assert xfr.handle([block()], 0.2) == b""
    assert xfr.answer == block()


def test_an_answer_with_another_number_or_of_another_kind_is_dropped(xfr: Dialogue) -> None:
    xfr.handle([Status.ACK, block(SEQ - 1), block(kind=Answer.SLOT_STATUS), SlotChange(card_there=True)], 0.05)
    assert xfr.answer is None


def test_a_time_extension_is_counted_and_is_no_answer(xfr: Dialogue) -> None:
    for count in range(1, 4):
        assert xfr.handle([block(status=0x80, data=b"")], 0.05 * count) == b""
        assert (xfr.extensions, xfr.answer) == (count, None)
    assert xfr.due(5.0) == 5.0, "who asks for time has taken the command"


@pytest.mark.parametrize("refusal", [Status.CHECKSUM, Status.LENGTH, Status.ETX, Status.TIMEOUT, Status.SLOT])
def test_a_command_that_came_damaged_is_sent_again_but_not_for_ever(xfr: Dialogue, refusal: Status) -> None:
    sent = [xfr.handle([refusal], 0.01 * count) for count in range(10)]
    assert sent[: SENDS - 1] == [xfr.frame] * (SENDS - 1)
    assert set(sent[SENDS - 1 :]) == {b""}
    assert xfr.due(5.0) == 5.0


def test_a_damaged_answer_is_asked_for_again_but_not_for_ever(xfr: Dialogue) -> None:
    xfr.handle([Status.ACK], 0.01)
    sent = [xfr.handle([Fault(FaultKind.CHECKSUM), Fault(FaultKind.FORM)], 0.1 * count) for count in range(10)]
    assert sent == [NAK_FRAME] * REPEATS + [b""] * (10 - REPEATS)


def test_stray_bytes_ask_for_nothing(xfr: Dialogue) -> None:
    assert xfr.handle([Fault(FaultKind.STRAY)], 0.01) == b""


def test_an_apdu_without_any_echo_is_not_sent_again_before_it_is_known_to_be_lost(xfr: Dialogue) -> None:
    assert xfr.handle([], xfr.due(5.0)) == NAK_FRAME
    assert xfr.handle([block(SEQ - 1)], 0.3) == xfr.frame, "the last answer is one of before: it never arrived"


def test_an_apdu_whose_echo_alone_was_lost_reaches_the_phone_once(xfr: Dialogue) -> None:
    assert xfr.handle([], xfr.due(5.0)) == NAK_FRAME
    assert xfr.handle([block()], 0.3) == b""
    assert xfr.answer == block()


def test_a_late_answer_of_before_that_nobody_asked_for_proves_nothing(xfr: Dialogue) -> None:
    assert xfr.handle([block(SEQ - 1)], 0.01) == b""


def test_a_harmless_command_without_any_echo_is_sent_again_at_once() -> None:
    look = Dialogue(Command.GET_SLOT_STATUS, SEQ, b"", baud=9600, now=0.0)
    sent = []
    now = 0.0
    while (now := look.due(5.0)) < 5.0:
        sent.append(look.handle([], now))
    assert [frame for frame in sent if frame] == [look.frame] * (SENDS - 1)


def test_a_slow_line_is_given_its_time() -> None:
    slow = Dialogue(Command.XFR_BLOCK, SEQ, bytes(261), baud=9600, now=0.0)
    assert slow.due(5.0) > 274 * 10 / 9600


frames = st.one_of(
    st.sampled_from(Status),
    st.builds(SlotChange, st.booleans()),
    st.builds(Fault, st.sampled_from(FaultKind)),
    st.builds(block, st.sampled_from([SEQ, SEQ - 1]), st.sampled_from([0, 0x42, 0x80])),
)


@given(st.lists(st.tuples(st.lists(frames, max_size=4), st.floats(0, 1)), max_size=40), st.sampled_from(Command))
def test_whatever_comes_little_is_sent_and_only_our_answer_is_taken(steps: list, command: Command) -> None:
    dialogue = Dialogue(command, SEQ, b"", baud=9600, now=0.0)
    now, sent = 0.0, []
    for events, pause in steps:
        now += pause
        if more := dialogue.handle(events, now):
            sent.append(more)
        if dialogue.answer is not None:
            break
    assert sent.count(dialogue.frame) < SENDS
    assert sent.count(NAK_FRAME) <= REPEATS
    assert len(sent) == sent.count(dialogue.frame) + sent.count(NAK_FRAME)
    assert dialogue.answer is None or dialogue.answer.seq == SEQ


@given(st.binary(max_size=400))
def test_noise_never_becomes_an_answer_by_raising(noise: bytes) -> None:
    dialogue = Dialogue(Command.XFR_BLOCK, SEQ, APDU, baud=9600, now=0.0)
    parser = AcsCcidParser()
    dialogue.handle(parser.feed(noise) + parser.idle(), 0.1)
