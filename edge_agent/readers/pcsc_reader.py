"""Any reader that pcscd knows, by pyscard's low-level binding: the only module that imports `smartcard`.

pcscd tells of a phone by itself, so nothing is asked for while nobody comes. Buzzer and LED stay the reader's own; a
card's UID must not leave this module but as a RawUid.
"""

import contextlib
import math
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from smartcard import scard

from edge_agent.clock import Clock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.readers import pcsc_status as status
from edge_agent.readers.base import RawUid, ReaderInfo, Target, TargetKind
from edge_agent.readers.pcsc_status import CardState
from edge_agent.readers.presence import GONE_AFTER_S
from edge_agent.readers.threaded_reader import Exchanged, Found, ThreadedReader
from edge_agent.sanitize import printable

WAIT_S = 0.5
"""The longest wait in one poll: a sign of life for the supervision; a phone ends it at once."""

_GET_UID = b"\xff\xca\x00\x00\x00"  # PC/SC part 3, 3.2.2.1.3: answered by the reader, nothing goes over the air
_UID_SIZES = frozenset({4, 7, 8, 10})
_SAK_ISO_DEP = 0x20
_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_BROKE = scard.SCARD_F_COMM_ERROR
_NOTICED_WITHIN_S = 0.6
"""pcscd looks every 0.4 s where a reader does not report by itself."""
# Where its library looks for pcscd.
_SOCKET_VARIABLE, _SOCKET = "PCSCLITE_CSOCK_NAME", "/run/pcscd/pcscd.comm"
_CANCEL_EVERY_S = 0.05
_CANCEL_TIMES = 60

InUse = dict[str, object]
"""Readers that a terminal has open, by whom; pcscd would let them be shared, and each tap would count twice."""


@dataclass(slots=True)
class _Link:
    """One connection to pcscd and one reader behind it."""

    context: Any
    reader: str = ""
    shown: str = ""
    """The reader's name, fit for a log."""
    state: int = scard.SCARD_STATE_UNAWARE
    """What pcscd said last, or UNAWARE: then it answers at once."""
    stopping: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)


class _PcscDriver:
    """Everything that blocks; lives on the owner thread.

    SCardTransmit cannot be cancelled: a phone that asks for time without end holds it until the phone leaves. The
    session's deadline ends the tap before that, and supervision knows a thread that does not come back.
    """

    def __init__(
        self, wanted: str | None, clock: Clock, *, read_uids: bool, wait_s: float, in_use: InUse | None
    ) -> None:
        self._wanted = wanted
        self._in_use = {} if in_use is None else in_use
        self._clock = clock
        self._read_uids = read_uids
        self._wait_ms = round(wait_s * 1000)
        self._link: _Link | None = None
        self._card: tuple[Any, int] | None = None  # handle and protocol
        self._kind = TargetKind.ISO_DEP
        self._reset_from = math.inf

    def open(self) -> ReaderInfo:
        """Connect to pcscd and find the reader; raises ReaderError."""
        code, context = _call(scard.SCardEstablishContext, scard.SCARD_SCOPE_SYSTEM)
        if code != status.OK:
            raise status.connect_error(code, listens=_listens())
        link = self._link = _Link(context)
        self._reset_from = math.inf
        code, names = _call(scard.SCardListReaders, context, [])
        if code not in (status.OK, status.NO_READERS):
            raise status.reader_error(code, "(which one is not known yet)")
        link.reader = status.choose_reader(names, self._wanted)
        link.shown = printable(link.reader)
        if self._in_use.setdefault(link.reader, self) is not self:  # atomic: each reader has a thread
            raise status.used_twice(link.shown)
        self._look(link, 0)
        if status.held_elsewhere(link.state):
            raise status.held(link.shown)
        link.state = scard.SCARD_STATE_UNAWARE
        return ReaderInfo(driver="pcsc", device="pcscd", chip=link.shown)

    def poll(self) -> Found | None:
        """Wait for a phone or card, ``wait_s`` at most; raises ReaderError. One that is still there is found again."""
        link = self._opened()
        self._let_go(link)
        if link.stopping.is_set():
            return None
        card, atr = self._look(link, self._wait_ms)
        seen_at = self._clock.monotonic()
        if card is CardState.EMPTY:
            self._reset_from = math.inf
        if card is CardState.EMPTY or link.stopping.is_set():
            return None
        if card is CardState.MUTE:
            if not self._wakes(link):
                return None
            link.state = scard.SCARD_STATE_UNAWARE
            _, atr = self._look(link, 0)
        link.state = scard.SCARD_STATE_UNAWARE
        self._kind = status.target_kind(atr)
        sak = _SAK_ISO_DEP if self._kind is TargetKind.ISO_DEP else 0x00
        return Found(Target(self._kind, RawUid(self._uid(link)), sak), seen_at)

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
        """One APDU, connecting to the card before the first; raises SessionLost, ReaderError.

        How often the phone asked for more time is the reader's secret: the count stays 0.
        """
        link = self._opened()
        if self._kind is not TargetKind.ISO_DEP:
            raise SessionLost(LostReason.PROTOCOL, "nothing that takes APDUs")
        self._connect(link)
        started = self._clock.monotonic()
        if started >= deadline:
            raise SessionLost(LostReason.TIMEOUT, "cut off by the budget")
        response = self._transmit(link, apdu)
        ended = self._clock.monotonic()
        if ended > deadline:  # whoever asked has given up; the card is there, in the middle of something
            self._reset_from = ended
        return Exchanged(response, ended - started, 0)

    def present(self) -> bool:
        """Whether the phone or card is still there, without a word to it; raises ReaderError."""
        link = self._opened()
        link.state = scard.SCARD_STATE_UNAWARE
        return self._look(link, 0)[0] is CardState.PRESENT

    def abort(self) -> None:
        """End a wait now; called from any thread. It asks pcscd, which may hang, so it never waits for the answer."""
        link = self._link
        if link is not None and not link.stopping.is_set():
            link.stopping.set()
            threading.Thread(target=_cancel, args=(link,), name="pcsc-cancel", daemon=True).start()

    def close(self) -> None:
        """Give the card and pcscd back. Idempotent, never raises."""
        link, self._link = self._link, None
        if link is None:
            return
        link.closed.set()
        with contextlib.suppress(ReaderError):
            self._disconnect(scard.SCARD_LEAVE_CARD)  # pcscd powers it down after five seconds
        with contextlib.suppress(ReaderError):
            _call(scard.SCardReleaseContext, link.context)
        self._card = None
        if self._in_use.get(link.reader) is self:
            del self._in_use[link.reader]

    def _opened(self) -> _Link:
        if self._link is None:
            raise ReaderError(ReaderFault.IO, "the reader is closed")
        return self._link

    def _look(self, link: _Link, wait_ms: int) -> tuple[CardState, bytes]:
        code, states = _call(scard.SCardGetStatusChange, link.context, wait_ms, [(link.reader, link.state)])
        if code in (status.TIMEOUT, status.CANCELLED):
            # Nothing changed; a wait that began without knowledge had told it at once.
            return status.card_state(link.state, link.shown), b""
        if code != status.OK or not states:
            raise status.reader_error(code, link.shown)
        _name, link.state, atr = states[0]
        return status.card_state(link.state, link.shown), bytes(atr)

    def _wakes(self, link: _Link) -> bool:
        """Try to activate a card that was mute; pcscd itself tries it once only."""
        try:
            self._connect(link)
        except SessionLost:
            return False
        return True

    def _connect(self, link: _Link) -> None:
        if self._card is not None:
            return
        code, handle, protocol = _call(
            scard.SCardConnect, link.context, link.reader, scard.SCARD_SHARE_SHARED, _PROTOCOLS
        )
        _check(code, link)
        self._card = (handle, protocol)

    def _transmit(self, link: _Link, apdu: bytes) -> bytes:
        if self._card is None:
            raise SessionLost(LostReason.VANISHED, "vanished")
        handle, protocol = self._card
        code, response = _call(scard.SCardTransmit, handle, protocol, list(apdu))
        if code != status.OK or not response:
            self._reset_from = min(self._reset_from, self._clock.monotonic() + _NOTICED_WITHIN_S)
        _check(code, link)
        if not response:  # not even a status word: what some drivers say of a card that left
            raise SessionLost(LostReason.PROTOCOL, "an empty answer")
        self._reset_from = math.inf
        return bytes(response)

    def _uid(self, link: _Link) -> bytes:
        """The UID where the policy needs one, empty where there is none to get."""
        if not self._read_uids:
            return b""
        try:
            self._connect(link)
            response = self._transmit(link, _GET_UID)
        except SessionLost:
            return b""
        uid = response[:-2]
        return uid if response[-2:] == b"\x90\x00" and len(uid) in _UID_SIZES else b""

    def _let_go(self, link: _Link) -> None:
        """End the connection of the session before.

        A card that broke off is reset, which activates it anew, but only once pcscd must have noticed had it left: the
        reset of a card that is gone makes pcscd blind for one that comes at that moment.
        """
        if self._card is None:
            return
        link.state = scard.SCARD_STATE_UNAWARE
        reset = self._clock.monotonic() >= self._reset_from and self._disconnect(scard.SCARD_RESET_CARD)
        if reset:
            self._reset_from = math.inf
        else:
            self._disconnect(scard.SCARD_LEAVE_CARD)

    def _disconnect(self, disposition: int) -> bool:
        if self._card is None:
            return True
        (code,) = _call(scard.SCardDisconnect, self._card[0], disposition)
        done: bool = code == status.OK
        if done or disposition == scard.SCARD_LEAVE_CARD:
            self._card = None
        return done


class PcscReader(ThreadedReader):
    """A PC/SC reader behind the Reader port.

    ``reader`` is a part of its name; None takes the first contactless one. With ``read_uids`` the reader is asked for
    each UID, for the pseudonym of a card; without, a UID is empty. The poll itself waits, so nothing is slept between.
    ``in_use`` is shared by all such readers of a terminal: no two of them open the same one.
    """

    def __init__(
        self,
        name: str,
        *,
        reader: str | None,
        clock: Clock,
        read_uids: bool = False,
        poll_interval_s: float = 0.0,
        gone_after_s: float = GONE_AFTER_S,
        wait_s: float = WAIT_S,
        in_use: InUse | None = None,
    ) -> None:
        super().__init__(
            name,
            _PcscDriver(reader, clock, read_uids=read_uids, wait_s=wait_s, in_use=in_use),
            clock=clock,
            poll_interval_s=poll_interval_s,
            gone_after_s=gone_after_s,
            against_hanging="take away what lies on the reader; else `systemctl restart pcscd`, power-cycle the reader",
        )


def list_contactless() -> tuple[str, ...]:
    """Return the names of all readers that a phone can be held to; raises ReaderError where pcscd cannot be asked."""
    code, context = _call(scard.SCardEstablishContext, scard.SCARD_SCOPE_SYSTEM)
    if code != status.OK:
        raise status.connect_error(code, listens=_listens())
    code, names = _call(scard.SCardListReaders, context, [])
    _call(scard.SCardReleaseContext, context)
    if code != status.OK and names:
        raise status.reader_error(code, "")
    return tuple(name for name in names if not status.is_contact_slot(name)) if code == status.OK else ()


def _listens() -> bool:
    """Whether somebody takes connections at pcscd's socket; never waits."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(0.0)
        try:
            line.connect(os.environ.get(_SOCKET_VARIABLE, _SOCKET))
        except BlockingIOError:  # so many wait there that it is full
            return True
        except OSError:
            return False
    return True


def _cancel(link: _Link) -> None:
    # A cancellation that comes before the wait does nothing and is not remembered.
    for _ in range(_CANCEL_TIMES):
        if link.closed.is_set():
            return
        with contextlib.suppress(ReaderError):
            _call(scard.SCardCancel, link.context)
        link.closed.wait(_CANCEL_EVERY_S)


def _call(function: Any, *arguments: Any) -> Any:
    """Call the binding; its result code comes first, unsigned, whatever else there is behind it."""
    try:
        result = function(*arguments)
    except SystemError as error:  # what it raises when pcscd dies under a call that allocates
        raise status.reader_error(_BROKE, "") from error
    return (result,) if isinstance(result, int) else result


def _check(code: int, link: _Link) -> None:
    if code == status.OK:
        return
    lost = status.session_lost(code)
    if lost is not None:
        raise lost
    raise status.reader_error(code, link.shown)
