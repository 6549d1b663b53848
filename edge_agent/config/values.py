"""The kinds of value that settings are made of. Each says in its `Expects` what a person should have written."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edge_agent.credentials import can_be_a_name, credential_name
from edge_agent.readers.port_names import check_device, check_port


@dataclass(frozen=True, slots=True)
class Expects:
    """What an error line and the reference say that this value must be."""

    text: str


def _checked_path(value: Path) -> Path:
    if not value.is_absolute() or not str(value).isprintable():
        raise ValueError  # what is expected says it all
    return value


def _checked_secret(value: Path) -> Path:
    name = credential_name(value)
    if name is None:
        return _checked_path(value)
    if not can_be_a_name(name):
        raise ValueError  # as above
    return value


def _checked_host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", value):
            raise ValueError from None
    return value


def _checked_text(value: str) -> str:
    if not value.isprintable():
        raise ValueError
    return value


def _checked_campaign(value: str) -> str:
    # CDDL counts the bytes of a tstr; the token has room for 16.
    if not 1 <= len(_checked_text(value).encode()) <= 16:
        raise ValueError
    return value


def _checked_device(value: Path) -> Path:
    check_device(str(value))
    return value


def _checked_hex(value: str) -> str:
    if not re.fullmatch("(?:[0-9A-Fa-f]{2})+", value):
        raise ValueError
    return value.upper()


Identifier = Annotated[str, Field(pattern="^[a-z0-9-]{1,24}$"), Expects("1 to 24 characters of a-z, 0-9 and -")]
Campaign = Annotated[str, AfterValidator(_checked_campaign), Expects("1 to 16 bytes of printable text")]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_checked_path), Expects("an absolute path")]
Secret = Annotated[
    Path,
    Field(strict=False),
    AfterValidator(_checked_secret),
    Expects("an absolute path, or credential:NAME for a credential of systemd"),
]
"""The file of a secret; the rest of the agent finds it by `edge_agent.credentials.located`."""
Host = Annotated[str, AfterValidator(_checked_host), Expects("a host name or IP address, without scheme and port")]
Lang = Literal["en", "zh-CN"]
Name = Annotated[str, Field(pattern="^[a-z0-9_-]{1,24}$"), Expects("1 to 24 characters of a-z, 0-9, _ and -")]
Baud = Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600]
Device = Annotated[AbsolutePath, AfterValidator(_checked_device), Expects("an absolute path")]
Port = Annotated[
    str,
    AfterValidator(check_port),
    Expects("an absolute path, or usb:VENDOR:PRODUCT[:SERIAL] in hexadecimal as `lsusb` shows it"),
]


def short_text(longest: int, *, shortest: int = 1) -> tuple[object, ...]:
    """The annotations of one printable line of ``shortest`` to ``longest`` characters."""
    expects = Expects(f"printable text of {shortest} to {longest} characters")
    return Field(min_length=shortest, max_length=longest), AfterValidator(_checked_text), expects


def hex_bytes(low: int, high: int) -> Expects:
    """What a person should write for a key of ``low`` to ``high`` bytes."""
    return Expects(f"{low} to {high} bytes in hexadecimal")


Hex = Annotated[str, AfterValidator(_checked_hex)]
"""Bytes in hexadecimal; bound their number by ``Field(min_length, max_length)``, in digits."""

Text = Annotated[str, *short_text(128)]
