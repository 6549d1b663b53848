"""The antenna of a simulated reader: what lies on it, which card is selected, and whether the field is on. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.simulation.picc import Answer, Overhearing, Picc, TypeA

REQA = 0x26


@dataclass(frozen=True, slots=True)
class Poll:
    """Outcome of one round of REQA, anticollision and SELECT.

    ``left_in_fifo`` is what the contactless UART holds afterwards: the request itself where nothing answered.
    """

    found: TypeA | None
    left_in_fifo: bytes = b""


class Antenna:
    """Cards in the field of one reader; at most one of them is selected."""

    def __init__(self) -> None:
        self.cards: list[Picc] = []
        self.target: Picc | None = None
        self.powered = False
        self.broken = False
        """The field does not come on: its drivers are too hot."""
        self.on_poll: Callable[[Picc | None], None] = lambda _card: None
        """Called by each poll with the card that it selected, or None."""

    def switch(self, *, on: bool) -> None:
        """Switch the field; without it every card loses its state."""
        on = on and not self.broken
        if self.powered and not on:
            self.target = None
            for card in self.cards:
                card.field_off()
        self.powered = on

    def take(self, card: Picc) -> bool:
        """Take a card away; tells whether it was selected. Raises ValueError if it is not there."""
        self.cards.remove(card)
        was_target = self.target is card
        if was_target:
            self.target = None
        card.field_off()
        return was_target

    def poll(self, wanted: bytes = b"", *, hears: bool = True) -> Poll:
        """Look for one Type A card, with the UID ``wanted`` if it is not empty, and select it."""
        self.target = None
        poll = self._poll(wanted) if hears and self.powered else Poll(None, bytes([REQA]))
        self.on_poll(self.target)
        return poll

    def _poll(self, wanted: bytes) -> Poll:
        answers = [(card, found) for card in self.cards if (found := card.activate()) is not None]
        if not answers:
            return Poll(None, bytes([REQA]))
        if len(answers) > 1:
            # Two phones detune each other and talk at once: a mixed ATQA, and the anticollision fails.
            low, high = answers[0][1].atqa
            for _card, found in answers[1:]:
                low, high = low | found.atqa[0], high | found.atqa[1]
            return Poll(None, bytes([low, high]))
        card, found = answers[0]
        if wanted not in (b"", found.uid):
            return Poll(None)
        self.target = card
        return Poll(found)

    def exchange(self, frame: bytes) -> Answer | None:
        """Send a frame to the selected card; None is silence. Without a selected one, some overhear it."""
        if self.target is not None:
            return self.target.receive(frame)
        for card in self.cards:
            if self.powered and isinstance(card, Overhearing):
                card.overhear(frame)
        return None
