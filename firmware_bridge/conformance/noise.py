"""Checks with noise on the line: a firmware must find back to the next frame, whatever came before."""

import random

from firmware_bridge.conformance.base import FRAME, Failed, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.frames import MAX_ENCODED, FrameDecoder
from firmware_bridge.messages import Ack, Ping, ShowCue, encode_message

_ROUNDS = 40
_STORM_BYTES = 4000
_SEED = 20


def _noise(chance: random.Random, size: int) -> bytes:
    """Return noise that is no frame by accident."""
    while True:
        data = chance.randbytes(size)
        if not FrameDecoder().feed(b"\x00" + data + b"\x00"):
            return data


@check(
    "noise.between",
    "noise between two frames costs neither of them",
    clause=FRAME,
    hint="after a run of bytes that is no frame begin anew behind its 00; drop nothing more",
)
def between(talk: Talk) -> None:
    """Behind the next 00 after any noise the firmware hears again."""
    talk.greet()
    chance = random.Random(_SEED)  # noqa: S311 - the same noise for every firmware, no secret
    for _ in range(_ROUNDS):
        talk.send_raw(_noise(chance, chance.randint(1, 60)) + b"\x00")
        talk.acked(Ping(1))


@check(
    "noise.glued",
    "noise glued to a frame costs that frame alone",
    clause=FRAME,
    hint="the frame is lost in silence; it is answered when the host sends it again",
)
def glued(talk: Talk) -> None:
    """The host's repeat is enough."""
    talk.greet()
    seq = talk.next_seq()
    line = encode_message(ShowCue(CueName.READING, 5000), seq)
    talk.send_raw(b"\x55\xaa" + line)
    talk.send_raw(line)
    talk.expect_ack(seq)
    talk.nothing_came("the frame behind the noise")


@check(
    "noise.storm",
    "4000 bytes of noise leave the firmware alive",
    clause=FRAME,
    hint="no error count may end the link or fill a queue",
)
def storm(talk: Talk) -> None:
    """No amount of noise stops a firmware."""
    talk.greet()
    chance = random.Random(_SEED)  # noqa: S311 - as above
    for _ in range(_STORM_BYTES // 50):
        talk.send_raw(_noise(chance, 50))
        talk.wait(0.005)  # no faster than the line carries it
    talk.send_raw(b"\x00")
    talk.acked(Ping(1))


@check(
    "noise.oversize",
    "a run that is too long is dropped up to its 00",
    clause=rule(6),
    hint="when the buffer is full, skip to the next 00: a buffer that begins anew takes the tail for a frame",
)
def oversize(talk: Talk) -> None:
    """The tail of a run that is too long is never taken for a frame."""
    talk.greet()
    for filler in (*range(MAX_ENCODED - 8, MAX_ENCODED + 6), 254, 255, 256, 257, 2000):
        seq = talk.next_seq()
        talk.send_raw(b"\x55" * filler + encode_message(Ping(1), seq))
        probe = talk.send(Ping(2))
        frame = talk.next_frame()
        if frame is None or frame.type != Ack.TYPE or frame.payload != bytes((probe,)):
            raise Failed(
                f"no answer to {filler} bytes of 55 and a frame behind them, then ACK seq={probe}", talk.got(frame)
            )


CHECKS = (between, glued, storm, oversize)
