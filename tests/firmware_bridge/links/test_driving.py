"""What waits for a line: one cue at most, a begun frame is finished, pieces join to frames; the kept cue grows old."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName, Words
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.links.driving import MAX_WRITES, KeptCue, UnsentWrites, tell_observer
from firmware_bridge.messages import Capability, McuHello, NakReason
from firmware_bridge.protocol import Down, Refused, Shown, Up, Write
from tests.fakes.link_recorder import LinkRecorder

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=120), st.integers(0, 255))


def drained(writes: UnsentWrites, limit: int | None = None) -> list[bytes]:
    pieces = []
    while piece := writes.piece(limit):
        pieces.append(piece)
        writes.took(len(piece))
    return pieces


def test_a_newer_cue_takes_the_place_of_one_that_was_not_begun() -> None:
    writes = UnsentWrites()
    for write in (Write(b"ping"), Write(b"old", CueName.READING), Write(b"ack"), Write(b"new", CueName.THANKS)):
        writes.put(write)
    assert len(writes) == 3
    assert drained(writes) == [b"ping", b"ack", b"new"]


def test_a_begun_frame_is_finished_before_a_newer_cue() -> None:
    writes = UnsentWrites()
    old, new = Write(b"old cue", CueName.READING), Write(b"new cue", CueName.THANKS)
    writes.put(old)
    assert writes.took(3) is old
    writes.put(new)
    assert len(writes) == 2
    assert writes.piece() == b" cue"
    assert writes.took(4) is None
    assert writes.piece() == b"new cue"


def test_a_line_that_takes_nothing_keeps_the_frame() -> None:
    writes = UnsentWrites()
    writes.put(Write(b"frame"))
    assert writes.took(0) is None
    assert drained(writes) == [b"frame"]
    assert writes.piece() == b""
    assert not writes


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    writes = UnsentWrites()
    for number in range(100):
        writes.put(Write(b"%d" % number))
    assert drained(writes) == [b"%d" % number for number in range(100 - MAX_WRITES, 100)]


@given(st.lists(frames, max_size=MAX_WRITES), st.integers(1, 514))
def test_frames_split_to_any_mtu_are_whole_again_at_the_other_end(sent: list[Frame], limit: int) -> None:
    writes = UnsentWrites()
    for frame in sent:
        writes.put(Write(encode_frame(frame)))
    pieces = drained(writes, limit)
    assert all(len(piece) <= limit for piece in pieces)
    decoder = FrameDecoder()
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == sent
    assert decoder.errors == 0


@given(st.lists(st.tuples(st.sampled_from([None, CueName.READING]), st.integers(0, 30)), max_size=40), st.data())
def test_however_it_is_taken_no_frame_is_torn_and_one_cue_waits(
    steps: list[tuple[CueName | None, int]], data: st.DataObject
) -> None:
    writes, taken, begun = UnsentWrites(), b"", []
    for number, (cue, most) in enumerate(steps):
        writes.put(Write(bytes([number + 1]) * 9 + b"\x00", cue))
        assert len(writes) <= MAX_WRITES + 1
        piece = writes.piece(data.draw(st.integers(1, 12)))
        count = min(most, len(piece))
        taken += piece[:count]
        if found := writes.took(count):
            begun.append(found.data)
    taken += b"".join(drained(writes))
    whole = taken.split(b"\x00")
    assert whole.pop() == b""
    assert all(len(set(frame)) == 1 and len(frame) == 9 for frame in whole)
    assert [frame + b"\x00" for frame in whole][: len(begun)] == begun
    assert list(accumulate(frame[0] for frame in whole)) == list(accumulate(sorted(frame[0] for frame in whole)))


def test_the_kept_cue_has_the_time_left_and_keeps_its_words() -> None:
    kept = KeptCue()
    assert kept.left(0.0) is None
    cue = Cue(CueName.THANKS, words=Words("谢谢", "thanks"), colours=("#000000", "#ffffff"), ttl_ms=3000)
    kept.keep(Cue(CueName.READING), 9.0)
    kept.keep(cue, 10.0)
    left = kept.left(11.0)
    assert left is not None
    assert (left.ttl_ms, left.words, left.colours) == (2000, cue.words, cue.colours)
    assert kept.left(13.0) is None


@pytest.mark.parametrize("repeat", [False, True])
def test_the_first_byte_of_a_cue_is_told_once(repeat: bool) -> None:
    recorder = LinkRecorder()
    tell_observer(recorder, "door", Write(b"x", CueName.READING, repeat), 5.0)
    tell_observer(recorder, "door", Write(b"ping"), 5.0)
    assert recorder.wire == ([] if repeat else [("door", CueName.READING, 5.0)])


def test_what_the_mcu_says_is_told() -> None:
    recorder = LinkRecorder()
    events = [Shown(CueName.READING, 0.1), Refused("reading", NakReason.BUSY)]
    for effect in (Up(McuHello((1, 2, 3), Capability.NONE, "A\x1b")), Down("silent"), *events):
        tell_observer(recorder, "door", effect, 5.0)
    assert recorder.ups == ["A? 1.2.3"]
    assert recorder.events == events


def test_repeats_of_what_still_waits_push_no_cue_out() -> None:
    writes = UnsentWrites()
    writes.put(Write(b"cue", CueName.THANKS))
    writes.put(Write(b"ping"))
    for _ in range(MAX_WRITES):
        writes.put(Write(b"ping", repeat=True))
        writes.put(Write(b"cue", CueName.THANKS, repeat=True))
    assert drained(writes) == [b"cue", b"ping"]
    writes.put(Write(b"ping", repeat=True))
    assert drained(writes) == [b"ping"], "the line has taken the first"
