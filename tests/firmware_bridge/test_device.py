"""The MCU's end of the screen link, alone: what a maker's firmware must do."""

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceSession, Display, Raise, Restart, Send
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    HostHello,
    HostMessage,
    Level,
    McuEvent,
    McuHello,
    McuMessage,
    Nak,
    NakReason,
    Ping,
    Reset,
    ShowCue,
    Status,
    encode_message,
    from_mcu,
)
from firmware_bridge.protocol import Received, Tick


class Mcu:
    """A device session in virtual time, its answers decoded."""

    def __init__(self) -> None:
        self.session = DeviceSession()
        self.now = 10.0
        self.displayed: list[Display] = []
        self.restarts = 0

    def handle(self, event: Received | Tick | Raise) -> list[McuMessage]:
        decoder = FrameDecoder()
        answers = []
        for effect in self.session.handle(event, self.now):
            match effect:
                case Send(data=data):
                    answers += [from_mcu(frame) for frame in decoder.feed(data)]
                case Display():
                    self.displayed.append(effect)
                case Restart():
                    self.restarts += 1
        return answers

    def hear(self, message: HostMessage, seq: int) -> list[McuMessage]:
        return self.handle(Received(encode_message(message, seq)))

    def wait(self, seconds: float) -> list[McuMessage]:
        self.now += seconds
        return self.handle(Tick())


def greeted() -> Mcu:
    mcu = Mcu()
    assert [type(answer) for answer in mcu.hear(HostHello("sh-1"), 1)] == [Ack, McuHello]
    return mcu


def test_shows_the_static_invitation_before_anybody_speaks() -> None:
    assert Mcu().session.showing == Display(CueName.INVITE, static=True)


def test_wants_hello_first() -> None:
    mcu = Mcu()
    assert mcu.hear(Ping(1), 9) == [Nak(9, NakReason.HELLO_FIRST)]
    assert greeted().session.greeted_by == "sh-1"


def test_runs_a_repeated_seq_once_and_answers_it_each_time() -> None:
    mcu = greeted()
    for _ in range(3):
        assert mcu.hear(ShowCue(CueName.THANKS, 3000, 80, "ok"), 2) == [Ack(2)]
    assert mcu.displayed == [Display(CueName.THANKS, "ok", 80)]
    mcu.hear(Reset(), 3)
    mcu.hear(Reset(), 3)
    assert mcu.restarts == 1


def test_naks_what_it_does_not_know_and_goes_on() -> None:
    mcu = greeted()
    for frame, reason in [
        (Frame(0x55, 7), NakReason.UNKNOWN_TYPE),
        (Frame(0x02, 8, b"\x63\x01\x00\x10\x00"), NakReason.UNKNOWN_CUE),
        (Frame(0x03, 9, b""), NakReason.BAD_PAYLOAD),
        (Frame(0x03, 10, b"1234", version=2), NakReason.VERSION),
        (Frame(0x01, 12, b"\x02another"), NakReason.VERSION),
    ]:
        assert mcu.handle(Received(encode_frame(frame))) == [Nak(frame.seq, reason)]
    assert mcu.hear(Ping(1), 11) == [Ack(11)]


def test_falls_back_by_itself_when_nobody_speaks() -> None:
    mcu = greeted()
    for seq, (cue, fall_back) in enumerate(
        [
            (CueName.READING, CueName.INVITE),
            (CueName.RESTING, CueName.RESTING),
            (CueName.FAULT, CueName.RESTING),
        ],
        start=2,
    ):
        mcu.hear(ShowCue(cue, 2500, 70), seq)
        mcu.wait(2.4)
        assert mcu.session.showing.cue is cue
        mcu.wait(0.2)
        assert mcu.session.showing == Display(fall_back, level=70, static=True)
        assert mcu.session.due is None


def test_a_ping_does_not_keep_a_cue_alive() -> None:
    mcu = greeted()
    mcu.hear(ShowCue(CueName.READING, 1000), 2)
    mcu.wait(0.9)
    mcu.hear(Ping(1), 3)
    mcu.wait(0.2)
    assert mcu.session.showing.static


def test_level_keeps_the_cue() -> None:
    mcu = greeted()
    mcu.hear(ShowCue(CueName.THANKS, 3000, 80, "ok"), 2)
    mcu.hear(Level(30), 3)
    assert mcu.session.showing == Display(CueName.THANKS, "ok", 30)


def test_status() -> None:
    mcu = greeted()
    mcu.hear(ShowCue(CueName.THANKS, 3000), 2)
    assert mcu.hear(AskStatus(), 3) == [Ack(3), Status(CueName.THANKS, 10_000, 41)]


def test_uptime_counts_from_the_start_of_the_mcu() -> None:
    session = DeviceSession(started=7.5)
    session.handle(Received(encode_message(HostHello("sh-1"), 1)), 10.0)
    (answers,) = session.handle(Received(encode_message(AskStatus(), 2)), 10.0)
    assert isinstance(answers, Send)
    *_, status = FrameDecoder().feed(answers.data)
    assert from_mcu(status) == Status(CueName.INVITE, 2500, 41)


def test_an_event_is_repeated_until_the_host_has_heard_it() -> None:
    mcu = greeted()
    assert mcu.handle(Raise(McuEvent(1, b"\x01"))) == [McuEvent(1, b"\x01")]
    assert mcu.wait(0.06) == [McuEvent(1, b"\x01")]
    assert mcu.hear(Ack(1), 1) == []
    assert mcu.wait(1) == []
    mcu.handle(Raise(McuEvent(2)))
    assert [len(mcu.wait(0.06)) for _ in range(6)] == [1, 1, 1, 0, 0, 0]


def test_keeps_a_few_events_for_a_host_that_comes_later() -> None:
    mcu = Mcu()
    for code in range(10):
        assert mcu.handle(Raise(McuEvent(code))) == []
    assert mcu.hear(HostHello("sh-1"), 1)[-1] == McuEvent(6)
