"""A wire to a firmware in virtual time: what the conformance run waits for has come at once."""

from collections import deque
from collections.abc import Callable

from firmware_bridge.device import DeviceSession, Raise, Restart, Send
from firmware_bridge.device import Tick as DeviceTick
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.messages import McuEvent
from firmware_bridge.protocol import Received

BYTE_S = 10 / 115200


class VirtualWire:
    """Joins the runner to a DeviceSession, or to a broken one; `power_on(now)` makes it anew after each RESET."""

    def __init__(self, power_on: Callable[[float], DeviceSession]) -> None:
        self.at = 1000.0
        self.opened = 1
        self.boots_for_s = 0.0
        """Seconds in which a firmware that restarts is deaf."""
        self.port_goes = False
        """A restart takes the port away, as with a USB port of the MCU's own."""
        self.dead = False
        """Nothing opens the port any more."""
        self._power_on = power_on
        self._device = power_on(self.at)
        self._deaf_until = 0.0
        self._gone = False
        self._inbox: deque[bytes] = deque()

    def now(self) -> float:
        return self.at

    def write(self, data: bytes) -> None:
        self._there()
        self.at += len(data) * BYTE_S
        if self.at >= self._deaf_until:
            self._handle(Received(data))

    def read(self, until: float) -> bytes:
        while not self._inbox:
            self._there()
            due = self._device.due
            if due is None or due > until:
                self.at = max(self.at, until)
                return b""
            self.at = max(self.at, due)
            self._handle(DeviceTick())
        data = self._inbox.popleft()
        self.at += len(data) * BYTE_S
        return data

    def reopen(self) -> None:
        if self.dead:
            raise LinkError(LinkFault.NOT_FOUND, "screen: No such file or directory")
        self.opened += 1
        self._gone = False

    def press_button(self) -> None:
        """Somebody presses button 1."""
        self._handle(Raise(McuEvent(1, b"\x01")))

    def _there(self) -> None:
        if self._gone or self.dead:
            raise LinkError(LinkFault.UNPLUGGED, "screen was unplugged")

    def _handle(self, event: Received | DeviceTick | Raise) -> None:
        for effect in self._device.handle(event, self.at):
            match effect:
                case Send(data=data):
                    self._inbox.append(data)
                case Restart():
                    self._deaf_until = self.at + self.boots_for_s
                    self._device = self._power_on(self._deaf_until)
                    self._gone = self.port_goes
