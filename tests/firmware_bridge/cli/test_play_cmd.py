"""``play`` as a maker runs it: the MCU is told what was asked for, and what it answered is said in plain words."""

import sys
import threading
from itertools import groupby

import pytest

from firmware_bridge.cli.main import main
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame
from firmware_bridge.messages import Capability, McuEvent, McuHello, MessageError, NakReason
from firmware_bridge.simulator import McuSimulator


def test_play_shows_a_cue_and_says_what_the_mcu_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator(hello=McuHello((1, 4, 2), Capability.TEXT, "LX-7")) as simulator:
        words = ["--text", "a coupon", "--amount", "¥2.00", "--level", "40", "--ttl", "60000"]
        status = main(["play", "thanks", "--port", simulator.device_path, *words])
        assert {(cue, text) for _, cue, text in simulator.cues} == {(CueName.THANKS, "¥2.00\na coupon")}
        assert simulator.showing.level == 40
    said, complained = capsys.readouterr()
    assert (status, complained) == (0, "")
    assert "MCU answers: LX-7 1.4.2" in said
    assert "confirmed: thanks after " in said


@pytest.mark.parametrize(("lang", "text"), [("zh-CN", "¥2.00\n已领取优惠券"), ("en", "¥2.00\na coupon for you")])
def test_play_all_goes_through_every_cue_and_leaves_the_invitation(
    lang: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with McuSimulator() as simulator:
        status = main(["play", "--all", "--each", "0", "--port", simulator.device_path, "--lang", lang])
        # One whose ACK was late on a loaded machine is shown again.
        assert [cue for cue, _ in groupby(cue for _, cue, _ in simulator.cues)] == [*CueName, CueName.INVITE]
        told = {cue: text for _, cue, text in simulator.cues}
    assert (told[CueName.THANKS], told[CueName.IDENTIFY]) == (text, "bring-up")
    assert status == 0
    assert "9 of 9 cues confirmed, median " in capsys.readouterr().out


def test_play_says_that_an_older_mcu_is_told_resting_for_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator(hello=McuHello((1, 4, 2), Capability.TEXT, "LX-7")) as simulator:
        assert main(["play", "quiet", "--port", simulator.device_path]) == 0
        assert simulator.cues[0][1] is CueName.RESTING
    assert " ms (told as resting: this MCU does not know it)" in capsys.readouterr().out


def test_play_at_a_port_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "thanks", "--port", "/dev/no-such-screen"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "firmware-bridge: /dev/no-such-screen: No such file or directory"
    assert "/dev/serial/by-id/" in second


def test_play_without_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        simulator.faults.deaf = True
        assert main(["play", "thanks", "--port", simulator.device_path]) == 1
    complained = capsys.readouterr().err
    assert "no answer for 3 s" in complained
    assert "--baud" in complained


def test_play_says_when_the_mcu_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from_host = sys.modules["firmware_bridge.messages"].from_host

    def older(frame: Frame) -> object:
        if frame.type == 0x02 and frame.payload[0] == 8:
            raise MessageError(NakReason.UNKNOWN_CUE, "an older firmware")
        return from_host(frame)

    monkeypatch.setattr("firmware_bridge.device.from_host", older)
    with McuSimulator() as simulator:
        assert main(["play", "identify", "--port", simulator.device_path]) == 1
        assert main(["play", "--all", "--each", "0", "--port", simulator.device_path]) == 1
    said = capsys.readouterr().out
    assert "refused: identify: unknown cue" in said
    assert "8 of 9 cues confirmed" in said


def test_play_waits_for_no_mcu_that_talks_of_other_things_for_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_host = sys.modules["firmware_bridge.messages"].from_host

    def busy(frame: Frame) -> object:
        if frame.type == 0x02:
            raise MessageError(NakReason.BUSY, "drawing")
        return from_host(frame)

    monkeypatch.setattr("firmware_bridge.device.from_host", busy)
    ended = threading.Event()
    with McuSimulator() as simulator:

        def chatter() -> None:
            while not ended.wait(0.3):
                simulator.raise_event(McuEvent(1, b"\x01"))

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            assert main(["play", "thanks", "--port", simulator.device_path]) == 1
        finally:
            ended.set()
            thread.join()
    assert "the MCU never confirmed thanks" in capsys.readouterr().err
