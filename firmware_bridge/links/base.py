"""The port of a screen link: one way to one display. A link must never make the caller of ``show`` wait or fail."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.messages import McuHello, Status
from firmware_bridge.protocol import Ask, Refused, Shown, Told


class LinkFault(StrEnum):
    """Why a link cannot be used."""

    NOT_FOUND = "not_found"
    NO_PERMISSION = "no_permission"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    UNPLUGGED = "unplugged"
    IO = "io"


class LinkError(Exception):
    """A link failed; serving it again after a pause is the cure."""

    def __init__(self, fault: LinkFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault
        self.text = text


LinkEvent = Shown | Refused | Told
"""What a display said: it confirmed a cue, refused a message, reported its status or a button."""


class LinkObserver(Protocol):
    """Who is told what a link does; always called on the event loop."""

    def link_up(self, link: str, firmware: str) -> None:
        """Report that the display answers; ``firmware`` in its own words, sanitised, empty where there is none."""

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """Report the moment (CLOCK_MONOTONIC seconds) at which the first byte of a cue was handed to the kernel."""

    def link_event(self, link: str, event: LinkEvent) -> None:
        """Report what the display said."""


@runtime_checkable
class HearsHello(Protocol):
    """An observer that wants all that an MCU says of itself, not only its firmware; links without an MCU have none."""

    def hello_heard(self, link: str, hello: McuHello) -> None:
        """Report the HELLO of the MCU, before ``link_up``; its serial number is as the MCU sent it."""


class ScreenLink(Protocol):
    """One display."""

    name: str
    kind: str

    @property
    def detail(self) -> str:
        """One line for a technician: counters, pages; empty where there is nothing to say."""

    def show(self, cue: Cue) -> None:
        """Show this cue now, or as soon as the display is there. Never blocks, never raises; the newest cue wins."""

    async def serve(self, observer: LinkObserver) -> None:
        """Open the link and serve it until it fails (LinkError) or is cancelled; leaves nothing open behind."""


@runtime_checkable
class DrivesMcu(Protocol):
    """A link with an MCU at its other end, that can be asked and heard; a page cannot."""

    @property
    def heard_at(self) -> float | None:
        """The last sign of the MCU in CLOCK_MONOTONIC seconds; None as long as it has not said HELLO."""

    def ask(self, message: Ask) -> None:
        """Send LEVEL, ASK_STATUS or RESET when the line is free; dropped while the link is down. Never blocks."""


@runtime_checkable
class HasDevice(Protocol):
    """A link on something that only one can use at a time."""

    device: str


MAX_CODE_MODULES = 177
"""Version 40, the largest QR code (ISO/IEC 18004)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code for the page: one text for each row, "1" is a dark module, no quiet zone; shown ``ttl_ms`` at most."""

    rows: tuple[str, ...]
    ttl_ms: int

    def __post_init__(self) -> None:
        side = len(self.rows)
        if not 1 <= side <= MAX_CODE_MODULES or any(len(row) != side or row.strip("01") for row in self.rows):
            raise ValueError(f"a code is a square of 0 and 1, at most {MAX_CODE_MODULES} a side")
        if self.ttl_ms < 1:
            raise ValueError(f"ttl_ms {self.ttl_ms} is no time to live")


@runtime_checkable
class ShowsCodes(Protocol):
    """A link whose display can show a QR code beside the invitation; the others know nothing of it."""

    def show_code(self, code: Code | None) -> None:
        """Show this code instead of the one before, or none. Never blocks, never raises."""


class LinkState(StrEnum):
    """Where a link stands, as the bridge sees it."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """What a technician asks of a link, counted since the start of the bridge."""

    opened: int = 0
    """Times the display answered after an opening."""
    failures: int = 0
    """Attempts and sessions that ended, for whatever reason."""
    crashes: int = 0
    """Those among them that were faults of our own program: the log has the traceback."""
    sent: int = 0
    """Cues of which the first byte was handed to the kernel, repeats left out."""
    confirmed: int = 0
    refused: int = 0
    """Messages, cues among them, to which the MCU said no."""
    rtt_ms: float | None = None
    """First byte of a cue to its ACK, of the last one that was confirmed."""
    heard_at: float | None = None
    """CLOCK_MONOTONIC seconds of the last sign of the MCU."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link at one moment; ``since`` (CLOCK_MONOTONIC seconds) tells when it came into this state.

    ``told`` is the last STATUS of the MCU in this opening, or in the one before as long as it is down.
    """

    name: str
    kind: str
    state: LinkState
    firmware: str = ""
    last_cue: CueName | None = None
    since: float = 0.0
    detail: str = ""
    figures: LinkFigures = LinkFigures()
    told: Status | None = None
