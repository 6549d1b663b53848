"""Every error that the agent raises on purpose.

::

    EdgeAgentError                 code, exit_code, remedy
    ├── ConfigError                a wrong file, key, type or value; exit 78 (EX_CONFIG), systemd does not restart
    ├── KeyFileError               the signing key is missing, unreadable or not private; exit 78
    ├── OutboxError                the store refused: full, damaged, read-only, held (carries an OutboxFault)
    ├── UplinkError                the broker refused, is unreachable or presents a wrong certificate
    │   └── WireError              a topic or payload that is not the contract's (strict_json)
    ├── LedgerError                the receiver's ledger cannot be used (cloud.base)
    ├── TokenError                 bytes that are no tap token of the contract (carries the verdict)
    ├── TicketError                bytes that are no ticket of the contract
    ├── PlayerError                what a player told of its advert makes no sense, or its door cannot be opened
    ├── TapRefused                 the terminal takes no further tap now, or none of this phone (limits)
    ├── ReaderError                the reader or tag hardware or its line failed (carries a ReaderFault)
    ├── SessionLost                one phone or card was lost or misbehaved; the reader itself is fine
    └── ControlError               the control socket is not there or answered an error

The text says what is wrong in one line; ``remedy`` says what to do about it.
"""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit status of the commands; 75 is EX_TEMPFAIL of sysexits(3), 78 is EX_CONFIG.

    RESTART: the agent ended itself because only a new process can heal it; the reason is in ``restart.json``.
    """

    OK = 0
    PROBLEM = 1
    USAGE = 2
    COULD_NOT_LOOK = 3
    RESTART = 75
    CONFIG = 78


class EdgeAgentError(Exception):
    """Base of all errors raised on purpose; ``code`` is stable and safe to match on."""

    code = "error"
    exit_code = ExitCode.PROBLEM

    def __init__(self, text: str, *, remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


class ConfigError(EdgeAgentError):
    """One or more wrong settings; ``problems`` holds one line for each."""

    code = "config"
    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KeyFileError(EdgeAgentError):
    """The signing key cannot be used; never cured by making a new one silently."""

    code = "key_file"
    exit_code = ExitCode.CONFIG


class OutboxFault(StrEnum):
    """Why the outbox cannot do what was asked of it; decides what heals it."""

    FULL = "full"
    """No room: on the medium, or below the floor that is kept free for the rest of the machine."""
    BUSY = "busy"
    """Too many taps wait for a slow medium."""
    FAILING = "failing"
    """The medium returns errors; a commit was not kept."""
    READ_ONLY = "read_only"
    DAMAGED = "damaged"
    """The file is no sound database any more: it is quarantined and a new one begun."""
    HELD = "held"
    """Another agent has it open."""
    UNUSABLE = "unusable"
    """Missing folder, wrong owner, a foreign file, a newer schema: a person must act."""
    CLOSED = "closed"
    REFUSED = "refused"
    """This tap could not be sealed; the next one may."""


class OutboxError(EdgeAgentError):
    """The store could not keep or read rows; ``fault`` says why."""

    code = "outbox"

    def __init__(self, text: str, *, remedy: str = "", fault: OutboxFault = OutboxFault.FAILING) -> None:
        super().__init__(text, remedy=remedy)
        self.fault = fault


class UplinkError(EdgeAgentError):
    """The broker cannot be used."""

    code = "uplink"


class TokenError(EdgeAgentError):
    """Bytes that are not a token of the contract; ``verdict`` is the contract's word for it."""

    code = "token"

    def __init__(self, text: str, *, verdict: str = "malformed", remedy: str = "") -> None:
        super().__init__(text, remedy=remedy)
        self.verdict = verdict


class TicketError(EdgeAgentError):
    """Text or bytes that are no ticket of the contract."""

    code = "ticket"


class PlayerError(EdgeAgentError):
    """What a player told cannot be used, or the place where it tells cannot be had; ``remedy`` says what to send.

    ``over``: it was right, and its end has come.
    """

    code = "player"

    def __init__(self, text: str, *, remedy: str = "", over: bool = False) -> None:
        super().__init__(text, remedy=remedy)
        self.over = over


class TapRefused(EdgeAgentError):
    """A tap that is not taken, and is not on disk: too many of them, or too soon after the last of the same phone."""

    code = "tap_refused"


class ReaderFault(StrEnum):
    """Why a reader cannot be used."""

    NOT_FOUND = "not_found"
    NO_PERMISSION = "no_permission"
    NO_ANSWER = "no_answer"
    UNPLUGGED = "unplugged"
    IO = "io"
    NO_SERVICE = "no_service"
    """The system's service between us and the reader does not run, or broke off; the reader itself may be well."""
    TAKEN = "taken"
    """Another process uses it; only a person knows which of the two may."""
    NOT_UNDERSTOOD = "not_understood"
    """It speaks, and never yet said anything that makes sense: a wrong setting, most likely."""
    HANGS = "hangs"
    """A call into its driver does not return; until it does, nobody else may touch the line."""


class ReaderError(EdgeAgentError):
    """The reader or its line failed; closing and opening it again is the cure."""

    code = "reader"

    def __init__(self, fault: ReaderFault, text: str, *, remedy: str = "") -> None:
        super().__init__(text, remedy=remedy)
        self.fault = fault


class LostReason(StrEnum):
    """How a session with one phone or card ended early."""

    VANISHED = "vanished"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"


class SessionLost(EdgeAgentError):
    """The phone or card is gone or does not speak ISO/IEC 14443-4 properly: one lost tap, no reader fault."""

    code = "session_lost"

    def __init__(self, reason: LostReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ControlError(EdgeAgentError):
    """The running agent cannot be asked."""

    code = "control"
    exit_code = ExitCode.COULD_NOT_LOOK
