"""Decides what the agent asks of the screens: the cues of the readers, what became of a tap, who is out of order.

One screen serves several readers and tags: the invitation is withdrawn only while none of them works, and whom a phone
left without a tap takes back only what was shown for that phone.
"""

from typing import Protocol

from edge_agent.models import Cue
from edge_agent.readers.tap_runner import ShowCue
from edge_agent.uplink.wire import Result

ACCEPTED = "accepted"
"""Outcome of a `result` whose text and amount are for the passenger; other outcomes are not shown."""


class Screens(Protocol):
    """What is needed of firmware_bridge's Bridge; no method waits for a screen."""

    @property
    def current(self) -> str:
        """The cue being shown."""

    def show(self, name: str, *, text: str = "", amount: str | int | None = None) -> None:
        """Show a cue for its time."""

    def set_lasting(self, name: str, on: bool, *, text: str = "") -> None:  # noqa: FBT001 - the bridge's signature
        """Raise or take back a lasting cue."""


class ScreenCues:
    """Translates between the rooms; called on the event loop."""

    def __init__(self, screens: Screens, readers: tuple[str, ...]) -> None:
        self._screens = screens
        self._readers = frozenset(readers)
        self._lost: set[str] = set()
        self._lent: set[str] = set()
        self._shown_by = ""
        self._committed: dict[str, bytes] = {}
        self._early: Result | None = None
        self._resting: set[str] = set()

    def for_reader(self, name: str) -> ShowCue:
        """The callback for one reader's service."""

        def show(cue: Cue) -> None:
            if cue is Cue.FAULT:
                self._lost.add(name)
                self._screens.set_lasting(Cue.FAULT, self._lost >= self._readers, text="reader")
                self._rest_while_lent()
                return
            if name in self._lost:
                self._lost.discard(name)
                self._screens.set_lasting(Cue.FAULT, on=False)
                self._rest_while_lent()
            if cue is Cue.INVITE and self._shown_by not in {"", name}:
                return  # what is shown is another's
            self._shown_by = name
            if cue is Cue.THANKS and self._early is not None and self._early.cti == self._committed.get(name):
                self._thank(self._early)
                self._early = None
            else:
                self._screens.show(cue)

        return show

    def lent(self, name: str, on: bool) -> None:  # noqa: FBT001 - a callback with one fact
        """While a technician has the only reader that works the screens rest."""
        (self._lent.add if on else self._lent.discard)(name)
        self._rest_while_lent()

    def _rest_while_lent(self) -> None:
        self._rest("lent", on=bool(self._lent) and self._lent | self._lost >= self._readers)

    def outbox_fault(self, fault: str) -> None:
        """While taps cannot be kept the screens rest, so that nobody is invited in vain; "" ends it."""
        self._rest("outbox", on=bool(fault))

    def flooded(self, on: bool) -> None:  # noqa: FBT001 - a callback with one fact
        """While more taps come than the limits allow the screens rest."""
        self._rest("flood", on=on)

    def nowhere_to_tap(self, on: bool) -> None:  # noqa: FBT001 - a callback with one fact
        """While tags and codes show no ticket, and no reader works, the screens rest."""
        self._rest("nowhere", on=on)

    def rest_by_command(self, *, on: bool) -> None:
        """While the cloud says so the screens rest."""
        self._rest("command", on=on)

    def _rest(self, because: str, *, on: bool) -> None:
        """The screens rest as long as there is any reason for it."""
        before = bool(self._resting)
        (self._resting.add if on else self._resting.discard)(because)
        if bool(self._resting) != before:
            self._screens.set_lasting(Cue.RESTING, not before)

    def committed(self, reader: str, cti: bytes) -> None:
        """Note which tap the reader's next `thanks` is for."""
        self._committed[reader] = cti

    def result(self, result: Result) -> None:
        """Show what the cloud says of an accepted tap.

        A quick cloud answers before the phone has taken its token: then the `thanks` of that tap says it. While the
        next phone is being read, the answer to the one before is left out.
        """
        if result.outcome != ACCEPTED:
            return
        if self._screens.current == Cue.READING:
            self._early = result
        else:
            self._thank(result)

    def _thank(self, result: Result) -> None:
        amount = None if result.amount is None else f"¥{result.amount / 100:.2f}"
        self._screens.show(Cue.THANKS, text=result.text or "", amount=amount)

    def identify(self, text: str = "") -> None:
        """Show which terminal this is: its id, or ``text`` in its place."""
        self._screens.show(Cue.IDENTIFY, text=text)
