"""A PN532 at the end of a pseudo terminal: the simulated hardware below the real driver.

One thread owns the line and runs the chip; ``place``, ``remove``, ``unplug`` and ``replug`` may be called from any
other thread and take effect at once. Nothing in here knows about taps; the thread sleeps while nothing happens.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.simulation.picc import Picc
from edge_agent.simulation.pn532_chip import DEFAULT_BAUD, INSTANT, ChipTiming, Pn532Chip, Reply, SyntaxFault
from edge_agent.simulation.pn532_frames import CHIP_TO_HOST, HOST_TO_CHIP, Frame, FrameParser, Info, Signal, encode
from edge_agent.simulation.pty_device import PtyDevice

_BITS_PER_CHARACTER = 10  # 8N1


@dataclass(eq=False)
class Placement:
    """One stay of a card on the antenna."""

    card: Picc
    placed_at: float
    """CLOCK_MONOTONIC seconds."""
    seen_at: float | None = None
    """CLOCK_MONOTONIC seconds when it first answered a poll."""
    removed_at: float | None = None


@dataclass
class _Running:
    """The command that the chip works on."""

    started: float
    reply: Reply


class Pn532Emulator(PtyDevice):
    """A PN532 board on a serial line, plugged in from ``start`` (or ``with``) to ``close``.

    ``baud_model`` (for example 115200) makes every byte take its time on the wire; SetSerialBaudrate changes the rate.
    ``timing`` adds time for firmware and air. Above ``max_baud`` the line carries nothing: a cheap UART.
    """

    def __init__(
        self, *, baud_model: int | None = None, timing: ChipTiming = INSTANT, max_baud: int | None = None
    ) -> None:
        super().__init__("nfc-reader0")
        self._baud_model = baud_model
        self._max_baud = max_baud
        self._chip = Pn532Chip(timing)
        self._chip.antenna.on_poll = self._polled
        self._parser = FrameParser()
        self._callbacks: list[Callable[[Placement], None]] = []
        self._placements: list[Placement] = []
        self._epoch = 0
        self._running: _Running | None = None
        self._last_response = b""
        self._in_busy = self._out_busy = 0.0
        self._ack_delay_s = 0.0
        self._empty_polls = 0
        self.polls = 0
        """Polls for Type A so far."""
        self.commands: deque[bytes] = deque(maxlen=1000)
        """The last 1000 commands of the host, code first."""

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def baud(self) -> int:
        """The rate at which the chip listens now."""
        return self._chip.baud

    # -- hands --------------------------------------------------------------------------------------------------------

    def place(self, card: Picc) -> Placement:
        """Hold a card or phone to the antenna, beside what is there already.

        Raises ValueError if it is there itself.
        """
        with self._changed:
            if any(card is other for other in self._chip.antenna.cards):
                raise ValueError("this card is on the antenna already")
            placement = Placement(card, time.monotonic())
            self._placements.append(placement)
            if (reply := self._chip.place(card)) is not None and self._running is not None:
                self._run(reply)
        self._wake()
        return placement

    def remove(self, card: Picc | None = None) -> None:
        """Take this card, or everything, off the antenna; an answer under way is lost."""
        with self._changed:
            for placement in list(self._placements):
                if card is not None and placement.card is not card:
                    continue
                self._placements.remove(placement)
                placement.removed_at = time.monotonic()
                if self._chip.antenna.take(placement.card):
                    self._lose_answer()
            self._changed.notify_all()
        self._wake()

    def brown_out(self) -> None:
        """The supply dips: the chip forgets how it was set up, and goes on answering."""
        with self._changed:
            self._abort()
            self._chip.brown_out()

    def upset(self) -> None:
        """A discharge wipes out the chip's radio registers: it polls on, and hears no card."""
        with self._changed:
            self._chip.upset()

    def break_antenna(self, *, broken: bool = True) -> None:
        """The field does not come on any more; or it does again."""
        with self._changed:
            self._chip.antenna.broken = broken
            self._chip.antenna.switch(on=False)

    def delay_acks(self, seconds: float) -> None:
        """Let each ACK leave so much later, and what follows it: a converter or a machine that is busy."""
        with self._changed:
            self._ack_delay_s = seconds

    def on_field(self, callback: Callable[[Placement], None]) -> None:
        """Call back when a placed card first answers a poll; by the emulator's thread, so it must not block."""
        with self._changed:
            self._callbacks.append(callback)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait_for_polls(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait for ``count`` more polls of the host. Raises TimeoutError."""
        with self._changed:
            goal = self.polls + count
            self._wait(lambda: self.polls >= goal, timeout_s, f"{count} polls")

    def wait_idle(self, timeout_s: float = 10.0) -> None:
        """Wait until a poll that begins after this call finds nothing. Raises TimeoutError."""
        with self._changed:
            goal = self._empty_polls + 1
            self._wait(lambda: self._empty_polls >= goal, timeout_s, "an empty poll")

    def wait_seen(self, placement: Placement, timeout_s: float = 10.0) -> float:
        """Wait until the placed card answered a poll; returns that moment. Raises TimeoutError."""
        with self._changed:
            self._changed.wait_for(lambda: placement.seen_at is not None, timeout_s)
            if placement.seen_at is None:
                raise TimeoutError(f"waited {timeout_s} s for a poll to see the card")
            return placement.seen_at

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        if not self._changed.wait_for(condition, timeout_s):
            raise TimeoutError(f"waited {timeout_s} s for {what}")

    # -- line thread --------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        data = self._port.read()
        if not self._line_is_clear():
            return
        if self._port.host_rate() == self._chip.next_baud:
            # The host moved on to the agreed rate: its ACK was sent, even if its tcflush(3) then ate it on this line.
            self._chip.acknowledged()
        arrived = self._in_busy = max(time.monotonic(), self._in_busy) + self._wire_time(len(data))
        self._at(arrived, lambda: self._take_in(data))

    def _take_in(self, data: bytes) -> None:
        for frame in self._parser.feed(self._chip.wake(data)):
            self._take_frame(frame)

    def _take_frame(self, frame: Frame) -> None:
        # UM0701-02, 6.2.1.3: an ACK of the host aborts the command; a new command does so too.
        match frame:
            case Signal.ACK:
                self._abort()
                self._chip.acknowledged()
            case Signal.NACK:
                self._send(self._last_response)
            case Info(tfi, data) if tfi == HOST_TO_CHIP:
                self._abort()
                self._out_busy = max(time.monotonic(), self._out_busy) + self._ack_delay_s
                self._send(Signal.ACK.value)
                self._command(data)

    def _command(self, data: bytes) -> None:
        self.commands.append(data)
        try:
            reply = self._chip.execute(data)
        except SyntaxFault:
            self._respond(Signal.ERROR.value)
            return
        self._running = _Running(time.monotonic(), reply)
        self._run(reply)

    def _run(self, reply: Reply) -> None:
        """Answer when the reply is due, unless the host aborts before."""
        if self._running is None:
            return
        self._running.reply = reply
        if reply.payload is None:
            return
        frame = encode(Info(CHIP_TO_HOST, reply.payload))
        if reply.delay_s <= 0:
            self._running = None
            self._respond(frame)
            return
        self._epoch += 1
        epoch = self._epoch

        def finish() -> None:
            if epoch == self._epoch:
                self._running = None
                self._respond(frame)

        self._at(self._running.started + reply.delay_s, finish)

    def _lose_answer(self) -> None:
        if self._running is None or self._running.reply.if_lost is None:
            return
        self._epoch += 1
        self._run(self._running.reply.if_lost)

    def _abort(self) -> None:
        self._epoch += 1
        self._running = None

    def _respond(self, frame: bytes) -> None:
        self._last_response = frame
        self._send(frame)

    def _send(self, data: bytes) -> None:
        now = time.monotonic()
        sent = self._out_busy = max(now, self._out_busy) + self._wire_time(len(data))
        if sent <= now:
            self._write(data)
        else:
            self._at(sent, lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        if self._port.plugged and self._line_is_clear():
            self._port.write(data)

    def _wire_time(self, count: int) -> float:
        if self._baud_model is None:
            return 0.0
        rate = self._baud_model if self._chip.baud == DEFAULT_BAUD else self._chip.baud
        return count * _BITS_PER_CHARACTER / rate

    def _line_is_clear(self) -> bool:
        """Whether both ends use one rate: the one in force or the one just agreed."""
        if self._max_baud is not None and self._chip.baud > self._max_baud:
            return False
        return self._port.host_rate() in (self._chip.baud, self._chip.next_baud)

    def _polled(self, card: Picc | None) -> None:
        self.polls += 1
        if card is None:
            self._empty_polls += 1
        for placement in self._placements:
            if placement.card is card and placement.seen_at is None:
                placement.seen_at = time.monotonic()
                for callback in self._callbacks:
                    callback(placement)
        self._changed.notify_all()

    def _lose_power(self) -> None:
        self._abort()
        self._parser.reset()
        self._chip.power_up()
        self._in_busy = self._out_busy = 0.0
