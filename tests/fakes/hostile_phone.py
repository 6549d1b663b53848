"""A phone that does anything at all, drawn from a seed: half of the time nearly right, which is what finds faults.

Each block that it sends is one of: what a good phone would say, that with a few bytes changed, cut or doubled, a block
of another kind, waiting-time extensions, noise, a frame with a wrong CRC, silence. It may leave in the middle.
"""

import random

from edge_agent.simulation.iso_dep import ENDLESS, Ats, IsoDepCard, Response, random_uid
from edge_agent.simulation.odd_phones import Babbling, fci
from edge_agent.simulation.phones import SW_OK, TAP_AID, TapApp, tlv
from edge_agent.simulation.picc import Answer, TypeA

ATS = (
    b"\x01", b"\x02\x78", b"\x05\x78\x80\x70\x02", b"\x06\x75\x77\x81\x02\x80", b"\x05\x70\x00\xe0\x00",
    b"\x05\x78\x80\xef\x02", b"\x04\x78\x80\x70", b"\x03\x28\x0e", b"\x05\x7f\xff\xff\xff", b"\x00", b"\xff\x78",
)  # fmt: skip
SAKS = (0x20, 0x20, 0x20, 0x60, 0x28, 0x24, 0x38, 0x00, 0x08, 0x40, 0x04, 0xFF)
STATUS_WORDS = (
    b"\x90\x00",
    b"\x69\x85",
    b"\x69\x82",
    b"\x6a\x82",
    b"\x6f\x00",
    b"\x6d\x00",
    b"\x61\x10",
    b"\x6c\x04",
    b"\x90",
)
BLOCKS = (
    b"\xf2\x01",
    b"\xf2\x3b",
    b"\xf2\x00",
    b"\xf2\xff",
    b"\xf2",
    b"\xa2",
    b"\xa3",
    b"\xb2",
    b"\xc2",
    b"\x02",
    b"\x12\x90",
)


class HostilePhone:
    """One stay in the field; a Picc."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._wild = rng.choice((0.0, 0.1, 0.3, 0.9))
        self._card = IsoDepCard(_Liar(rng), random_uid(rng), timing=Ats())
        self._frames_left = rng.choice((10**9, 10**9, 10**9, rng.randrange(12)))
        self._last = b""

    def activate(self) -> TypeA | None:
        """Answer the poll, sometimes with what no phone says."""
        found = self._card.activate()
        if found is None or self._frames_left <= 0 or self._rng.random() < 0.02:
            return None
        size = self._rng.choice((4, 4, 4, 7, 10))
        return TypeA(
            found.atqa if self._rng.random() < 0.8 else self._rng.randbytes(2), self._sak(), self._rng.randbytes(size)
        )

    def _sak(self) -> int:
        return self._rng.choice(SAKS) if self._rng.random() < 0.3 else 0x20

    def receive(self, frame: bytes) -> Answer | None:
        """Answer a frame, or not."""
        self._frames_left -= 1
        if self._frames_left < 0:
            return None
        good = self._card.receive(frame)
        if frame[:1] == b"\xe0" and self._rng.random() < 0.6:
            return Answer(self._spoilt(self._rng.choice(ATS)))
        if self._rng.random() >= self._wild:
            return good
        return self._bad(good)

    def _bad(self, good: Answer | None) -> Answer | None:
        said = good.frame if good is not None else b"\x02\x90\x00"
        delay_s = self._rng.choice((0.0, 0.0, 0.01, 0.3, 5.0))
        return self._rng.choice(
            (
                None,
                Answer(self._rng.choice(BLOCKS), delay_s),
                Answer(self._rng.randbytes(self._rng.randrange(70)), delay_s),
                Answer(said, delay_s, intact=False),
                Answer(said[:1], delay_s, bits=4),
                Answer(bytes([said[0] | 0x10]) + said[1:], delay_s),  # chaining without an end
                Answer(bytes([said[0] ^ 1]) + said[1:], delay_s),  # the other block number
                Answer(self._spoilt(said), delay_s),
            )
        )

    def _spoilt(self, frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(self._rng.randrange(3)):
            match self._rng.randrange(4):
                case 0 if changed:
                    changed[self._rng.randrange(len(changed))] = self._rng.randrange(256)
                case 1:
                    del changed[self._rng.randrange(len(changed) + 1) :]
                case 2:
                    changed += changed[: self._rng.randrange(40)]
                case _:
                    changed += self._rng.randbytes(self._rng.randrange(30))
        return bytes(changed[:256])

    def field_off(self) -> None:
        """Lose power."""
        self._card.field_off()


class _Liar:
    """An application that knows the contract and bends it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._app = TapApp(rng)

    def command(self, apdu: bytes) -> Response | None:
        """Answer a command APDU."""
        lie = self._rng.choice((self._noise, self._mute, self._status, self._slow, self._fields, self._cut, None, None))
        return self._app.command(apdu) if lie is None else lie()

    def _noise(self) -> Response | None:
        return Babbling(self._rng).command(b"")

    def _mute(self) -> Response | None:
        return None

    def _status(self) -> Response | None:
        return Response(self._rng.randbytes(self._rng.randrange(20)) + self._rng.choice(STATUS_WORDS))

    def _slow(self) -> Response | None:
        return Response(b"\x90\x00", self._rng.choice((0.0, 0.5, 9.0)), extensions=self._rng.choice((0, 1, 5, ENDLESS)))

    def _fields(self) -> Response | None:
        tags = (0x80, 0x81, 0x82, 0x85, 0x9F)
        many = range(self._rng.randrange(6))
        sizes = [self._rng.randrange(18) for _ in many]
        return Response(fci(b"".join(tlv(self._rng.choice(tags), self._rng.randbytes(size)) for size in sizes)))

    def _cut(self) -> Response | None:
        nested = tlv(0x6F, tlv(0x84, TAP_AID) + tlv(0xA5, b"\x80\x01\x01\x81\x81" + self._rng.randbytes(200)))
        return Response(nested[: self._rng.randrange(len(nested))] + SW_OK)

    def link_lost(self) -> None:
        """End of the link."""
        self._app.link_lost()
