"""Two hosts for the emulated PN532: the real nfcpy driver, and a bare one that speaks frames."""

import logging
import os
import select
import termios
import time

import nfc.clf
import pytest
from nfc.clf import RemoteTarget, pn532, transport

from edge_agent.readers import nfcpy_reader, pn532_care
from edge_agent.simulation.pn532_frames import Frame, FrameParser

DEADLINE_S = 30.0
PATIENCE_S = 20.0


def have_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let our driver wait for an emulated chip whose thread gets no time for seconds; a budget still ends in time.

    Costs nothing where the chip answers. A chip without this process would have answered while it stood still.
    """
    monkeypatch.setattr(nfcpy_reader, "_PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(nfcpy_reader, "_WAKE_FOR_S", PATIENCE_S)
    monkeypatch.setattr(nfcpy_reader, "_PRESENCE_BUDGET_S", PATIENCE_S)
    monkeypatch.setattr(pn532_care, "_WITHIN_S", PATIENCE_S)
    ask_card = nfcpy_reader._Chipset.in_communicate_thru

    def in_communicate_thru(chipset: nfcpy_reader._Chipset, data: bytes, timeout: float) -> bytearray:
        return ask_card(chipset, data, timeout + PATIENCE_S)  # it is the chip that tells of a silent card

    monkeypatch.setattr(nfcpy_reader._Chipset, "in_communicate_thru", in_communicate_thru)


def patient_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the bare library, which gives a chip 0.1 s for an ACK."""
    read_frame = pn532.Chipset.read_frame
    monkeypatch.setattr(
        pn532.Chipset, "read_frame", lambda chipset, timeout: read_frame(chipset, timeout + round(1000 * PATIENCE_S))
    )


def open_driver(path: str) -> nfc.clf.ContactlessFrontend:
    """Open the real pn532 driver on any path, as nfcpy does for the ones that it finds itself."""
    line = transport.TTY(path)
    try:
        device = pn532.init(line)
    except BaseException:
        line.close()
        raise
    device._path = path
    frontend = nfc.clf.ContactlessFrontend()
    frontend.device = device
    return frontend


def open_driver_as_it_wakes(path: str) -> nfc.clf.ContactlessFrontend:
    """The same at the chip's own 115200 baud: nfcpy's set-up would go to 921600."""
    logger = logging.getLogger("nfc")
    line = transport.TTY(path)
    line.open(path, 115200)
    chipset = pn532.Chipset(line, logger=logger)
    line.write(bytearray(b"\x55\x55" + bytes(14)))
    chipset.sam_configuration("normal")
    frontend = nfc.clf.ContactlessFrontend()
    frontend.device = pn532.Device(chipset, logger=logger)
    return frontend


def sense(frontend: nfc.clf.ContactlessFrontend) -> RemoteTarget | None:
    return frontend.sense(RemoteTarget("106A"), iterations=1)


class RawHost:
    """A host that writes bytes and reads frames, without any driver."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._parser = FrameParser()
        self._frames: list[Frame] = []

    def set_rate(self, speed: int) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[4] = mode[5] = speed
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def frames(self, count: int) -> list[Frame]:
        """The next ``count`` frames; fewer only after the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while len(self._frames) < count and time.monotonic() < deadline:
            self._read(deadline - time.monotonic())
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken

    def silent_for(self, seconds: float) -> bool:
        self._read(seconds)
        return not self._frames

    def _read(self, timeout_s: float) -> None:
        if select.select([self._fd], [], [], timeout_s)[0]:
            self._frames += self._parser.feed(os.read(self._fd, 4096))

    def close(self) -> None:
        os.close(self._fd)
