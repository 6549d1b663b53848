"""One injected fault: what breaks, and which finding must tell it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.diag.faults.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Fault:
    """``breaks`` breaks one thing of a healthy terminal while it is entered; ``finding`` alone must be shown then."""

    name: str
    """What a person would say happened: "reader unplugged"."""
    breaks: Callable[[Terminal], AbstractContextManager[None]]
    finding: str
    """Id of the finding."""
    subject: str = ""
    """Its subject, where that is part of the promise."""
