"""Phones that a reader must survive: each an application, or a wrapper around one, put together in ``ODD_PHONES``.

They are for training and tests. What each does is in its one line below; none of them holds a state that outlives its
stay on the antenna, except what ``Vanishing`` says.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.simulation.iso_dep import ENDLESS, Application, Ats, IsoDepCard, Response, random_uid
from edge_agent.simulation.phones import SW_NOT_FOUND, SW_OK, TAP_AID, SimulatedPhone, TapApp, tlv
from edge_agent.simulation.picc import Answer, Picc, TypeA

# -- applications -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fixed:
    """Answers every command with the same bytes; empty bytes are an answer without even a status word."""

    data: bytes

    def command(self, apdu: bytes) -> Response | None:  # noqa: ARG002 - whatever it is asked
        """Answer."""
        return Response(self.data)

    def link_lost(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Takes commands and never answers."""

    def command(self, apdu: bytes) -> Response | None:  # noqa: ARG002 - whatever it is asked
        """Stay mute."""
        return None

    def link_lost(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Babbling:
    """Answers with 0 to 300 random bytes."""

    rng: random.Random

    def command(self, apdu: bytes) -> Response | None:  # noqa: ARG002 - whatever it is asked
        """Answer."""
        return Response(self.rng.randbytes(self.rng.randrange(300)))

    def link_lost(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Extending:
    """Asks for ``times`` waiting time extensions before every answer of ``app``; ENDLESS never answers."""

    app: Application
    times: float

    def command(self, apdu: bytes) -> Response | None:
        """Answer as the app does, later."""
        response = self.app.command(apdu)
        return None if response is None else replace(response, extensions=self.times)

    def link_lost(self) -> None:
        """Pass on."""
        self.app.link_lost()


# -- cards ------------------------------------------------------------------------------------------------------------


class Vanishing:
    """A phone that leaves after ``after`` answered commands: mute, and found by no poll, until ``come_back``.

    With ``hears_last`` it still takes the next command, and only the answer is lost.
    """

    def __init__(self, phone: IsoDepCard, *, after: int, hears_last: bool = False) -> None:
        self.phone = phone
        self.gone = False
        self._left = after
        self._hears_last = hears_last
        self._app = phone.application
        phone.application = self

    def command(self, apdu: bytes) -> Response | None:
        """Application side: answer while still there."""
        if self._left > 0:
            self._left -= 1
            return self._app.command(apdu)
        self.gone = True
        if self._hears_last:
            self._app.command(apdu)
        return None

    def link_lost(self) -> None:
        """Application side: pass on."""
        self._app.link_lost()

    def come_back(self) -> None:
        """Be an ordinary phone from now on."""
        self.phone.application = self._app
        self.gone = False

    def activate(self) -> TypeA | None:
        """Answer the poll while still there."""
        return None if self.gone else self.phone.activate()

    def receive(self, frame: bytes) -> Answer | None:
        """Answer a frame while still there."""
        return None if self.gone else self.phone.receive(frame)

    def field_off(self) -> None:
        """Lose power."""
        self.phone.field_off()


class FrameNoise:
    """Answers RATS like its card and every later frame with random bytes, half of them with a wrong CRC."""

    def __init__(self, card: IsoDepCard, rng: random.Random) -> None:
        self._card = card
        self._rng = rng

    def activate(self) -> TypeA | None:
        """Answer the poll."""
        return self._card.activate()

    def receive(self, frame: bytes) -> Answer | None:
        """Answer with noise."""
        if frame[:1] == b"\xe0":
            return self._card.receive(frame)
        return Answer(self._rng.randbytes(self._rng.randint(1, 40)), intact=self._rng.random() < 0.5)

    def field_off(self) -> None:
        """Lose power."""
        self._card.field_off()


class ObservingPhone(SimulatedPhone):
    """A phone in Observe Mode (Android 15): mute until it saw ``frame`` in this field, or ``lasts_s`` ago at most.

    That is a phone whose app asked the NFC controller to let the transaction through by itself (autoTransact).
    """

    def __init__(
        self, frame: bytes, *, rng: random.Random | None = None, clock: Callable[[], float], lasts_s: float = 3.0
    ) -> None:
        super().__init__(rng=rng)
        self.overheard: list[bytes] = []
        self._frame = frame
        self._clock = clock
        self._lasts_s = lasts_s
        self._seen_at: float | None = None

    def overhear(self, frame: bytes) -> None:
        """Take notice of a frame of the polling loop."""
        self.overheard.append(frame)
        if frame == self._frame:
            self._seen_at = self._clock()

    def activate(self) -> TypeA | None:
        """Answer the poll once the frame was seen."""
        if self._seen_at is None or self._clock() - self._seen_at > self._lasts_s:
            return None
        return super().activate()


def phone_with(
    app: Application, rng: random.Random, *, ats: bytes | None = None, timing: Ats | None = None
) -> IsoDepCard:
    """Return a phone that runs ``app`` instead of the tap application."""
    return IsoDepCard(app, random_uid(rng), ats=ats, timing=timing or Ats())


def fci(fields: bytes) -> bytes:
    """Return an FCI with our AID around ``fields`` in the proprietary template."""
    return tlv(0x6F, tlv(0x84, TAP_AID) + tlv(0xA5, fields)) + SW_OK


ODD_PHONES: dict[str, Callable[[random.Random], Picc]] = {
    # Locked: 6985 to SELECT.
    "locked": lambda rng: SimulatedPhone(rng=rng, locked=True),
    # No app that knows us.
    "no_app": lambda rng: phone_with(Fixed(SW_NOT_FOUND), rng),
    # Something else took the AID, or the phone speaks no ISO 7816-4 to us.
    "foreign_6d00": lambda rng: phone_with(Fixed(b"\x6d\x00"), rng),
    "foreign_6e00": lambda rng: phone_with(Fixed(b"\x6e\x00"), rng),
    "foreign_6f00": lambda rng: phone_with(Fixed(b"\x6f\x00"), rng),
    # ATS of one byte, legal by ISO/IEC 14443-4, 5.2.2: all parameters take their defaults.
    "ats_one_byte": lambda rng: phone_with(TapApp(rng), rng, ats=b"\x01", timing=Ats(fsci=2, fwi=4)),
    # ATS without TA(1): TB(1) stands where a careless reader looks for TC(1).
    "ats_without_ta": lambda rng: phone_with(TapApp(rng), rng, timing=Ats(ta=None)),
    # SAK with NFC-DEP beside ISO-DEP.
    "sak_60": lambda rng: SimulatedPhone(rng=rng, sak=0x60),
    "wtx_endless": lambda rng: phone_with(Extending(TapApp(rng), ENDLESS), rng),
    "wtx_three": lambda rng: phone_with(Extending(TapApp(rng), 3), rng),
    "gone_before_select": lambda rng: Vanishing(SimulatedPhone(rng=rng), after=0),
    "gone_before_token": lambda rng: Vanishing(SimulatedPhone(rng=rng), after=1),
    "gone_before_receipt": lambda rng: Vanishing(SimulatedPhone(rng=rng), after=1, hears_last=True),
    # FCI of 600 bytes: it takes chaining, and a short APDU never allowed it.
    "fci_oversize": lambda rng: phone_with(Fixed(fci(tlv(0x80, b"\x01") + tlv(0x81, rng.randbytes(600)))), rng),
    # FCI whose lengths point behind its end.
    "fci_junk": lambda rng: phone_with(Fixed(bytes.fromhex("6f30845f01a58481ff8100") + SW_OK), rng),
    # FCI without a nonce, and with one that is too short.
    "fci_no_nonce": lambda rng: phone_with(Fixed(fci(tlv(0x80, b"\x01"))), rng),
    "fci_short_nonce": lambda rng: phone_with(Fixed(fci(tlv(0x80, b"\x01") + tlv(0x81, b"1234567"))), rng),
    "no_status_word": lambda rng: phone_with(Fixed(b""), rng),
    "babbling": lambda rng: phone_with(Babbling(rng), rng),
    "frame_noise": lambda rng: FrameNoise(phone_with(TapApp(rng), rng), rng),
    "silent": lambda rng: phone_with(Silent(), rng),
    # Two seconds for each answer: more than a whole tap may take.
    "slow": lambda rng: SimulatedPhone(rng=rng, latency_s=2.0),
}
"""One of each, made from a random source; the names are stable."""
