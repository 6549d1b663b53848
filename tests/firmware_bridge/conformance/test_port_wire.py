"""The wire over a real port: a pty with the simulated MCU behind it."""

import pytest

from firmware_bridge.conformance import port_wire
from firmware_bridge.conformance.base import Verdict
from firmware_bridge.conformance.port_wire import PortWire
from firmware_bridge.conformance.runner import chosen, run
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.simulator import McuSimulator

pytestmark = pytest.mark.usefixtures("patient_checks")


def test_checks_run_over_a_pty() -> None:
    with McuSimulator() as simulator, PortWire(simulator.device_path) as wire:
        outcomes = run(Talk(wire, within_s=5.0), chosen(["hello", "cues"]), [].append)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.PASS}


def test_reading_ends_at_its_moment() -> None:
    with McuSimulator() as simulator, PortWire(simulator.device_path) as wire:
        begun = wire.now()
        assert wire.read(begun + 0.05) == b""
        assert wire.now() >= begun + 0.05
        assert wire.read(begun) == b"", "a moment that is over does not hang"


def test_a_port_that_went_and_came_back_is_opened_anew() -> None:
    with McuSimulator() as simulator, PortWire(simulator.device_path) as wire:
        simulator.unplug()
        with pytest.raises(LinkError) as gone:
            wire.read(wire.now() + 5)
        assert gone.value.fault is LinkFault.UNPLUGGED
        simulator.replug()
        wire.reopen()
        (outcome,) = run(Talk(wire, within_s=5.0), chosen(["status.ping"]), [].append)
        assert outcome.verdict is Verdict.PASS


def test_a_port_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_wire, "_REOPEN_WITHIN_S", 0.3)
    with McuSimulator() as simulator, PortWire(simulator.device_path) as wire:
        simulator.unplug()
        with pytest.raises(LinkError, match="No such file"):
            wire.reopen()


def test_an_mcu_that_takes_no_bytes_does_not_hang_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_wire, "_WRITE_WITHIN_S", 0.3)
    with McuSimulator() as simulator, PortWire(simulator.device_path) as wire:
        simulator.faults.stuck = True
        with pytest.raises(LinkError, match="takes no bytes"):
            wire.write(b"\x55" * 1_000_000)
