"""The drivers of [[readers]]; names are fixed, they are the product's interface."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge_agent.config.section import Section
from edge_agent.config.values import Baud, Expects, Hex, Name, Port, hex_bytes

PollMs = Annotated[
    int,
    Field(
        ge=20,
        le=1000,
        description="Time between two looks for a phone, in milliseconds; `serial` has it with `acs_ccid` only.",
    ),
]
_CARDS = "Plain cards and tags: ignore them, or accept them as a tap under a daily changing pseudonym."


class _AnyReader(Section):
    driver: Literal["pn532", "pcsc", "serial", "simulated"] = Field(description="Kind of reader.")
    name: Name = Field(default="nfc0", description="Name of this reader in logs and `status`; unique.")
    cards: Literal["ignore", "pseudonym"] = Field(default="ignore", description=_CARDS)


class Pn532Reader(_AnyReader):
    """PN532 on a serial line (HSU)."""

    driver: Literal["pn532"] = Field(description="Kind of reader.")
    device: Port = Field(description="Serial port; a stable udev name, by-id link, pty or USB id.")
    baud: Baud = Field(
        default=115200, description="Speed of the line; leave at 115200 unless the wiring is short and tried."
    )
    poll_ms: PollMs = 75
    annotation: Annotated[Hex, Field(min_length=2, max_length=64), hex_bytes(1, 32)] | None = Field(
        default=None,
        description="Frame sent between two looks, for phones in Observe Mode that wait for a known one; without CRC.",
    )


class PcscReader(_AnyReader):
    """Any reader that pcscd knows: ACR1252U, ACR122U, Identiv, HID and the like."""

    driver: Literal["pcsc"] = Field(description="Kind of reader.")
    reader: Annotated[str, Field(pattern="^[ -~]{1,128}$"), Expects("1 to 128 printable ASCII characters")] | None = (
        Field(
            default=None,
            description="Part of the reader's name as `pcsc_scan` shows it. Left out: the first contactless one.",
        )
    )


class SerialReader(_AnyReader):
    """A reader that speaks a profile of its own on a serial line."""

    driver: Literal["serial"] = Field(description="Kind of reader.")
    device: Port = Field(description="Serial port; a stable udev name, by-id link, pty or USB id.")
    baud: Baud = Field(default=9600, description="Speed of the line.")
    profile: Literal["ascii_line", "stx_etx_hex", "aa_bb", "acs_ccid"] = Field(
        default="ascii_line", description="What the reader speaks; `edge-agent reader probe` finds out."
    )
    cards: Literal["ignore", "pseudonym"] = Field(default="pseudonym", description=_CARDS)
    prefix: Annotated[str, Field(pattern="^[ -~]{0,16}$"), Expects("0 to 16 printable ASCII characters")] = Field(
        default="", description="Text before the number in a line of `ascii_line`."
    )
    suffix: Annotated[str, Field(pattern="^[ -~]{0,16}$"), Expects("0 to 16 printable ASCII characters")] = Field(
        default="", description="Text behind the number in a line of `ascii_line`."
    )
    min_length: int = Field(
        default=4, ge=1, le=32, description="Characters of the shortest number of `ascii_line`; less is noise."
    )
    head: Annotated[Hex, Field(min_length=2, max_length=8), hex_bytes(1, 4)] = Field(
        default="AA", description="Begin of a frame of `aa_bb`."
    )
    tail: Annotated[Hex, Field(min_length=2, max_length=8), hex_bytes(1, 4)] = Field(
        default="BB", description="End of a frame of `aa_bb`."
    )
    length: Literal["payload", "frame"] = Field(
        default="payload", description="What the length byte of `aa_bb` counts: the payload, or the whole frame."
    )
    checksum: Literal["xor", "sum", "none"] = Field(
        default="xor", description="Check byte of `aa_bb`, over address, length and payload."
    )
    poll_ms: PollMs = 75

    @model_validator(mode="after")
    def _fits_the_profile(self) -> Self:
        belongs = (
            dict.fromkeys(("prefix", "suffix", "min_length"), "ascii_line")
            | dict.fromkeys(("head", "tail", "length", "checksum"), "aa_bb")
            | {"poll_ms": "acs_ccid"}
        )
        stray = sorted(name for name in self.model_fields_set if belongs.get(name, self.profile) != self.profile)
        if stray:
            raise ValueError(f'`{stray[0]}` belongs to profile = "{belongs[stray[0]]}", not to "{self.profile}"')
        if self.profile != "acs_ccid" and self.cards == "ignore":
            raise ValueError(
                f'a reader with profile = "{self.profile}" sees cards only, and cards = "ignore" ignores them: '
                'write cards = "pseudonym", or take a reader that speaks to phones'
            )
        return self


class SimulatedReader(_AnyReader):
    """The real PN532 driver over an emulated chip with simulated phones: demo, training, tests."""

    driver: Literal["simulated"] = Field(description="Kind of reader.")
    poll_ms: PollMs = 75
    tap_every_s: float = Field(
        default=10.0, ge=0.5, le=3600, description="Somebody taps about every so many seconds; simulated phones only."
    )
