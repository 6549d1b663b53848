"""The real PN532 driver over nfcpy, its chip emulated without a line, the real exchange: taps nobody waits for."""

import logging
from dataclasses import dataclass

from edge_agent.clock import FakeClock
from edge_agent.errors import LostReason, SessionLost
from edge_agent.readers.exchange import (
    Answered,
    BudgetSpent,
    CardPolicy,
    Event,
    Exchange,
    ExchangeSettings,
    FieldDetected,
    FieldLost,
    Finish,
    Issue,
    Outcome,
    Send,
    TokenReady,
)
from edge_agent.readers.nfcpy_reader import _Line, _Pn532
from edge_agent.readers.threaded_reader import Found
from edge_agent.simulation.picc import Picc
from edge_agent.simulation.pn532_chip import REALISTIC, Pn532Chip
from tests.fakes.direct_line import DirectPort

BUDGET_S = 1.5
COMMIT_S = 0.004
TOKEN = bytes(range(206))


@dataclass(frozen=True, slots=True)
class Tap:
    """How one tap ended (None: nothing answered the poll), and the seconds from the poll to that on the fake clock."""

    outcome: Outcome | None
    took_s: float


class QuickReader:
    """One reader, open."""

    def __init__(self) -> None:
        logging.getLogger("nfc").setLevel(logging.CRITICAL + 1)  # as the reader does
        self.clock = FakeClock()
        self.chip = Pn532Chip(REALISTIC)
        self._driver = _Pn532("/dev/direct", 115_200, self.clock)
        line = _Line.__new__(_Line)
        line.tty = DirectPort(self.chip, self.clock)
        self._driver._line = line
        self._driver._bring_up(line)
        self._driver._frontend.pause = self.clock.advance

    def tap(self, card: Picc) -> Tap:
        """Hold a card to the reader until the exchange is over, look twice whether it is there, and take it away."""
        self.chip.antenna.cards.append(card)
        try:
            found = self._driver.poll()
            began = self.clock.monotonic()
            if found is None:
                return Tap(None, 0.0)
            outcome = self._serve(found)
            took = self.clock.monotonic() - began
            for _ in range(2):
                self.clock.advance(0.1)
                self._driver.present()
        finally:
            self.chip.antenna.take(card)
        return Tap(outcome, took)

    def is_idle(self) -> bool:
        """Whether a poll finds nothing."""
        return self._driver.poll() is None

    def _serve(self, found: Found) -> Outcome:
        settings = ExchangeSettings(budget_s=BUDGET_S, cards=CardPolicy.PSEUDONYM)
        exchange = Exchange(settings, reader="nfc0")
        event: Event | None = FieldDetected(found.target.kind, found.seen_at)
        while event is not None:
            now = self.clock.monotonic()
            effects = exchange.handle(event, max(now, exchange.deadline) if isinstance(event, BudgetSpent) else now)
            event = None
            for effect in effects:
                match effect:
                    case Send():
                        event = self._send(effect)
                    case Issue():
                        self.clock.advance(COMMIT_S)
                        event = TokenReady(TOKEN)
                    case Finish(outcome):
                        return outcome
        raise AssertionError("an exchange stopped without an outcome")

    def _send(self, send: Send) -> Event:
        try:
            done = self._driver.exchange(send.apdu, self.clock.monotonic() + send.timeout_s - 0.02)
        except SessionLost as error:
            return BudgetSpent() if error.reason is LostReason.TIMEOUT else FieldLost()
        return Answered(done.response, done.rtt_s, done.wtx)
