"""Checks of HELLO: how a session begins, and begins anew."""

from firmware_bridge.conformance.base import MESSAGES, Failed, check, rule
from firmware_bridge.conformance.talk import TERMINAL_ID, Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import MAX_TERMINAL_ID, Ack, Capability, HostHello, McuHello, Ping
from firmware_bridge.trace import ability_names


@check(
    "hello.answer",
    "HELLO is answered with ACK, then HELLO",
    clause=rule(2),
    hint="nothing at all: --baud, TX and RX swapped, no ground. Else send the ACK first, the HELLO right behind it",
)
def answer(talk: Talk) -> None:
    """The host learns that it was heard, and then by whom."""
    talk.greet()
    seq = talk.send(HostHello(TERMINAL_ID))
    for kind in (Ack, McuHello):
        frame = talk.next_frame()
        if frame is None or frame.type != kind.TYPE:
            raise Failed(f"ACK seq={seq}, then HELLO", talk.got(frame))


@check(
    "hello.in_time",
    "both answers to HELLO come in time",
    clause="What the host does",
    hint="answer in the interrupt or main loop, not after the picture is drawn",
)
def in_time(talk: Talk) -> None:
    """Within 50 ms, like every answer: later the host sends again."""
    talk.greet()
    took = []
    for _ in range(5):
        begun = talk.wire.now()
        talk.send(HostHello(TERMINAL_ID))
        for _ in range(2):
            if talk.next_frame() is None:
                raise Failed("ACK and HELLO", talk.got(None))
        took.append(talk.wire.now() - begun)
    talk.note = f"slowest of {len(took)}: {max(took) * 1000:.1f} ms"
    # One may be late because this computer was busy; a firmware that is late is late each time.
    if sorted(took)[1] > talk.ack_within_s:
        raise Failed(f"both within {talk.ack_within_s * 1000:.0f} ms", f"{sorted(took)[1] * 1000:.1f} ms at least")


@check(
    "hello.fields",
    "its HELLO names known bits only",
    clause=MESSAGES,
    hint="payload: version, major, minor, patch, capability bits, serial number; bits 6 and 7 are not given out",
)
def fields(talk: Talk) -> None:
    """A host can trust what the firmware says of itself."""
    hello = talk.greet()
    unknown = int(hello.capabilities) & ~sum(Capability)
    if unknown:
        raise Failed("capability bits 0 to 5 only", f"{hello.capabilities:#04x}, of which {unknown:#04x} is unknown")
    talk.note = "can " + (", ".join(ability_names(hello.capabilities)) or "nothing beyond the required")


@check(
    "hello.any_id",
    "a terminal id of 0 and of 24 bytes is taken",
    clause=MESSAGES,
    hint="the id goes to the end of the payload and may be empty; 24 bytes may be eight Chinese characters",
)
def any_id(talk: Talk) -> None:
    """The firmware needs no certain form of the id."""
    talk.greet()
    for name in ("", "i" * MAX_TERMINAL_ID, "梯" * (MAX_TERMINAL_ID // 3)):
        talk.greeted(HostHello(name))


@check(
    "hello.always_run",
    "HELLO is run even with the seq just used",
    clause=rule(3),
    hint="a host that has restarted may begin with any seq: do not take its HELLO for a repeat",
)
def always_run(talk: Talk) -> None:
    """A host that restarts is never answered with what the one before asked."""
    talk.greet()
    seq = talk.acked(Ping(1))
    talk.greeted(HostHello(TERMINAL_ID), seq)


@check(
    "hello.counts_anew",
    "HELLO starts the count of seq anew",
    clause=rule(3),
    hint="HELLO takes the place of the last seq: the seq before it is no repeat any more",
)
def counts_anew(talk: Talk) -> None:
    """The first cue of a new session is shown even if it bears the seq of the last one of the session before."""
    talk.greet()
    talk.show(CueName.RETRY)
    last = talk.seq
    talk.greeted(HostHello(TERMINAL_ID), (last - 1) % 256)
    talk.seq = (last - 1) % 256
    talk.show(CueName.UNLOCK)
    talk.shows(CueName.UNLOCK, "after a HELLO and a CUE with the seq that the CUE before the HELLO had")


CHECKS = (answer, in_time, fields, any_id, always_run, counts_anew)
