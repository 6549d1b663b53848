"""Checks of PING and STATUS."""

from firmware_bridge.conformance.base import MESSAGES, Failed, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import Ack, AskStatus, Ping, Status

_COLDEST_C, _HOTTEST_C = -55, 125


@check(
    "status.answer",
    "ASK_STATUS is answered with ACK, then STATUS",
    clause=rule(2),
    hint="send the ACK first, the STATUS right behind it",
)
def answer(talk: Talk) -> None:
    """The host knows that no further ACK is to come when it has the STATUS."""
    talk.greet()
    seq = talk.send(AskStatus())
    for kind in (Ack, Status):
        frame = talk.next_frame()
        if frame is None or frame.type != kind.TYPE:
            raise Failed(f"ACK seq={seq}, then STATUS", talk.got(frame))


@check(
    "status.fields",
    "the fields of STATUS make sense",
    clause=MESSAGES,
    hint="temperature is a signed byte in degrees Celsius; without a sensor send 0",
)
def fields(talk: Talk) -> None:
    """A technician can believe the temperature."""
    talk.greet()
    talk.show(CueName.INVITE)
    status = talk.status()
    if not _COLDEST_C <= status.temperature_c <= _HOTTEST_C:
        raise Failed(f"{_COLDEST_C} to {_HOTTEST_C} °C", f"{status.temperature_c} °C")
    talk.note = f"{status.temperature_c} °C, fault bits {status.faults:04x}"


@check(
    "status.uptime",
    "uptime counts milliseconds",
    clause=MESSAGES,
    hint="milliseconds since the firmware started, u32, big-endian",
)
def uptime(talk: Talk) -> None:
    """A host can tell when a firmware has restarted."""
    talk.greet()
    asked = talk.wire.now()
    first = talk.status()
    talk.wait(0.5 * talk.stretch)
    between = talk.wire.now()
    second = talk.status()
    passed = (second.uptime_ms - first.uptime_ms) % 2**32
    least, most = (between - asked) * 500, (talk.wire.now() - asked) * 1500
    if not least <= passed <= most:
        raise Failed(f"about {(between - asked) * 1000:.0f} ms more after {between - asked:.1f} s", f"{passed} ms more")


@check(
    "status.ping",
    "PING is acknowledged at any uptime of the host",
    clause=rule(2),
    hint="the uptime of the host is for traces: it starts anew with the host, and passes 2^32",
)
def ping(talk: Talk) -> None:
    """A host that restarts keeps its link."""
    talk.greet()
    for uptime_ms in (0xFFFFFFFF, 0, 86_400_000, 1):
        talk.acked(Ping(uptime_ms))


CHECKS = (answer, fields, uptime, ping)
