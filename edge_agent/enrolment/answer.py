"""What the fleet answers to a request: a certificate, an authority and a broker; or a refusal. Pure.

One JSON object, in a file and over MQTT, or packed into one line to be pasted. Whose certificate it is and whether it
holds is checked in ``checks``; here it is only a form with bounds.
"""

import base64
import ipaddress
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.strict_json import WireError, dump_object, load_object, take_hex, take_int, take_list, take_text

FORMAT = "tap-enrol-answer/1"
LINE_PREFIX = "TAPANS1:"
MAX_BYTES = 32 * 1024
MAX_LINE = 48 * 1024
MAX_PEM = 12 * 1024
_MAX_KIDS = 16
_PEM = re.compile(r"[\x20-\x7e\r\n]*")
_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_NAME = re.compile("[a-z0-9-]{1,24}")
_WORD = re.compile("[a-z][a-z0-9_-]*")
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """The terminal is taken into the fleet."""

    id: bytes
    """Of the request."""
    terminal: str
    fleet: str
    certificate: str
    """PEM: the terminal's certificate first, then what leads to an authority in ``ca``."""
    ca: str
    """PEM: the authorities that the broker's certificate and this one come from."""
    host: str
    port: int
    tap_kids: tuple[bytes, ...]
    """All signing keys of this terminal that the fleet's registry holds."""

    def to_json(self) -> bytes:
        """Return the JSON form."""
        value = {
            "format": FORMAT,
            "id": self.id.hex(),
            "terminal": self.terminal,
            "fleet": self.fleet,
            "certificate": self.certificate,
            "ca": self.ca,
            "host": self.host,
            "port": self.port,
            "tap_kids": [kid.hex() for kid in self.tap_kids],
        }
        return dump_object(value, max_bytes=MAX_BYTES)

    def to_line(self) -> str:
        """Return the form to be pasted, one line."""
        return LINE_PREFIX + base64.urlsafe_b64encode(zlib.compress(self.to_json(), 9)).decode("ascii").rstrip("=")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The fleet does not take the terminal in. ``code`` is stable, ``text`` for people."""

    id: bytes
    code: str
    text: str

    def to_json(self) -> bytes:
        """Return the JSON form."""
        value = {"format": FORMAT, "id": self.id.hex(), "refused": self.code, "text": self.text}
        return dump_object(value, max_bytes=MAX_BYTES)


def parse_answer(data: bytes) -> Answer | Refusal:
    """Read either form; raises WireError with one line that says what is wrong."""
    text = data.strip()
    if text.startswith(LINE_PREFIX.encode()):
        text = _unpacked(text)
    value = load_object(text, max_bytes=MAX_BYTES)
    if value.get("format") != FORMAT:
        raise WireError(f"format is not {FORMAT}")
    id_ = take_hex(value, "id", size=_ID_BYTES)
    if "refused" in value:
        code = take_text(value, "refused", longest=32)
        if not _WORD.fullmatch(code):
            raise WireError("refused is no word")
        return Refusal(id_, code, take_text(value, "text", longest=512))
    kids = take_list(value, "tap_kids", longest=_MAX_KIDS)
    return Answer(
        id=id_,
        terminal=_name(value, "terminal"),
        fleet=_name(value, "fleet"),
        certificate=_pem(value, "certificate"),
        ca=_pem(value, "ca"),
        host=_host(value),
        port=take_int(value, "port", lowest=1, highest=65_535),
        tap_kids=tuple(take_hex({"tap_kids": kid}, "tap_kids", size=8) for kid in kids),
    )


def _unpacked(text: bytes) -> bytes:
    body = b"".join(text[len(LINE_PREFIX) :].split())
    if len(body) > MAX_LINE:
        raise WireError(f"a line of {len(body)} characters, at most {MAX_LINE} are allowed")
    if not re.fullmatch(rb"[A-Za-z0-9_-]*", body):
        raise WireError("not a whole answer: it is not base64url")
    unpack = zlib.decompressobj()
    try:
        packed = base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        # Bounded: a few KiB can unpack to many MiB.
        data = unpack.decompress(packed, MAX_BYTES + 1)
    except (ValueError, zlib.error):  # binascii.Error is a ValueError
        raise WireError("not a whole answer: a piece is missing or changed") from None
    if len(data) <= MAX_BYTES and not unpack.eof:
        raise WireError("not a whole answer: its end is missing")
    if unpack.unused_data:
        raise WireError("something follows the answer")
    return data


def _name(value: Mapping[str, Any], key: str) -> str:
    name = take_text(value, key, longest=24)
    if not _NAME.fullmatch(name):
        raise WireError(f"{key} is not 1 to 24 of a-z, 0-9 and '-'")
    return name


def _pem(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_PEM or not _PEM.fullmatch(text):
        raise WireError(f"{key} is no PEM text of at most {MAX_PEM} characters")
    if "PRIVATE KEY" in text:
        raise WireError(f"{key} holds a private key: whoever sent it knows it, it must not be used")
    return text


def _host(value: Mapping[str, Any]) -> str:
    host = take_text(value, "host", longest=253)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            raise WireError("host is no host name or IP address") from None
    return host
