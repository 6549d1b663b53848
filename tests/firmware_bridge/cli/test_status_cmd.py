"""``status``: who the MCU is and how it is, in words and for programs, and what to do when it does not answer."""

import fcntl
import json
import os

import pytest

from firmware_bridge import device
from firmware_bridge.cli.main import main
from firmware_bridge.messages import AskStatus, Capability, McuHello, Message, Nak, NakReason, Status
from firmware_bridge.simulator import McuSimulator


def test_status_says_all_that_the_mcu_tells(capsys: pytest.CaptureFixture[str]) -> None:
    able = Capability.TEXT | Capability.BUTTON | Capability(0x80)
    with McuSimulator(hello=McuHello((1, 4, 2), able, "LX-7\x1b[2J")) as simulator:
        assert main(["status", "--port", simulator.device_path]) == 0
        assert simulator.cues == []
    said = capsys.readouterr().out
    rows = dict(line.strip().split(maxsplit=1) for line in said.splitlines())
    assert rows["firmware"] == "1.4.2"
    assert rows["serial"] == "LX-7?[2J"
    assert rows["able"] == "shows texts, has a button, bit 0x80, not of this version"
    assert rows["shows"] == "invite"
    assert rows["temperature"] == "41 °C"
    assert rows["faults"] == "none"
    assert rows["verdict"] == "it answers and reports no fault"
    assert "up for" in said
    assert "round trip" in said
    assert max(map(len, said.splitlines())) <= 80


def test_status_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        assert main(["status", "--json", "--port", simulator.device_path]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["target"] == simulator.device_path
    assert (told["answers"], told["healthy"], told["firmware"], told["serial"]) == (True, True, "1.0.0", "simulated")
    assert told["capabilities"] == ["text", "brightness", "quiet"]
    assert (told["cue"], told["temperature_c"], told["faults"]) == ("invite", 41, 0)
    assert 0 < told["round_trip_ms"]["median"] <= told["round_trip_ms"]["worst"]


class _Faulty(device.DeviceSession):
    """An MCU with a fault of its own."""

    def _answer_to(self, message: object, seq: int, now: float) -> bytes:
        if isinstance(message, AskStatus):
            return self.encoded(seq)
        return super()._answer_to(message, seq, now)

    def encoded(self, seq: int) -> bytes:
        answers: list[Message] = [Status(None, 90_061_000, -20, faults=0x0104)]
        return b"".join(device.encode_message(answer, seq) for answer in answers)


class _WithoutStatus(_Faulty):
    def encoded(self, seq: int) -> bytes:
        return device.encode_message(Nak(seq, NakReason.UNKNOWN_TYPE), seq)


def test_a_fault_of_the_mcu_is_a_problem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_bridge.simulator.DeviceSession", _Faulty)
    with McuSimulator() as simulator:
        assert main(["status", "--port", simulator.device_path]) == 1
    said = capsys.readouterr().out
    assert "0x0104" in said
    assert "nothing yet" in said
    assert "1 d 1 h" in said
    assert "the bits are the maker's" in said


def test_an_mcu_without_a_status_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.simulator.DeviceSession", _WithoutStatus)
    with McuSimulator() as simulator:
        assert main(["status", "--port", simulator.device_path]) == 1
    assert "no STATUS to give" in capsys.readouterr().out


def test_a_port_that_another_process_has(capsys: pytest.CaptureFixture[str]) -> None:
    with McuSimulator() as simulator:
        taken = os.open(simulator.device_path, os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.flock(taken, fcntl.LOCK_EX)
            assert main(["status", "--port", simulator.device_path]) == 1
        finally:
            os.close(taken)
    assert "Another process has it" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["/dev/no-such-screen", "tcp:nowhere:1", "tcp:127.0.0.1:1"])
def test_what_is_wrong_is_told_to_a_program_too(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--port", port]) == 1
    said, complained = capsys.readouterr()
    told = json.loads(said)
    assert (told["answers"], told["target"], complained) == (False, port, "")
    assert told["reason"].startswith(port)
