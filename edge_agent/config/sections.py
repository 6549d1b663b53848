"""Most sections of the configuration file; their names are fixed, they are the product's interface."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge_agent.config.section import Section
from edge_agent.config.values import AbsolutePath, Baud, Campaign, Expects, Identifier, Lang, Name, Secret, short_text
from edge_agent.readers.aids import DEFAULT_AID, check_aid

STATE = Path("/var/lib/edge-agent")


class Terminal(Section):
    """Identity; it is part of every token and topic, so it must match what the cloud knows."""

    id: Identifier = Field(description="Terminal id; also the MQTT client id.")
    fleet: Identifier = Field(description="Fleet that the terminal belongs to.")
    campaign: Campaign | None = Field(
        default=None, description="Campaign shown on the screen, written into every token."
    )


def _checked_aid(value: str) -> str:
    check_aid(bytes.fromhex(value))
    return value.upper()


Aid = Annotated[
    str,
    Field(pattern="^([0-9A-Fa-f]{2}){5,16}$"),
    AfterValidator(_checked_aid),
    Expects("5 to 16 bytes in hexadecimal, never an application of a payment system"),
]


class Exchange(Section):
    """SELECT and token, the two APDUs of a tap."""

    aids: tuple[Aid, ...] = Field(
        default=(DEFAULT_AID.hex().upper(),),
        strict=False,
        min_length=1,
        max_length=4,
        description="Application ids (ISO/IEC 7816-4) of the phone app, tried in this order.",
    )
    budget_ms: int = Field(
        default=1500, ge=200, le=5000, description="Time for one phone in all, in milliseconds; then it is cut off."
    )


class Limits(Section):
    """Against floods and repetition; for the whole terminal."""

    taps_per_minute: int = Field(
        default=120, ge=1, le=6000, description="Taps a minute in the long run; beyond that the screens rest."
    )
    burst: int = Field(default=30, ge=1, le=1000, description="How many taps may come at once before that counts.")
    cooldown_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="A second tap of one pseudonym, or of a nonce whose token has expired, is refused for so long.",
    )


class Token(Section):
    """Tap tokens."""

    ttl: int = Field(default=90, ge=1, le=120, description="How long a token can be redeemed, in seconds.")


class Keys(Section):
    """Signing key."""

    path: Secret = Field(
        default=STATE / "keys" / "tap.key", description="Key file, made by `edge-agent keys init`; mode 0600."
    )


class Outbox(Section):
    """SQLite database that keeps every tap until it is delivered."""

    path: AbsolutePath = Field(
        default=STATE / "outbox.db", description="Database file; on a disk that survives a power cut, not on a tmpfs."
    )
    retention_s: int = Field(
        default=86_400,
        ge=60,
        le=2_592_000,
        description='With `confirm = "broker"`: how long a delivered tap is kept for a resend, in seconds.',
    )
    max_rows: int = Field(
        default=1_000_000,
        ge=1000,
        le=100_000_000,
        description="How many taps it holds; then the oldest are given up, delivered ones first, and told as a gap.",
    )
    max_mb: int = Field(
        default=512,
        ge=16,
        le=65_536,
        description="How many MiB its files take at most; 8 of them are for the write-ahead log.",
    )
    min_free_mb: int = Field(
        default=64,
        ge=0,
        le=65_536,
        description="MiB of the file system left to the rest of the machine; below it new taps only take the place of "
        "delivered ones, and are refused if there is none.",
    )


BleAddress = Annotated[
    str,
    Field(pattern="^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"),
    AfterValidator(str.upper),
    Expects("a Bluetooth address, such as C0:FF:EE:00:12:34"),
]


class SerialScreen(Section):
    """Microcontroller on a serial line."""

    driver: Literal["serial"] = Field(description="Kind of screen link.")
    device: AbsolutePath = Field(description="Serial device; a stable udev name, by-id link or pty.")
    baud: Baud = Field(default=115200, description="Speed of the line.")
    lang: Lang = Field(default="en", description="Language of the screen.")


class BleScreen(Section):
    """Microcontroller with Bluetooth Low Energy: the same frames over the Nordic UART Service."""

    driver: Literal["ble"] = Field(description="Kind of screen link.")
    address: BleAddress | None = Field(
        default=None, description="Bluetooth address of the screen. Either this or `name` must be set."
    )
    name: Annotated[str, *short_text(64)] | None = Field(
        default=None, description="Name that the screen advertises. Either this or `address` must be set."
    )
    adapter: Annotated[str, Field(pattern="^hci[0-9]{1,2}$"), Expects("hciN, such as hci0")] | None = Field(
        default=None, description="Bluetooth adapter. Left out: the system's default."
    )
    lang: Lang = Field(default="en", description="Language of the screen.")

    @model_validator(mode="after")
    def _is_found_in_one_way(self) -> Self:
        if (self.address is None) == (self.name is None):
            raise ValueError("a BLE screen is found by `address` or by `name`: write one of them")
        return self


class WebScreen(Section):
    """Page for the kiosk browser, on the loopback interface only."""

    driver: Literal["web"] = Field(description="Kind of screen link.")
    port: int = Field(default=8787, ge=0, le=65535, description="TCP port on 127.0.0.1; 0 takes a free one.")
    lang: Lang = Field(default="en", description="Language of the screen.")


class SimulatedScreen(Section):
    """The real serial link over an emulated microcontroller."""

    driver: Literal["simulated"] = Field(description="Kind of screen link.")
    lang: Lang = Field(default="en", description="Language of the screen.")


class Control(Section):
    """Unix socket for `edge-agent status` and the other local commands."""

    socket: AbsolutePath = Field(
        default=Path("/run/edge-agent/control.sock"),
        description="Socket file, mode 0660; its directory must exist.",
    )


class Clock(Section):
    """Wall clock."""

    trust: Literal["kernel", "assume-synced"] = Field(
        default="kernel",
        description="Ask the kernel whether the clock is synchronised, or take it for granted (containers, demo).",
    )


class Logging(Section):
    """Log lines go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe level shown.")
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON everywhere else."
    )


class Receiver(Section):
    """The cloud half: verifies, stores and acknowledges tokens."""

    ledger: AbsolutePath = Field(default=Path("/var/lib/edge-agent-receiver/ledger.db"), description="SQLite ledger.")
    keys: AbsolutePath = Field(
        default=Path("/var/lib/edge-agent-receiver/keys.json"),
        description="Key registry: JSON file with the public key of every terminal.",
    )
    group: Name = Field(
        default="ingest", description="Receivers of one group share the load; every group gets every tap."
    )
    results: bool = Field(
        default=False, description="Publish a `result` to the terminal for every tap that buys without a ticket."
    )
    ticket_quota: int = Field(
        default=3,
        ge=0,
        le=999_999,
        description="Tickets of one terminal that are granted on the phone's word, before it has reported the reads.",
    )
    ticket_window_s: int = Field(default=3600, ge=1, le=999_999, description="Time that this quota is for, in seconds.")
    ticket_wait_s: int = Field(
        default=604_800, ge=1, le=999_999, description="How late the report of a read may come, in seconds."
    )
