"""An emulated tag chip under the real driver, with a clock that only the bus and the driver's own pauses turn."""

import random
from collections.abc import Iterator

from edge_agent.clock import FakeClock
from edge_agent.simulation.nt3h_bus import Nt3hBus
from edge_agent.simulation.nt3h_chip import Nt3hChip
from edge_agent.simulation.type2_phone import Seen, Step, read_tag, reading
from edge_agent.tags.base import SurfaceEvent, TicketRead
from edge_agent.tags.nt3h_tag import Nt3hTag
from edge_agent.tags.ticket import TICKET_CHARS, link

BUS = "/dev/i2c-1"
HOST = "t.example.net"
CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def ticket_url(seed: int, host: str = HOST) -> str:
    """A link with a ticket of its own for each seed; what stands in it is not signed."""
    return link(host, "".join(random.Random(seed).choices(CHARS, k=TICKET_CHARS)))


class TagSite:
    """Chip, bus and driver; ``looks`` lets time pass as the surface does."""

    def __init__(
        self,
        *,
        model: str = "NT3H2111",
        places: int = 4,
        app: str | None = None,
        holds_rf_lock: bool = True,
        seed: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.rng = random.Random(seed)
        self.chip = Nt3hChip(self.clock.monotonic, model=model, rng=self.rng, holds_rf_lock=holds_rf_lock)
        self.bus = Nt3hBus(self.chip, spend=self._spend)
        self.cut_after: int | None = None
        """Supply fails for a moment after so many further transfers."""
        self.tag = Nt3hTag(
            BUS,
            address=0x55,
            places=places,
            app=app,
            clock=self.clock,
            open_bus=self.bus.open,
            below=self.rng.randrange,
            sleep=self.clock.advance,
        )

    def _spend(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                self.chip.power_cut()
                self.chip.power_on()

    def looks(self, count: int = 1, *, every_s: float = 0.05) -> list[SurfaceEvent]:
        """Look so often and return what was told since the last time."""
        self.looks_only(count, every_s=every_s)
        return self.told()

    def looks_only(self, count: int, *, every_s: float = 0.05) -> None:
        """Look so often."""
        for _ in range(count):
            self.clock.advance(every_s)
            self.tag.look()

    def told(self) -> list[SurfaceEvent]:
        told = list(self.tag.events)
        self.tag.events.clear()
        return told

    def phone_comes(self) -> None:
        self.chip.field_on()
        self.chip.activate()

    def phone_reads(self, step: Step = Step.READ) -> Seen:
        """A phone that is there reads; raises NoTag, Malformed."""
        return read_tag(self.chip.transceive, step)

    def phone_goes(self) -> list[SurfaceEvent]:
        self.chip.field_off()
        return self.looks(12)

    def read_once(self, step: Step = Step.READ) -> tuple[Seen, list[SurfaceEvent]]:
        """A phone comes, reads, goes."""
        self.phone_comes()
        seen = self.phone_reads(step)
        return seen, self.looks() + self.phone_goes()


class PhoneAtWork:
    """A phone that reads one command at a time; ``seen`` once it is done, ``failed`` when it got no answer."""

    def __init__(self, chip: Nt3hChip, step: Step) -> None:
        self._chip = chip
        self._reading = reading(step)
        self._command = next(self._reading)

    def command(self) -> Seen | None:
        """Send one command; raises NoTag, Malformed."""
        try:
            self._command = self._reading.send(self._chip.transceive(self._command))
        except StopIteration as done:
            seen: Seen = done.value
            return seen
        return None


def reads(events: list[SurfaceEvent]) -> Iterator[TicketRead]:
    return (event for event in events if isinstance(event, TicketRead))
