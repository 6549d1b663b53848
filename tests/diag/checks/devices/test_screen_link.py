import threading
from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.screen_link import CHECK
from edge_agent.diag.finding import CannotLook, NotHere, Seen
from edge_agent.diag.screen_talk import greet, greet_all
from edge_agent.diag.site import AGENT_DOWN
from firmware_bridge.links.base import LinkFault
from firmware_bridge.simulator import McuSimulator
from tests.fakes.device_site import DeviceSite, ids

BY_ID = "/dev/serial/by-id/usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_Controller_ec1a8de9d7f0ea11-if00-port0"
SCREEN = '[[screens]]\ndriver = "serial"\ndevice = "{device}"\n'


def told(folder: Path, **screen: object) -> DeviceSite:
    return DeviceSite(folder, SCREEN.format(device="/dev/edge-screen"), {"screens": [{"name": "serial0", **screen}]})


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("/dev/edge-screen: no answer for 3 s", "screen-dead"),
        ("no answer for 3 s, 40 unreadable frames: look at the baud rate, at TX, RX and ground", "screen-noisy"),
        ("the MCU refused HELLO: version", "screen-firmware-old"),
        (
            f"{BY_ID}: no answer for 3 s, 12 frames that are no message of version 1: look at the firmware",
            "screen-firmware-old",
        ),
        (
            (
                f"{BY_ID}: no answer for 3 s, 999 unreadable frames, 12 frames that are no message of version 1: "
                "look at the baud rate, at TX, RX and ground"
            ),
            "screen-noisy",
        ),
        ("no answer, 9 frames that are no message of version 1: look at the firmware", "screen-firmware-old"),
    ],
)
def test_what_the_agent_says_of_a_screen_that_is_down(tmp_path: Path, detail: str, kind: str) -> None:
    assert ids(CHECK.look, told(tmp_path, state="down", detail=detail)) == [kind]


def test_a_screen_that_is_up_is_told_with_what_it_shows(tmp_path: Path) -> None:
    site = told(tmp_path, state="up", firmware="LX-7 1.4\x1b", last_cue="invite", rtt_ms=12.04)
    (seen,) = CHECK.look(site)
    assert isinstance(seen, Seen)
    assert seen.text.startswith("up, LX-7 1.4")
    assert seen.text.endswith("shows invite, confirms in 12.0 ms")
    assert "\x1b" not in seen.text


def test_without_an_agent_its_mcu_is_asked_itself(tmp_path: Path) -> None:
    with McuSimulator() as screen:
        shown = len(screen.cues)
        (seen,) = CHECK.look(DeviceSite(tmp_path, SCREEN.format(device=screen.device_path)))
        assert isinstance(seen, Seen)
        assert "1.0.0 answers" in seen.text
        assert len(screen.cues) == shown  # nobody saw anything of it


def test_a_screen_that_only_the_agent_can_reach_is_explained_by_its_absence(tmp_path: Path) -> None:
    with pytest.raises(CannotLook) as lost:
        list(CHECK.look(DeviceSite(tmp_path, '[[screens]]\ndriver = "ble"\nname = "LX-7"\n')))
    assert lost.value.because == AGENT_DOWN
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, '[[screens]]\ndriver = "web"\n')))


def test_a_talk_tells_the_status_and_leaves_no_thread_and_no_lock_behind() -> None:
    with McuSimulator() as screen:
        screen.fault_bits = 0x0003
        heard = greet(screen.device_path)
        assert heard.status is not None
        assert heard.status.faults == 0x0003
        assert greet(screen.device_path).answers  # the port is free again
        for thread in threading.enumerate():
            if thread.name == "screen-screen":
                thread.join(10)  # it ends by itself
                assert not thread.is_alive()


def test_several_screens_are_asked_at_once_each_with_the_whole_time() -> None:
    with McuSimulator() as one, McuSimulator() as two:
        two.faults.deaf = True
        over = threading.Event()

        def pull() -> None:
            while one.greeted_by is None and not over.wait(0.01):
                pass
            two.unplug()  # or the talk would go on for the whole time

        puller = threading.Thread(target=pull)
        puller.start()
        heard = greet_all([(two.device_path, 115200), (one.device_path, 115200)], within_s=30)
        over.set()
        puller.join()
    assert [screen.answers for screen in heard] == [False, True]


def test_a_talk_with_nobody_says_why(tmp_path: Path) -> None:
    gone = greet(str(tmp_path / "none"))
    assert gone.error is not None
    assert gone.error.fault is LinkFault.NOT_FOUND
    with McuSimulator() as screen:
        screen.faults.deaf = True
        silent = greet(screen.device_path, within_s=0.2)
    assert silent.error is not None
    assert silent.error.fault is LinkFault.NO_ANSWER


def test_a_port_that_another_program_has_open_gets_no_hello(tmp_path: Path) -> None:
    with McuSimulator() as screen:
        site = DeviceSite(tmp_path, SCREEN.format(device=screen.device_path))
        fds = site.path("/proc/4242/fd")
        fds.mkdir(parents=True)
        (fds / "7").symlink_to(Path(screen.device_path).resolve())
        (seen,) = CHECK.look(site)
        assert isinstance(seen, Seen)
        assert seen.text.endswith("is open in a program (process 4242)")
