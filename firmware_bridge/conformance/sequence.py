"""Checks of seq: repeats are answered and not run, any seq may follow any other."""

from firmware_bridge.conformance.base import Failed, HeldUp, check, rule
from firmware_bridge.conformance.talk import TERMINAL_ID, Talk, with_bytes
from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame
from firmware_bridge.messages import AskStatus, HostHello, Message, Ping, ShowCue

_UNKNOWN_TYPE = 0x7F


@check(
    "sequence.head",
    "an answer's head bears the seq that it answers",
    clause=rule(2),
    hint="ACK, NAK, HELLO and STATUS: the third byte of the body is the seq of the host's frame",
)
def head(talk: Talk) -> None:
    """A trace of the line can be read frame by frame."""
    talk.greet()
    asked: tuple[tuple[Message | None, int], ...] = (
        (Ping(1), 1),
        (HostHello(TERMINAL_ID), 2),
        (AskStatus(), 2),
        (None, 1),
    )
    for message, answers in asked:
        seq = talk.next_seq()
        frame = Frame(_UNKNOWN_TYPE, seq) if message is None else Frame(message.TYPE, seq, bytes(message))
        talk.send_frame(frame)
        for _ in range(answers):
            got = talk.next_frame()
            if got is None or got.seq != seq:
                raise Failed(f"an answer with seq {seq} in its head", talk.got(got))


@check(
    "sequence.repeat",
    "a repeated frame is answered as before",
    clause=rule(3),
    hint="keep the answer to the last seq, a STATUS too, and send that again: its ACK was lost, not its effect",
)
def repeat(talk: Talk) -> None:
    """A lost ACK changes nothing."""
    talk.greet()
    seq = talk.next_seq()
    answers: list[list[Frame]] = []
    for _ in range(3):
        talk.send(AskStatus(), seq)
        got = [talk.next_frame(), talk.next_frame()]
        answers.append([frame for frame in got if frame])
        if len(answers[-1]) < 2:
            raise Failed("ACK and STATUS each time", f"{len(answers[-1])} frames after repeat {len(answers) - 1}")
        if answers[-1] != answers[0]:
            raise Failed(f"as before: {with_bytes(answers[0][1])}", with_bytes(answers[-1][1]))
        talk.wait(0.1)


@check(
    "sequence.once",
    "a repeated frame is not run again",
    clause=rule(3),
    hint="look at the seq before the message is carried out: a repeated CUE does not begin its time anew",
)
def once(talk: Talk) -> None:
    """A repeat shows no animation twice and lengthens no cue."""
    talk.greet()
    ttl_s = 0.6 * talk.stretch
    begun = talk.wire.now()
    cue = ShowCue(CueName.READING, round(ttl_s * 1000))
    seq = talk.acked(cue)
    talk.wait(0.5 * ttl_s)
    talk.acked(cue, seq)
    talk.before(begun + ttl_s)
    talk.wait(0.5 * ttl_s + 0.2 * ttl_s)
    status = talk.status()
    if talk.wire.now() > begun + 1.4 * ttl_s:
        raise HeldUp
    if status.cue is CueName.READING:
        raise Failed(f"the end of a cue {cue.ttl_ms} ms after it was sent first", "STATUS with reading: begun anew")


@check(
    "sequence.wrap",
    "255 is followed by 0",
    clause=rule(3),
    hint="a seq is new if it differs from the last one: do not compare greater or less, 0 is a seq like any other",
)
def wrap(talk: Talk) -> None:
    """A link does not stop after 256 frames."""
    talk.greet()
    talk.greeted(HostHello(TERMINAL_ID), 253)
    for seq, cue in ((254, CueName.RETRY), (255, CueName.UNLOCK), (0, CueName.RETRY), (1, CueName.UNLOCK)):
        talk.seq = (seq - 1) % 256
        talk.show(cue)
    talk.shows(CueName.UNLOCK, "after a CUE with seq 1")


@check(
    "sequence.jump",
    "any seq may follow any other",
    clause=rule(3),
    hint="frames get lost: only the seq of the last one means a repeat, a gap or a step back means nothing",
)
def jump(talk: Talk) -> None:
    """Frames that the line has lost do not end the link."""
    talk.greet()
    for seq in (200, 10, 199, 12):
        talk.acked(Ping(1), seq)


CHECKS = (head, repeat, once, wrap, jump)
