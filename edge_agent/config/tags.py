"""[tickets] and the drivers of [[tags]]: what phones read from us (mode 2); names are fixed, too."""

from typing import Annotated, Literal

from pydantic import Field

from edge_agent.config.section import Section
from edge_agent.config.values import Device, Expects, Name

# URI record 123 bytes and the host, application record 18 and the package: at most 255 in all (docs/contract.md).
_HOST = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", max_length=48),
    Expects("a host name in lower case of at most 48 characters"),
]
_PACKAGE = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$", max_length=64),
    Expects("a package name of at most 64 characters, such as com.example.tap"),
]


class Tickets(Section):
    """What stands on a tag or in a QR code: a signed link of short life."""

    host: _HOST | None = Field(
        default=None, description="Host of the link https://HOST/k/TICKET. Must be set where there are [[tags]]."
    )
    ttl: int = Field(default=120, ge=20, le=255, description="How long a ticket can be redeemed, in seconds.")
    app: _PACKAGE | None = Field(
        default=None, description="Android package that opens the link (Android Application Record); none without it."
    )


class _AnyTag(Section):
    driver: Literal["ntag_i2c", "qr", "simulated"] = Field(description="Kind of surface.")
    name: Name = Field(default="tag0", description="Name of this surface in logs and `status`; unique.")


class NtagI2cTag(_AnyTag):
    """NT3H2111 or NT3H2211 (NTAG I2C plus) on an I2C bus."""

    driver: Literal["ntag_i2c"] = Field(description="Kind of surface.")
    bus: Device = Field(description="I2C bus, such as /dev/i2c-1.")
    address: int = Field(default=0x55, ge=0x08, le=0x77, description="7-bit I2C address of the chip.")
    poll_ms: int = Field(
        default=50, ge=10, le=1000, description="Time between two looks at the chip's registers, in milliseconds."
    )
    field_line: (
        Annotated[
            str, Field(pattern="^gpiochip[0-9]{1,3}:[0-9]{1,3}$"), Expects("gpiochipN:LINE, such as gpiochip0:17")
        ]
        | None
    ) = Field(
        default=None,
        description="GPIO line that the chip's field-detect pin pulls low. Left out: its registers are polled.",
    )
    places: int = Field(
        default=4, ge=1, le=5, description="Places in the EEPROM that take turns, against wear; 1 keeps to the first."
    )


class QrTag(_AnyTag):
    """A QR code on the page of the web screens; nobody knows when it is read."""

    driver: Literal["qr"] = Field(description="Kind of surface.")
    rotate_s: int = Field(default=15, ge=5, le=127, description="Time between two codes, in seconds.")


class SimulatedTag(_AnyTag):
    """The real NTAG driver over an emulated chip that simulated phones read."""

    driver: Literal["simulated"] = Field(description="Kind of surface.")
    read_every_s: float = Field(
        default=10.0, ge=0.5, le=3600, description="Somebody reads it about every so many seconds."
    )
