"""Screen link over Bluetooth LE: the frames of the serial line, through the Nordic UART Service. Needs bluetoothd.

Everything runs on the event loop and every step is bounded; while the screen is away a cue is kept, never waited for.
"""

import time

from firmware_bridge.cues import Cue, Lang
from firmware_bridge.links.base import LinkError, LinkObserver
from firmware_bridge.links.driving import KeptCue, tell_observer
from firmware_bridge.links.nus import Attempt, Timeouts, is_address, turn
from firmware_bridge.links.talk import Talk
from firmware_bridge.printable import printable
from firmware_bridge.protocol import Ask, HostSession, Want

# One connection event out and one back, 50 ms each and more where a maker saves power.
ACK_WITHIN_S = 0.25
DEFAULT_TIMEOUTS = Timeouts()
_MAX_NAME = 48


class BleLink:
    """An MCU with the Nordic UART Service; ``target`` is its address or its name, ``adapter`` such as "hci0"."""

    kind = "ble"

    def __init__(
        self,
        name: str,
        target: str,
        *,
        terminal_id: str,
        adapter: str | None = None,
        lang: Lang = Lang.EN,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self.name = name
        self.target = target
        self.device = f"ble:{target.upper() if is_address(target) else target}"
        self.adapter = adapter
        self._terminal_id = terminal_id
        self._lang = lang
        self._timeouts = timeouts
        self._wanted = KeptCue()
        self._talk: Talk | None = None
        self._where = ""

    @property
    def detail(self) -> str:
        """Whom it speaks with, at which adapter, how well it was heard in the scan, what went wrong."""
        parts = [printable(self.target, _MAX_NAME), self._where, self._talk.session.trouble if self._talk else ""]
        return ", ".join(part for part in parts if part)

    @property
    def heard_at(self) -> float | None:
        """The last sign of the MCU in this connection, in CLOCK_MONOTONIC seconds."""
        return self._talk.session.heard_at if self._talk else None

    def show(self, cue: Cue) -> None:
        """Hand the cue to the connection; keep it for the next one."""
        self._wanted.keep(cue, time.monotonic())
        if self._talk:
            self._talk.handle(Want(cue))

    def ask(self, message: Ask) -> None:
        """Send LEVEL, ASK_STATUS or RESET when the line is free; dropped while the link is down."""
        if self._talk:
            self._talk.handle(message)

    async def serve(self, observer: LinkObserver) -> None:
        """Find the screen, connect, run the session until the MCU is gone or silent; raises LinkError."""
        attempt = Attempt(self.target, self.adapter, self._timeouts)
        failed = False
        try:
            async with turn():
                await attempt.connect()
            session = HostSession(self._terminal_id, lang=self._lang, ack_within_s=ACK_WITHIN_S)
            self._talk = attempt.join(session, lambda effect, at: tell_observer(observer, self.name, effect, at))
            self._where = attempt.where
            if cue := self._wanted.left(time.monotonic()):
                self._talk.handle(Want(cue))
            await attempt.run()
        except LinkError as error:
            failed = True
            raise LinkError(error.fault, f"{printable(self.target, _MAX_NAME)}: {error.text}") from error
        finally:
            self._talk = None
            self._where = ""
            await attempt.close(failed=failed)
