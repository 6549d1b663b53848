"""What a ticket is worth that a phone brought from a terminal: one verdict, by the contract (section 3). Pure.

Checks run in this order, and the first that fails decides:

1. form              not a ticket of the contract, nor a link with one                -> malformed
2. key               its kid is not registered                                        -> unknown_key
3. signature         by this key, with this key's algorithm: a ticket names none      -> bad_signature
4. repetition        its nonce was redeemed already                                   -> used
5. validity of key   iat before valid_from -> unknown_key; ended or revoked           -> revoked_key
6. time              iat in the future -> clock_suspect; then fresh or expired

The ticket names no terminal: the key's registration does. It must never look at a clock or a database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.cloud.verifier import SKEW_S, KeyLookup, KeyRecord
from edge_agent.errors import TicketError
from edge_agent.tags.ticket import PATH, TICKET_CHARS, ParsedTicket, Ticket, parse, parse_link

MAX_INPUT_CHARS = len("https://") + 253 + len(PATH) + TICKET_CHARS
"""The longest link of the contract; what is longer is not looked at."""


class TicketVerdict(StrEnum):
    """The contract's words for one ticket. The last two are told by a redemption only (``witness``)."""

    FRESH = "fresh"
    EXPIRED = "expired"
    USED = "used"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    CLOCK_SUSPECT = "clock_suspect"
    MALFORMED = "malformed"
    TEST_TAP = "test_tap"
    """The terminal reported the read as a technician's."""
    UNWITNESSED = "unwitnessed"
    """The terminal did not report the read in time."""


UsedLookup = Callable[[bytes, bytes], bool]
"""(kid, nonce) -> whether this ticket was redeemed already."""


@dataclass(frozen=True, slots=True)
class TicketJudgement:
    """The verdict on one ticket. Who signed it and what it says is told only if the signature is right."""

    verdict: TicketVerdict
    reason: str
    """One line for people; holds nothing that the phone chose but numbers that passed the checks."""
    ticket: Ticket | None = None
    fleet: str | None = None
    terminal: str | None = None
    host: str | None = None
    """Host of the link, where it was one. It is not signed: a server knows its own name better."""


def verify_ticket(text_or_url: str, *, now: float, keys: KeyLookup, used: UsedLookup | None = None) -> TicketJudgement:
    """Judge the 115 characters of a ticket, or the whole link, as asked at ``now`` (Unix seconds).

    Without ``used`` nothing is used here: the ledger tells it in its own transaction. Never raises for anything that
    a phone can send.
    """
    try:
        host, parsed = _read(text_or_url)
    except TicketError as error:
        return TicketJudgement(TicketVerdict.MALFORMED, error.text)
    ticket = parsed.ticket
    record = keys(ticket.kid)
    if record is None:
        return TicketJudgement(TicketVerdict.UNKNOWN_KEY, f"no key {ticket.kid.hex()} is registered")
    if not parsed.verified_by(record.public.verify):
        return TicketJudgement(TicketVerdict.BAD_SIGNATURE, f"key {ticket.kid.hex()} did not sign this")
    if used is not None and used(ticket.kid, ticket.nonce):
        verdict, reason = TicketVerdict.USED, "this ticket was redeemed already"
    else:
        verdict, reason = _validity(ticket, record, now) or _time(ticket, now)
    return TicketJudgement(verdict, reason, ticket, record.fleet, record.terminal, host)


def _read(text: str) -> tuple[str | None, ParsedTicket]:
    if len(text) > MAX_INPUT_CHARS:
        raise TicketError(f"longer than any ticket link: {MAX_INPUT_CHARS} characters at most")
    if len(text) == TICKET_CHARS:
        return None, parse(text)
    host, ticket = parse_link(text)
    return host, parse(ticket)


def _validity(ticket: Ticket, record: KeyRecord, now: float) -> tuple[TicketVerdict, str] | None:
    """Check 5. A revoked key is not asked for its iat: it is the thief's to choose, and a ticket lives for minutes."""
    if ticket.iat < record.valid_from - SKEW_S:
        return TicketVerdict.UNKNOWN_KEY, f"the key counts from {record.valid_from} on"
    if record.revoked_at is not None and max(now, ticket.iat) >= record.revoked_at:
        return TicketVerdict.REVOKED_KEY, f"the key was revoked at {record.revoked_at}"
    if record.valid_to is not None and ticket.iat >= record.valid_to:
        return TicketVerdict.REVOKED_KEY, f"the key counted until {record.valid_to}"
    return None


def _time(ticket: Ticket, now: float) -> tuple[TicketVerdict, str]:
    """Check 6."""
    ahead = ticket.iat - now
    if ahead > SKEW_S:
        return TicketVerdict.CLOCK_SUSPECT, f"iat is {ahead:.0f} s in the future"
    past = now - (ticket.exp + SKEW_S)
    if past > 0:
        return TicketVerdict.EXPIRED, f"{past:.0f} s too late: hold the phone to the screen once more"
    return TicketVerdict.FRESH, "in time"
