"""Story 20: a screen that stays on its last cue. Every cue ends by itself, at the display too when nobody speaks."""

import signal
import time
from pathlib import Path

from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from firmware_bridge.cues import CueName
from firmware_bridge.simulator import McuSimulator
from tests.fakes.agent_process import agent_process
from tests.fakes.mosquitto import free_port
from tests.fakes.whole_agent import SERIAL_SCREEN, write_config


def showing(display: McuSimulator, cue: CueName, *, static: bool) -> None:
    """Wait until a person sees this."""
    deadline = time.monotonic() + 60
    while (display.showing.cue, display.showing.static) != (cue, static):
        assert time.monotonic() < deadline, display.showing
        time.sleep(0.02)


def test_a_display_whose_agent_died_invites_by_itself(tmp_path: Path) -> None:
    with Pn532Emulator() as emulator, McuSimulator() as display:
        config = write_config(
            tmp_path,
            reader=emulator.device_path,
            host="127.0.0.1",
            port=free_port(),
            screens=[SERIAL_SCREEN.format(device=display.device_path)],
        )
        with agent_process(config, tmp_path) as agent:
            showing(display, CueName.INVITE, static=False)
            phone = SimulatedPhone()
            emulator.place(phone)
            showing(display, CueName.THANKS, static=False)
            agent.end(signal.SIGKILL)
            assert len(phone.tokens) == 1
            showing(display, CueName.INVITE, static=True)
