"""Payloads between a terminal and the cloud (contract, section 4): encode, decode, nothing else.

Decoding is strict and capped: a payload of the contract comes out as a frozen value, anything else is a WireError with
its reason. Byte strings in JSON (chain, cti, kid) are lowercase hex. Times ``at`` and ``exp`` are Unix seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from edge_agent.strict_json import (
    WireError,
    dump_object,
    load_object,
    take_hex,
    take_int,
    take_list,
    take_object,
    take_text,
)
from edge_agent.uplink.batch import decode_batch, encode_batch
from edge_agent.uplink.topics import CONTRACT, ParsedTopic, Topics, parse_topic, receiver_filter

__all__ = [
    "CONTENT_CWT",
    "CONTENT_CWT_SEQUENCE",
    "CONTENT_JSON",
    "Ack",
    "Alarm",
    "Command",
    "Health",
    "ParsedTopic",
    "Response",
    "ResponseStatus",
    "Result",
    "State",
    "StateWord",
    "Topics",
    "WireError",
    "decode_batch",
    "encode_batch",
    "parse_topic",
    "receiver_filter",
]

CONTENT_CWT = "application/cwt"
CONTENT_CWT_SEQUENCE = "application/cbor-seq"
CONTENT_JSON = "application/json"

MAX_MISSING_RANGES = 64
MAX_SEQ = 2**64 - 1
MAX_UNIX = 2**40
CHAIN_BYTES = 8
CTI_BYTES = 16

ACK_BYTES = 4096
RESULT_BYTES = 1024
STATE_BYTES = 4096
HEALTH_BYTES = 1024
ALARM_BYTES = 2048
ALARM_TEXT_CHARS = 512
COMMAND_BYTES = 8192
RESPONSE_BYTES = 4096

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Ack:
    """All seq of ``chain`` up to ``through`` are stored but those in ``missing`` (inclusive, ascending, at most 64).

    ``at`` is the receiver's time at which it said so; None from one that does not tell it.
    """

    chain: bytes
    through: int
    missing: tuple[tuple[int, int], ...] = ()
    at: int | None = None

    def encode(self) -> bytes:
        """JSON payload of ``ack``; raises WireError if the ranges are not of the contract."""
        _check_missing(self.missing, self.through)
        missing = [list(pair) for pair in self.missing]
        value: dict[str, Any] = {"chain": self.chain.hex(), "through": self.through, "missing": missing}
        if self.at is not None:
            value["at"] = self.at
        return dump_object(value, max_bytes=ACK_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=ACK_BYTES)
        chain = take_hex(source, "chain", size=CHAIN_BYTES)
        through = take_int(source, "through", lowest=0, highest=MAX_SEQ)
        missing = tuple(_pair(item) for item in take_list(source, "missing", longest=MAX_MISSING_RANGES))
        _check_missing(missing, through)
        at = take_int(source, "at", lowest=0, highest=MAX_UNIX) if source.get("at") is not None else None
        return cls(chain, through, missing, at)


def _pair(item: object) -> tuple[int, int]:
    if type(item) is not list or len(item) != 2 or any(type(end) is not int for end in item):
        raise WireError("missing has an item that is no pair of integers")
    return item[0], item[1]


def _check_missing(missing: tuple[tuple[int, int], ...], through: int) -> None:
    if len(missing) > MAX_MISSING_RANGES:
        raise WireError(f"missing has {len(missing)} items, at most {MAX_MISSING_RANGES} are allowed")
    before = 0
    for first, last in missing:
        if not before < first <= last <= through:
            raise WireError("missing is not ascending between 1 and through")
        before = last


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one tap; ``amount`` in the smallest unit of whatever is rewarded."""

    cti: bytes
    outcome: str
    text: str | None = None
    amount: int | None = None

    def encode(self) -> bytes:
        """JSON payload of ``result``."""
        value: dict[str, Any] = {"cti": self.cti.hex(), "outcome": self.outcome}
        if self.text is not None:
            value["text"] = self.text
        if self.amount is not None:
            value["amount"] = self.amount
        return dump_object(value, max_bytes=RESULT_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=RESULT_BYTES)
        return cls(
            cti=take_hex(source, "cti", size=CTI_BYTES),
            outcome=_take_word(source, "outcome"),
            text=take_text(source, "text", longest=160) if source.get("text") is not None else None,
            amount=take_int(source, "amount", lowest=0, highest=10**9) if source.get("amount") is not None else None,
        )


class StateWord(StrEnum):
    """The terminal's presence: ``lost`` is said by the broker (will), ``stopped`` by a clean end."""

    ONLINE = "online"
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class State:
    """Retained presence. ``screens`` and ``readers`` map names to component states; ``session`` is 16 hex digits.

    ``restart`` tells why the agent restarted itself the last time; left out when there is nothing to tell.
    """

    state: StateWord
    session: str
    version: str
    kid: bytes
    chain: bytes
    next_seq: int
    config: str
    screens: Mapping[str, str]
    readers: Mapping[str, str]
    at: int
    contract: int = CONTRACT
    restart: str = ""

    def encode(self) -> bytes:
        """JSON payload of ``state``."""
        value: dict[str, Any] = {
            "state": self.state.value,
            "session": self.session,
            "version": self.version,
            "contract": self.contract,
            "kid": self.kid.hex(),
            "chain": self.chain.hex(),
            "next_seq": self.next_seq,
            "config": self.config,
            "screens": dict(self.screens),
            "readers": dict(self.readers),
            "at": self.at,
        }
        if self.restart:
            value["restart"] = self.restart
        return dump_object(value, max_bytes=STATE_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=STATE_BYTES)
        try:
            word = StateWord(take_text(source, "state", longest=16))
        except ValueError as error:
            raise WireError("state is not online, lost or stopped") from error
        return cls(
            state=word,
            session=take_hex(source, "session", size=8).hex(),
            version=take_text(source, "version", longest=64),
            kid=take_hex(source, "kid", size=8),
            chain=take_hex(source, "chain", size=CHAIN_BYTES),
            next_seq=take_int(source, "next_seq", lowest=1, highest=MAX_SEQ),
            config=take_text(source, "config", longest=64, shortest=0),
            screens=_text_map(take_object(source, "screens")),
            readers=_text_map(take_object(source, "readers")),
            at=take_int(source, "at", lowest=0, highest=MAX_UNIX),
            contract=take_int(source, "contract", lowest=1, highest=255),
            restart=take_text(source, "restart", longest=200) if source.get("restart") is not None else "",
        )


@dataclass(frozen=True, slots=True)
class Health:
    """Telemetry of at most 1 KiB: components by name with their state, and figures by name (units in the name)."""

    at: int
    up: int
    components: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, int | float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON payload of ``tele/health``; raises WireError if it does not fit into 1 KiB."""
        value = {"at": self.at, "up": self.up, "components": dict(self.components), "figures": dict(self.figures)}
        return dump_object(value, max_bytes=HEALTH_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=HEALTH_BYTES)
        figures = take_object(source, "figures")
        if any(type(figure) not in {int, float} for figure in figures.values()):
            raise WireError("figures has a value that is no number")
        return cls(
            at=take_int(source, "at", lowest=0, highest=MAX_UNIX),
            up=take_int(source, "up", lowest=0, highest=MAX_UNIX),
            components=_text_map(take_object(source, "components")),
            figures=figures,
        )


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a technician must know: stable code, one line of text, plain data."""

    code: str
    text: str
    at: int
    data: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON payload of ``evt/alarm``."""
        value = {"code": self.code, "text": self.text, "at": self.at, "data": dict(self.data)}
        return dump_object(value, max_bytes=ALARM_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=ALARM_BYTES)
        return cls(
            code=_take_word(source, "code"),
            text=take_text(source, "text", longest=ALARM_TEXT_CHARS),
            at=take_int(source, "at", lowest=0, highest=MAX_UNIX),
            data=take_object(source, "data"),
        )


@dataclass(frozen=True, slots=True)
class Command:
    """One order to a terminal, void after ``exp``; the name comes from the topic ``cmd/{name}``."""

    name: str
    id: str
    exp: int
    args: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON payload of ``cmd/{name}``."""
        return dump_object({"id": self.id, "exp": self.exp, "args": dict(self.args)}, max_bytes=COMMAND_BYTES)

    @classmethod
    def decode(cls, suffix: str, payload: bytes) -> Self:
        """Decode the payload of the topic that ends in ``suffix`` (``cmd/{name}``); raises WireError."""
        space, _, name = suffix.partition("/")
        if space != "cmd" or not _WORD.fullmatch(name):
            raise WireError("not a command topic")
        source = load_object(payload, max_bytes=COMMAND_BYTES)
        return cls(
            name=name,
            id=take_text(source, "id", longest=64),
            exp=take_int(source, "exp", lowest=0, highest=MAX_UNIX),
            args=take_object(source, "args"),
        )


class ResponseStatus(StrEnum):
    """The one final status of a command."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Response:
    """The one answer to a command; ``code`` is stable, ``detail`` is for people."""

    id: str
    status: ResponseStatus
    code: str
    detail: str = ""

    def encode(self) -> bytes:
        """JSON payload of ``res/{name}``."""
        value = {"id": self.id, "status": self.status.value, "code": self.code, "detail": self.detail}
        return dump_object(value, max_bytes=RESPONSE_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises WireError."""
        source = load_object(payload, max_bytes=RESPONSE_BYTES)
        try:
            status = ResponseStatus(take_text(source, "status", longest=16))
        except ValueError as error:
            raise WireError("status is no status of the contract") from error
        return cls(
            id=take_text(source, "id", longest=64),
            status=status,
            code=_take_word(source, "code"),
            detail=take_text(source, "detail", longest=512, shortest=0),
        )


def _take_word(source: Mapping[str, Any], key: str) -> str:
    value = take_text(source, key, longest=32)
    if not _WORD.fullmatch(value):
        raise WireError(f"{key} is not a word of a-z, 0-9, '_' and '-'")
    return value


def _text_map(source: Mapping[str, Any]) -> dict[str, str]:
    return {key: take_text(source, key, longest=64) for key in source}
