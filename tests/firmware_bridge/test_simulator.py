"""The simulated MCU itself: a stable path, faults on request, nothing left behind."""

import os
import select
import time
from pathlib import Path

import pytest

from firmware_bridge.cues import CueName
from firmware_bridge.frames import FrameDecoder
from firmware_bridge.messages import Ack, HostHello, McuHello, ShowCue, encode_message, from_mcu
from firmware_bridge.simulator import McuSimulator


def talk(path: str, *messages: bytes, answers: int) -> list[object]:
    """Write to the pty as a host would; return what came back: so many frames, however late, and any that follow."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        for message in messages:
            os.write(fd, message)
        decoder = FrameDecoder()
        found: list[object] = []
        while select.select([fd], [], [], 30 if len(found) < answers else 0.1)[0]:
            found += [from_mcu(frame) for frame in decoder.feed(os.read(fd, 4096))]
        return found
    finally:
        os.close(fd)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


HELLO = encode_message(HostHello("sh-1"), 1)


def test_answers_shows_and_leaves_nothing_behind() -> None:
    fds = open_files()
    with McuSimulator() as simulator:
        before = time.monotonic()
        cue = encode_message(ShowCue(CueName.THANKS, 60_000, text="hi"), 2)
        answers = talk(simulator.device_path, HELLO, cue, answers=3)
        assert [type(answer) for answer in answers] == [Ack, McuHello, Ack]
        assert before <= simulator.wait_for(CueName.THANKS, 5) <= time.monotonic()
        assert simulator.showing.text == "hi"
        folder = Path(simulator.device_path).parent
    assert not folder.exists()
    assert open_files() <= fds  # fewer, where something of before was collected meanwhile
    simulator.close()


def test_the_path_stays_the_same_over_a_pulled_cable(tmp_path: Path) -> None:
    path = tmp_path / "edge-screen"
    with McuSimulator(path=path) as simulator:
        assert simulator.device_path == str(path)
        simulator.unplug()
        simulator.unplug()
        assert not os.path.lexists(path)
        simulator.replug()
        simulator.replug()
        assert [type(answer) for answer in talk(str(path), HELLO, answers=2)] == [Ack, McuHello]
    assert not os.path.lexists(path)


def test_waiting_in_vain_says_what_was_shown_instead() -> None:
    with McuSimulator() as simulator:
        talk(simulator.device_path, HELLO, encode_message(ShowCue(CueName.RETRY, 3000), 2), answers=3)
        with pytest.raises(TimeoutError, match=r"no thanks within 0\.01 s; shown: retry"):
            simulator.wait_for(CueName.THANKS, 0.01)


@pytest.mark.parametrize("fault", ["deaf", "stuck"])
def test_deaf_and_stuck_answer_nothing(fault: str) -> None:
    with McuSimulator() as simulator:
        setattr(simulator.faults, fault, True)
        assert talk(simulator.device_path, HELLO, answers=0) == []


def test_a_second_screen_at_the_same_path_keeps_it_when_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "edge-screen"
    first = McuSimulator(path=path).__enter__()
    with McuSimulator(path=path) as second:
        first.close()
        assert talk(second.device_path, HELLO, answers=2)
    assert not os.path.lexists(path)
