"""What a conformance check is, and how it says that a firmware passed, failed or could not be asked. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from firmware_bridge.messages import Capability

if TYPE_CHECKING:
    from firmware_bridge.conformance.talk import Talk


class Wire(Protocol):
    """A line to the firmware and the clock beside it; all three wait no longer than they are told."""

    def now(self) -> float:
        """Return CLOCK_MONOTONIC seconds, or what stands for them."""

    def write(self, data: bytes) -> None:
        """Hand over all bytes; raises LinkError."""

    def read(self, until: float) -> bytes:
        """Return what has come, or wait for it until that moment: then b""; raises LinkError."""

    def reopen(self) -> None:
        """Open the line anew: the firmware has restarted, and its port may have gone with it; raises LinkError."""


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - a verdict, no secret
    FAIL = "fail"
    SKIP = "skip"


class Failed(Exception):
    """The firmware did something else than the page says."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class Skipped(Exception):
    """The check does not apply here; its text says why."""


class HeldUp(Exception):
    """The runner itself was too slow, so that the answer proves nothing: run the check again with longer times."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of ``docs/screen-link.md`` that a firmware keeps or breaks.

    ``clause`` is the heading of the page, with the rule's number where it has one; ``hint`` says what is usually wrong
    where the check fails; ``needs`` are the capability bits without which it does not apply; ``person``: somebody must
    stand at the screen.
    """

    id: str
    title: str
    proves: str
    clause: str
    hint: str
    run: "Callable[[Talk], None]"
    needs: Capability = Capability.NONE
    person: bool = False

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check; ``note`` is its measurement or the reason of a SKIP, ``trace`` the last frames.

    ``hint`` is the check's own, or another where the line is to blame.
    """

    check: Check
    verdict: Verdict
    seconds: float
    expected: str = ""
    got: str = ""
    note: str = ""
    trace: tuple[str, ...] = ()
    hint: str = ""


def check(
    name: str,
    title: str,
    *,
    clause: str,
    hint: str,
    needs: Capability = Capability.NONE,
    person: bool = False,
) -> "Callable[[Callable[[Talk], None]], Check]":
    """Make a Check of a function; its docstring is what the check proves."""

    def make(run: "Callable[[Talk], None]") -> Check:
        return Check(name, title, " ".join((run.__doc__ or "").split()), clause, hint, run, needs, person)

    return make


FRAME = "Frame"
MESSAGES = "Messages"
CUES = "Cues"


def rule(number: int) -> str:
    """Return the clause of one of the numbered rules of the page."""
    return f"What the MCU must do, {number}"
