"""What a check may say: a kind of trouble with its stable id, a finding of that kind, or that it could not look.

A `Kind` is declared once, beside the check that finds it, and has its page docs/findings/ID.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is for a passenger who taps."""

    ERROR = "error"
    """Taps or their delivery stand still, or soon will."""
    WARNING = "warning"
    """It works, but not as it should, or not for long."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be wrong with a terminal."""

    id: str
    """Stable, in words joined by hyphens: ``reader-port-missing``."""
    severity: Severity
    title: str
    """What is wrong, in a few words, without a full stop."""
    remedy: str
    """What a technician does about it, one or two sentences."""
    commands: tuple[str, ...] = ()
    """Commands that help and can do no harm, to be copied."""
    hides: tuple[str, ...] = ()
    """Ids of kinds that are only a consequence of this one."""
    symptom: bool = False
    """Says that something is wrong, not what: any finding that does say it explains this one."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A repair that can do no harm and needs no decision; ``--fix`` runs it."""

    title: str
    """What it does, in a few words: "set the latency timer to 1 ms"."""
    run: Callable[[], None]
    """Does it; raises CannotLook, EdgeAgentError or OSError if it cannot."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble that was found."""

    kind: Kind
    text: str
    """What was seen, one line."""
    subject: str = ""
    """Reader, screen or file that it is about; empty: the whole terminal."""
    fix: Fix | None = None
    commands: tuple[str, ...] = ()
    """In place of the kind's, where they name what was seen."""

    def explains(self, other: "Finding") -> bool:
        """Whether ``other`` is a mere consequence: about this subject, or where one of both is the whole terminal."""
        if other.kind.symptom:
            return not self.kind.symptom
        if other.kind.id not in self.kind.hides:
            return False
        return not self.subject or other.subject in ("", self.subject)


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that is well, worth a line: ``PN532 v1.6 at /dev/ttyUSB0``."""

    text: str
    subject: str = ""


class NotHere(Exception):
    """Raised by a check that has nothing to look at: this terminal has no such part."""


class CannotLook(Exception):
    """Raised by a check that cannot look; ``because`` is the id of the finding or of the check that tells why."""

    def __init__(self, why: str, *, because: str = "", remedy: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.because = because
        self.remedy = remedy
