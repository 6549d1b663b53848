"""A phone or card in a virtual PC/SC reader: a client of the vpcd driver (vsmartcard), one per slot.

Inserting is connecting, removing is hanging up. What lies in the reader is any application of ``iso_dep``; the answers
that a real reader gives itself (the UID) are given here. It never listens, and knows nothing about taps.
"""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

from edge_agent.simulation.iso_dep import ENDLESS, Application

VPCD_PORT = 35963
"""Of the first slot; the second one is a port higher."""

PHONE_ATR = bytes.fromhex("3b80800101")
"""ISO/IEC 14443-4 without historical bytes, as a reader makes it up for a phone (PC/SC part 3, 3.1.3.2.3.1)."""
STORAGE_ATR = bytes.fromhex("3b8f8001804f0ca000000306030001000000006a")
"""An access card of 1 KiB that speaks no ISO/IEC 14443-4 (PC/SC part 3, 3.1.3.2.3.2)."""

_OFF, _ON, _RESET, _GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
_GET_UID = b"\xff\xca\x00\x00\x00"
_SW_OK = b"\x90\x00"
_SW_NO_FUNCTION = b"\x6a\x81"
_READER_CLASS = 0xFF
_CONNECT_EVERY_S = 0.02
_CONNECT_WITHIN_S = 1.0


@dataclass(slots=True)
class VirtualCard:
    """What can be inserted: an application, the ATR that the reader makes up for it, its UID.

    An application's response may be late or absent, as on the air; of waiting-time extensions only ENDLESS has a
    meaning: no answer. An empty one breaks the link for a moment. Without a ``uid`` the reader says that it has none.
    """

    application: Application
    atr: bytes = PHONE_ATR
    uid: bytes = b""


class VirtualSlot:
    """One slot of the virtual reader and the thread ``vpcd-PORT`` that plays the card in it."""

    def __init__(self, port: int = VPCD_PORT, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._stay: Stay | None = None

    def insert(self, card: VirtualCard) -> "Stay":
        """Insert a card; the slot must be empty. It goes in as soon as the driver listens."""
        if self._stay is not None:
            raise RuntimeError("there is a card in the slot")
        self._stay = Stay(card, self._address)
        return self._stay

    def remove(self) -> None:
        """Take the card out. Idempotent."""
        stay, self._stay = self._stay, None
        if stay is not None:
            stay.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.remove()


class Stay:
    """One card from its insertion to its removal; after a restart of pcscd it goes in again by itself."""

    def __init__(self, card: VirtualCard, address: tuple[str, int]) -> None:
        self.inserted_at = time.monotonic()
        self.seen_at: float | None = None
        """When the driver asked for the ATR first (CLOCK_MONOTONIC seconds)."""
        self.commands: list[bytes] = []
        """Every APDU that came, those for the reader too."""
        self.resets = 0
        self._card = card
        self._address = address
        self._over = threading.Event()
        self._line: socket.socket | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{address[1]}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Hang up, and wait for the thread."""
        self._over.set()
        with self._lock, contextlib.suppress(OSError):
            if self._line is not None:
                self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._card.application.link_lost()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                self._connect_and_serve()
            self._over.wait(_CONNECT_EVERY_S)

    def _connect_and_serve(self) -> None:
        with socket.create_connection(self._address, _CONNECT_WITHIN_S) as line:
            line.settimeout(None)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._line = line
            try:
                while not self._over.is_set() and (message := _receive(line)) is not None:
                    self._take(line, message)
            finally:
                with self._lock:
                    self._line = None

    def _take(self, line: socket.socket, message: bytes) -> None:
        if message == _GET_ATR:
            if self.seen_at is None:
                self.seen_at = time.monotonic()
            _send(line, self._card.atr)
        elif message in (_OFF, _RESET):
            self.resets += message == _RESET
            self._card.application.link_lost()
        elif message != _ON:
            answer = self._answer(message)
            if answer == b"":
                raise ConnectionResetError("the protocol has no empty answer")
            if answer is not None:
                _send(line, answer)

    def _answer(self, apdu: bytes) -> bytes | None:
        self.commands.append(apdu)
        if apdu[0] == _READER_CLASS:
            return self._card.uid + _SW_OK if apdu == _GET_UID and self._card.uid else _SW_NO_FUNCTION
        response = self._card.application.command(apdu)
        if response is None or response.extensions == ENDLESS or self._over.wait(response.delay_s):
            return None
        return response.data


def _receive(line: socket.socket) -> bytes | None:
    """Return one message (16-bit big-endian length, then as many bytes); None at the end of the connection."""
    head = _exactly(line, 2)
    return None if head is None else _exactly(line, int.from_bytes(head, "big"))


def _exactly(line: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        # The driver's short messages wait for the acknowledgement of the one before, which is late by default.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = line.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def _send(line: socket.socket, data: bytes) -> None:
    line.sendall(len(data).to_bytes(2, "big") + data)
