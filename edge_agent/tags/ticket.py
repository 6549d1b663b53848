"""The ticket that a phone reads from us (contract, section 3): base64url of 86 signed bytes in a short link. Pure.

``01 | kid(8) | iat(u32) | ttl(u8, s) | nonce(8) | signature(64)``; the signature covers ``"tap-ticket/v1" | 00`` and
the bytes before it. It never looks at a clock and never chooses a key: who verifies looks the key up by kid.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.errors import TicketError

VERSION = 1
KID_BYTES = 8
NONCE_BYTES = 8
SIGNATURE_BYTES = 64
BODY_BYTES = 1 + KID_BYTES + 4 + 1 + NONCE_BYTES
TICKET_BYTES = BODY_BYTES + SIGNATURE_BYTES
TICKET_CHARS = 115
"""86 bytes in base64url without padding (RFC 4648, 5)."""
CONTEXT = b"tap-ticket/v1\x00"
PATH = "/k/"
MAX_IAT = 2**32 - 1
TTL = range(1, 256)

_CHARS = re.compile(rf"[A-Za-z0-9_-]{{{TICKET_CHARS}}}", re.ASCII)
_LINK = re.compile(rf"https://([a-z0-9.-]{{1,253}}){PATH}([A-Za-z0-9_-]{{{TICKET_CHARS}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: signing key, issue time (unix seconds), life in seconds, nonce (8 bytes)."""

    kid: bytes
    iat: int
    ttl: int
    nonce: bytes

    @property
    def exp(self) -> int:
        """Unix seconds until which it can be redeemed."""
        return self.iat + self.ttl

    def body(self) -> bytes:
        """Return the 22 bytes before the signature; raises TicketError for values that do not fit."""
        if len(self.kid) != KID_BYTES or len(self.nonce) != NONCE_BYTES:
            raise TicketError(f"a ticket has a kid and a nonce of {KID_BYTES} bytes each")
        if not 0 <= self.iat <= MAX_IAT:
            raise TicketError(f"iat {self.iat} is no time that a ticket can tell")
        if self.ttl not in TTL:
            raise TicketError(f"a ticket lives 1 to 255 seconds, not {self.ttl}")
        return bytes((VERSION,)) + self.kid + self.iat.to_bytes(4, "big") + bytes((self.ttl,)) + self.nonce


@dataclass(frozen=True, slots=True)
class ParsedTicket:
    """A well-formed ticket whose signature was not looked at yet."""

    ticket: Ticket
    signature: bytes = field(repr=False)

    def verified_by(self, verify: Callable[[bytes, bytes], bool]) -> bool:
        """Whether the key behind ``verify(signature, data)`` signed it."""
        return verify(self.signature, CONTEXT + self.ticket.body())


def seal(ticket: Ticket, sign: Callable[[bytes], bytes]) -> str:
    """Return the 115 characters; ``sign`` makes the 64-byte signature of the key ``ticket.kid``. Raises TicketError."""
    body = ticket.body()
    signature = sign(CONTEXT + body)
    if len(signature) != SIGNATURE_BYTES:
        raise TicketError(f"a signature of {len(signature)} bytes, {SIGNATURE_BYTES} are expected")
    return base64.urlsafe_b64encode(body + signature).rstrip(b"=").decode("ascii")


def parse(text: str) -> ParsedTicket:
    """Read the 115 characters; raises TicketError for anything that ``seal`` could not have written."""
    if not _CHARS.fullmatch(text):
        raise TicketError(f"a ticket is {TICKET_CHARS} characters of A-Z, a-z, 0-9, - and _")
    try:
        raw = base64.urlsafe_b64decode(text + "=")
    except binascii.Error as error:
        raise TicketError("not base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != text:
        raise TicketError("bits beyond the last byte are set: not the form that was signed")
    if raw[0] != VERSION:
        raise TicketError(f"ticket of version {raw[0]}, this is version {VERSION}")
    kid, rest = raw[1 : 1 + KID_BYTES], raw[1 + KID_BYTES :]
    iat, ttl = int.from_bytes(rest[:4], "big"), rest[4]
    if ttl not in TTL:
        raise TicketError("a ticket lives 1 to 255 seconds, not 0")
    return ParsedTicket(Ticket(kid, iat, ttl, rest[5 : 5 + NONCE_BYTES]), rest[5 + NONCE_BYTES :])


def link(host: str, text: str) -> str:
    """Return the URL that a surface shows."""
    return f"https://{host}{PATH}{text}"


def parse_link(url: str) -> tuple[str, str]:
    """Return host and ticket text of a URL; raises TicketError. What may follow the ticket in a browser is refused."""
    found = _LINK.fullmatch(url)
    if found is None:
        raise TicketError(f"a ticket link is https://HOST{PATH} and {TICKET_CHARS} characters")
    return found[1], found[2]
