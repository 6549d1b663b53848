"""What PC/SC says, read: result codes, the state word of a reader, ATRs, reader names. Pure.

Numbers are those of pcsclite.h and of the PC/SC specification, part 3 (rev. 2.01.09), 3.1.3.2.3; the texts of errors
are for the person in front of the cabinet.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.readers.base import TargetKind
from edge_agent.sanitize import printable

OK = 0x00000000
CANCELLED = 0x80100002
TIMEOUT = 0x8010000A
NO_READERS = 0x8010002E

_INVALID_HANDLE = 0x80100003
_INSUFFICIENT_BUFFER = 0x80100008
_UNKNOWN_READER = 0x80100009
_SHARING_VIOLATION = 0x8010000B
_NO_SMARTCARD = 0x8010000C
_PROTO_MISMATCH = 0x8010000F
_COMM_ERROR = 0x80100013
_NOT_TRANSACTED = 0x80100016
_READER_UNAVAILABLE = 0x80100017
_NO_SERVICE = 0x8010001D
_SERVICE_STOPPED = 0x8010001E
_NO_ACCESS = 0x80100027
_UNRESPONSIVE_CARD = 0x80100066
_UNPOWERED_CARD = 0x80100067
_RESET_CARD = 0x80100068
_REMOVED_CARD = 0x80100069
_SECURITY_VIOLATION = 0x8010006A

_VANISHED = frozenset({_NO_SMARTCARD, _REMOVED_CARD})
# pcscd says "not transacted" when the driver reports an error of the link to the card, as when it left meanwhile.
_BROKEN = {
    _NOT_TRANSACTED: "the link to it broke",
    _UNRESPONSIVE_CARD: "it does not answer the activation",
    _UNPOWERED_CARD: "it lost its power",
    _RESET_CARD: "another program reset it",
    _PROTO_MISMATCH: "it speaks no protocol that carries APDUs",
    _INSUFFICIENT_BUFFER: "its answer is longer than any APDU may be",
    TIMEOUT: "it did not answer in time",
}

_STATE_UNKNOWN = 0x0004
_STATE_UNAVAILABLE = 0x0008
_STATE_PRESENT = 0x0020
_STATE_EXCLUSIVE = 0x0080
_STATE_MUTE = 0x0200

# A card that takes no APDUs: category 80, application identifier 4F of 0C bytes that begins with PC/SC's own RID.
_STORAGE_CARD = bytes.fromhex("3b8f8001804f0ca000000306")

_POLKIT = "allow the agent's user in polkit: docs/readers.md, PC/SC"
_HELD = "end the program that holds it (often GnuPG: gpgconf --kill scdaemon), and keep it from starting again"

# A slot for a SIM, a SAM or a chip card with contacts; "PICC" (a contactless card) holds "ICC" and is none.
_CONTACT_SLOT = re.compile(r"\bSAM\d?\b|\bICC\b|\bcontact(?:ed)?\b|contact_", re.IGNORECASE)
_CONTACTLESS = re.compile(r"contactless|\bPICC\b|\bCL\b|[0-9]CL\b|\bNFC\b|\bRFID\b", re.IGNORECASE)


class CardState(StrEnum):
    """What a reader says of its field."""

    EMPTY = "empty"
    PRESENT = "present"
    MUTE = "mute"
    """Something is there that did not answer its activation: a phone at the edge of the field, two at once."""


def card_state(word: int, device: str) -> CardState:
    """Read an event state of SCardGetStatusChange; raises ReaderError when the reader has gone or fails."""
    if word & _STATE_UNKNOWN:
        raise _unplugged(device)
    if word & _STATE_UNAVAILABLE:
        raise ReaderError(
            ReaderFault.NO_ANSWER,
            f"the reader {device} does not answer pcscd",
            remedy="unplug it and plug it in again; see `journalctl -u pcscd`",
        )
    if not word & _STATE_PRESENT:
        return CardState.EMPTY
    return CardState.MUTE if word & _STATE_MUTE else CardState.PRESENT


def held_elsewhere(word: int) -> bool:
    """Whether a program has the reader for itself alone."""
    return bool(word & _STATE_EXCLUSIVE)


def held(device: str) -> ReaderError:
    """Another program has the reader for itself alone."""
    return ReaderError(ReaderFault.TAKEN, f"another program holds the reader {device} for itself", remedy=_HELD)


def used_twice(device: str) -> ReaderError:
    """Two readers of the configuration lead to one: a phone would be asked by both at once."""
    return ReaderError(
        ReaderFault.TAKEN,
        f"another of [[readers]] has the reader {device}",
        remedy="write more of each name into `reader`, or take one of the two out of the configuration",
    )


def target_kind(atr: bytes) -> TargetKind:
    """Tell from an ATR whether APDUs reach the card (ISO/IEC 14443-4) or end at the reader (a storage card)."""
    return TargetKind.PLAIN if atr.startswith(_STORAGE_CARD) else TargetKind.ISO_DEP


def connect_error(code: int, *, listens: bool) -> ReaderError:
    """Explain why there is no connection to pcscd; ``listens``: somebody takes connections at its socket."""
    code &= 0xFFFFFFFF
    if code in (_NO_SERVICE, _SERVICE_STOPPED) and not listens:
        return ReaderError(
            ReaderFault.NO_SERVICE,
            "pcscd is not running",
            remedy="install and start it: apt-get install pcscd; systemctl enable --now pcscd.socket",
        )
    # A pcscd that refuses a user hangs up, and its library has four words for that: it depends on who was faster.
    if code in (_NO_SERVICE, _SERVICE_STOPPED, _COMM_ERROR, _SECURITY_VIOLATION, _NO_ACCESS):
        return ReaderError(ReaderFault.NO_PERMISSION, "pcscd refuses the agent's user", remedy=_POLKIT)
    return ReaderError(
        ReaderFault.NO_SERVICE, f"pcscd does not work ({_hex(code)})", remedy="see `journalctl -u pcscd`"
    )


def reader_error(code: int, device: str) -> ReaderError:
    """Explain a result code that is the reader's or pcscd's fault, on a connection that worked."""
    code &= 0xFFFFFFFF
    if code in (_UNKNOWN_READER, _READER_UNAVAILABLE, NO_READERS):
        return _unplugged(device)
    if code == _SHARING_VIOLATION:
        return held(device)
    if code in (_SECURITY_VIOLATION, _NO_ACCESS):
        return ReaderError(ReaderFault.NO_PERMISSION, f"pcscd refuses the agent's user {device}", remedy=_POLKIT)
    if code in (_NO_SERVICE, _SERVICE_STOPPED, _COMM_ERROR, _INVALID_HANDLE):
        return ReaderError(
            ReaderFault.NO_SERVICE,
            f"pcscd broke the connection ({_hex(code)})",
            remedy="see `journalctl -u pcscd`: it was stopped, crashed, or refuses the agent's user (docs/readers.md)",
        )
    return ReaderError(
        ReaderFault.IO,
        f"the reader {device} fails ({_hex(code)})",
        remedy="unplug it and plug it in again; see `journalctl -u pcscd`",
    )


def session_lost(code: int) -> SessionLost | None:
    """Explain a result code that is the phone's or card's; None for one that is not."""
    code &= 0xFFFFFFFF
    if code in _VANISHED:
        return SessionLost(LostReason.VANISHED, "vanished")
    if code in _BROKEN:
        reason = LostReason.TIMEOUT if code == TIMEOUT else LostReason.PROTOCOL
        return SessionLost(reason, f"{_BROKEN[code]} ({_hex(code)})")
    return None


def choose_reader(names: Sequence[str], wanted: str | None) -> str:
    """Return the reader to use out of those that pcscd knows; raises ReaderError.

    ``wanted`` is a part of the name, in any case; None takes the first contactless one, by its name. Slots for cards
    with contacts are left out unless the wanted text leaves nothing else.
    """
    if not names:
        raise ReaderError(
            ReaderFault.NOT_FOUND, "pcscd knows no reader", remedy="plug in the reader; `pcsc_scan` must show it"
        )
    matching = [name for name in names if wanted is None or wanted.casefold() in name.casefold()]
    found = [name for name in matching if not is_contact_slot(name)]
    if wanted is None:
        found.sort(key=lambda name: not _is_contactless_slot(name))
        found = found[:1]
    else:
        found = [name for name in matching if name == wanted] or found or matching
        clearly = [name for name in found if _is_contactless_slot(name)]
        found = clearly if len(clearly) == 1 else found
    if not found:
        known = ", ".join(printable(name) for name in names[:4])
        missing = "no contactless reader" if wanted is None else f"no reader has {printable(wanted)!r} in its name"
        raise ReaderError(
            ReaderFault.NOT_FOUND, f"{missing}; pcscd knows {known}", remedy="correct `reader` in [[readers]]"
        )
    if len(found) > 1:
        several = ", ".join(printable(name) for name in found[:4])
        raise ReaderError(
            ReaderFault.NOT_FOUND,
            f"{len(found)} readers fit {printable(wanted or '')!r}: {several}",
            remedy="write more of the name into `reader` in [[readers]]",
        )
    return found[0]


def is_contact_slot(name: str) -> bool:
    """Whether a name says that no phone can reach this slot: it is for a SAM or for cards with contacts."""
    return _CONTACT_SLOT.search(_slot(name)) is not None and not _is_contactless_slot(name)


def _is_contactless_slot(name: str) -> bool:
    slot = _slot(name)
    told = slot if _CONTACT_SLOT.search(slot) or _CONTACTLESS.search(slot) else name
    return _CONTACTLESS.search(told) is not None


def _slot(name: str) -> str:
    # pcscd puts the name of the USB interface into brackets; where there is one, it says more than the model's name.
    found = re.search(r"\[([^\]]*)\]", name)
    return found[1] if found else name


def _unplugged(device: str) -> ReaderError:
    return ReaderError(
        ReaderFault.UNPLUGGED, f"the reader {device} was unplugged", remedy="plug it in again, check its cable"
    )


def _hex(code: int) -> str:
    return f"{code:08x}"
