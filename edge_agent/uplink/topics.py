"""Topic names of the contract (section 4): build, take apart, refuse what is none. At most seven slashes each."""

import re
from dataclasses import dataclass

from edge_agent.strict_json import WireError

CONTRACT = 1
ROOT = f"tap/v{CONTRACT}"
ENROL_REQUEST, ENROL_ANSWER = "enrol/request", "enrol/answer"

_ID = re.compile(r"[a-z0-9-]{1,24}")


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of one terminal; raises WireError for ids that are not 1-24 of ``[a-z0-9-]``."""

    fleet: str
    terminal: str

    def __post_init__(self) -> None:
        for name, value in (("fleet", self.fleet), ("terminal", self.terminal)):
            if not _ID.fullmatch(value):
                raise WireError(f"{name} is not 1 to 24 of a-z, 0-9 and '-'")

    @property
    def prefix(self) -> str:
        """``tap/v1/{fleet}/{terminal}``."""
        return f"{ROOT}/{self.fleet}/{self.terminal}"

    @property
    def evt_tap(self) -> str:
        """One live token."""
        return f"{self.prefix}/evt/tap"

    @property
    def evt_batch(self) -> str:
        """Tokens of the backlog."""
        return f"{self.prefix}/evt/batch"

    @property
    def evt_chk(self) -> str:
        """A checkpoint of the chain."""
        return f"{self.prefix}/evt/chk"

    @property
    def evt_gap(self) -> str:
        """A gap record."""
        return f"{self.prefix}/evt/gap"

    @property
    def evt_alarm(self) -> str:
        """Something a technician must know."""
        return f"{self.prefix}/evt/alarm"

    @property
    def ack(self) -> str:
        """What the receiver has stored."""
        return f"{self.prefix}/ack"

    @property
    def result(self) -> str:
        """What became of one tap, for the screen."""
        return f"{self.prefix}/result"

    @property
    def state(self) -> str:
        """Retained: online, lost or stopped."""
        return f"{self.prefix}/state"

    @property
    def tele_health(self) -> str:
        """Health once a minute."""
        return f"{self.prefix}/tele/health"

    @property
    def enrol_request(self) -> str:
        """What a terminal without an identity asks for."""
        return f"{self.prefix}/{ENROL_REQUEST}"

    @property
    def enrol_answer(self) -> str:
        """What the fleet answers to that."""
        return f"{self.prefix}/{ENROL_ANSWER}"

    @property
    def cmd_filter(self) -> str:
        """Subscription to all commands."""
        return f"{self.prefix}/cmd/+"

    def cmd(self, name: str) -> str:
        """Topic of one command."""
        return f"{self.prefix}/cmd/{name}"

    def res(self, name: str) -> str:
        """Topic of the response to one command."""
        return f"{self.prefix}/res/{name}"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """All that a terminal listens to; it hears its own state, to see whether somebody else speaks in its name."""
        return (self.ack, self.result, self.cmd_filter, self.state)

    @property
    def optional_subscriptions(self) -> tuple[str, ...]:
        """What a broker may refuse without harm to the taps."""
        return (self.state,)


@dataclass(frozen=True, slots=True)
class ParsedTopic:
    """A topic of the contract taken apart; ``suffix`` is what follows the terminal, such as ``evt/tap``."""

    fleet: str
    terminal: str
    suffix: str


def parse_topic(topic: str) -> ParsedTopic:
    """Take a topic apart; raises WireError if it is none of the contract."""
    parts = topic.split("/", 4)
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT:
        raise WireError(f"not a topic below {ROOT}")
    _, _, fleet, terminal, suffix = parts
    if not _ID.fullmatch(fleet) or not _ID.fullmatch(terminal):
        raise WireError("fleet or terminal is not 1 to 24 of a-z, 0-9 and '-'")
    if not 1 <= len(suffix) <= 64:
        raise WireError("suffix has no or too many characters")
    return ParsedTopic(fleet, terminal, suffix)


def receiver_filter(group: str, *, fleet: str = "+", suffix: str = "evt/#") -> str:
    """Shared subscription of the receivers of one group to all terminals (MQTT 5, section 4.8.2)."""
    return f"$share/{group}/{ROOT}/{fleet}/+/{suffix}"
