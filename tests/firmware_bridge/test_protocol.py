"""The host's end of the screen link, alone: what it sends when, and when it gives up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
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
    from_host,
)
from firmware_bridge.protocol import (
    ACK_WITHIN_S,
    RETRIES,
    TOLD_BURST,
    TOLD_PER_S,
    Ask,
    Down,
    Effect,
    HostEvent,
    HostSession,
    Opened,
    Phase,
    Received,
    Refused,
    Shown,
    Tick,
    Told,
    Up,
    Want,
    Write,
    ack_within_s,
)

HELLO = McuHello((1, 2, 3))


class Host:
    """A host session in virtual time, with the frames that it sent decoded."""

    def __init__(self) -> None:
        self.session = HostSession("sh-1")
        self.now = 1000.0
        self.sent: list[tuple[float, int, HostMessage]] = []
        self.others: list[Effect] = []
        self._decoder = FrameDecoder()

    def put(self, event: HostEvent) -> None:
        for effect in self.session.handle(event, self.now):
            if isinstance(effect, Write):
                self.sent += [(self.now, frame.seq, from_host(frame)) for frame in self._decoder.feed(effect.data)]
            else:
                self.others.append(effect)

    def hear(self, message: McuMessage, seq: int = 0) -> None:
        self.put(Received(encode_message(message, seq)))

    def acknowledge(self) -> None:
        self.hear(Ack(self.sent[-1][1]))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.session.due is not None and self.session.due <= end:
            self.now = max(self.now, self.session.due)
            self.put(Tick())
        self.now = end

    def since(self, count: int) -> list[HostMessage]:
        return [message for _, _, message in self.sent[count:]]


def up() -> Host:
    host = Host()
    host.put(Opened())
    host.acknowledge()
    host.hear(HELLO)
    assert host.session.phase is Phase.UP
    return host


def test_greets_first_and_begins_with_a_delimiter() -> None:
    session = HostSession("sh-1")
    first, hello = session.handle(Opened(), 0)
    assert first == Write(b"\x00")
    assert isinstance(hello, Write)
    host = Host()
    host.put(Opened())
    assert host.since(0) == [HostHello("sh-1", 1)]


def test_is_up_when_the_mcu_says_who_it_is() -> None:
    assert up().others == [Up(HELLO)]


def test_a_line_that_is_slow_to_answer_is_given_its_time() -> None:
    session = HostSession("sh-1", ack_within_s=0.25)
    session.handle(Opened(), 0)
    session.handle(Received(encode_message(HELLO, 0)), 0)
    (asked,) = session.handle(Ask(AskStatus()), 0.1)
    assert session.handle(Tick(), 0.3) == []
    (again,) = session.handle(Tick(), 0.35)
    assert isinstance(asked, Write)
    assert again == Write(asked.data, repeat=True)


def test_a_slow_line_is_not_filled_with_repeats_of_what_it_still_carries() -> None:
    cue_and_ack = 76 + 8
    assert ack_within_s(115200) == ack_within_s(921600) == ACK_WITHIN_S
    for baud in (9600, 19200, 38400, 57600):
        assert ack_within_s(baud) - cue_and_ack * 10 / baud == pytest.approx(ACK_WITHIN_S - cue_and_ack * 10 / 115200)


def test_an_ack_alone_is_no_greeting() -> None:
    host = Host()
    host.put(Opened())
    for _ in range(40):
        host.acknowledge()
        host.wait(0.1)
    assert host.others == [Down("no answer for 3 s")]


def test_greets_anew_until_a_slow_boot_loader_is_done() -> None:
    host = Host()
    host.put(Opened())
    host.wait(2.5)
    host.hear(HELLO)
    assert host.session.phase is Phase.UP


def test_the_cue_of_before_is_shown_when_the_link_comes_up() -> None:
    host = Host()
    host.put(Want(Cue(CueName.RESTING, ttl_ms=12000)))
    host.put(Opened())
    assert not any(isinstance(message, ShowCue) for message in host.since(0))
    host.wait(1)
    host.hear(HELLO)
    last = host.since(0)[-1]
    assert isinstance(last, ShowCue)
    assert (last.name, last.ttl_ms) == (CueName.RESTING, 11000)


def test_a_cue_whose_time_is_over_is_not_replayed() -> None:
    host = Host()
    host.put(Want(Cue(CueName.THANKS, ttl_ms=500)))
    host.put(Opened())
    host.wait(1)
    host.hear(HELLO)
    host.wait(0.9)
    assert not any(isinstance(message, ShowCue) for message in host.since(0))


def test_the_time_to_live_counts_from_the_moment_a_cue_was_asked_for() -> None:
    host = up()
    host.put(Want(Cue(CueName.THANKS, ttl_ms=3500), asked_at=host.now - 3.0))
    cue = host.sent[-1][2]
    assert isinstance(cue, ShowCue)
    assert cue.ttl_ms == 500
    count = len(host.sent)
    host.put(Want(Cue(CueName.THANKS, ttl_ms=3500), asked_at=host.now - 3.5))
    assert host.since(count) == []


def test_repeats_three_times_with_the_same_seq_50_ms_apart() -> None:
    host = up()
    count = len(host.sent)
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    host.wait(0.6)
    times, seqs, messages = zip(*host.sent[count:], strict=True)
    assert len(messages) == 4
    assert len(set(seqs)) == len(set(messages)) == 1
    assert [round(at - times[0], 3) for at in times] == [0, 0.05, 0.1, 0.15]


def test_a_ping_that_comes_due_takes_no_repeat_away() -> None:
    host = up()
    host.wait(0.99)
    count = len(host.sent)
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    host.wait(0.2)
    assert [type(message) for message in host.since(count)] == [ShowCue] * 4


def test_only_the_first_try_is_a_first_try() -> None:
    host = up()
    first = host.session.handle(Want(Cue(CueName.READING, ttl_ms=2500)), host.now)
    again = host.session.handle(Tick(), host.now + 0.05)
    assert [(effect.cue, effect.repeat) for effect in first + again if isinstance(effect, Write)] == [
        (CueName.READING, False),
        (CueName.READING, True),
    ]


def test_an_ack_ends_the_repeats_and_tells_the_time() -> None:
    host = up()
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    host.wait(0.02)
    host.acknowledge()
    count = len(host.sent)
    host.wait(0.9)
    assert host.since(count) == []
    (shown,) = (effect for effect in host.others if isinstance(effect, Shown))
    assert shown.cue is CueName.READING
    assert round(shown.after_s, 3) == 0.02


def test_a_late_ack_confirms_too_and_once() -> None:
    host = up()
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    seq = host.sent[-1][1]
    host.wait(0.5)
    count = len(host.sent)
    host.hear(Ack(seq))
    host.hear(Ack(seq))
    assert host.since(count) == []
    assert sum(isinstance(effect, Shown) for effect in host.others) == 1


def test_a_new_cue_never_waits() -> None:
    host = up()
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    host.put(Want(Cue(CueName.THANKS, ttl_ms=3500)))
    assert [message.name for message in host.since(1) if isinstance(message, ShowCue)] == [
        CueName.READING,
        CueName.THANKS,
    ]
    count = len(host.sent)
    host.wait(0.06)
    assert [message.name for message in host.since(count) if isinstance(message, ShowCue)] == [CueName.THANKS]


def test_a_cue_that_was_never_confirmed_is_sent_again_once_the_mcu_is_heard() -> None:
    host = up()
    host.put(Want(Cue(CueName.INVITE, ttl_ms=12000)))
    lost_seq = host.sent[-1][1]
    host.wait(0.5)
    count = len(host.sent)
    host.hear(Status(None, 1, 20))
    (again,) = host.since(count)
    assert isinstance(again, ShowCue)
    assert host.sent[-1][1] != lost_seq


def test_pings_each_second() -> None:
    host = up()
    count = len(host.sent)
    for _ in range(5):
        host.wait(1)
        host.acknowledge()
    pings = [at for at, _, message in host.sent[count:] if isinstance(message, Ping)]
    assert [round(b - a, 3) for a, b in pairwise(pings)] == [1] * (len(pings) - 1)
    assert len(pings) == 5


def test_three_silent_seconds_are_the_end() -> None:
    host = up()
    host.wait(2.9)
    assert Down("no answer for 3 s") not in host.others
    effects = host.session.handle(Want(Cue(CueName.INVITE, ttl_ms=12000)), host.now + 0.2)
    assert effects == [Down("no answer for 3 s")], "nothing is sent behind the end"
    assert host.session.due is None
    count = len(host.sent)
    host.hear(HELLO)
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    assert host.since(count) == []


def test_an_mcu_that_has_restarted_is_greeted_and_shown_the_cue_again() -> None:
    host = up()
    host.put(Want(Cue(CueName.FAULT, ttl_ms=12000)))
    host.acknowledge()
    host.wait(1)
    count = len(host.sent)
    host.hear(Nak(host.sent[-1][1], NakReason.HELLO_FIRST))
    host.hear(HELLO)
    hello, cue = host.since(count)
    assert isinstance(hello, HostHello)
    assert isinstance(cue, ShowCue)
    assert cue.name is CueName.FAULT
    host.acknowledge()
    assert sum(isinstance(effect, Shown) for effect in host.others) == 2


def test_an_mcu_that_forgets_each_greeting_is_not_greeted_in_a_storm() -> None:
    host = up()
    host.put(Want(Cue(CueName.INVITE, ttl_ms=12000)))
    count = len(host.sent)
    begin = host.now
    for _ in range(500):
        if host.session.phase is Phase.UP:
            host.hear(Nak(host.sent[-1][1], NakReason.HELLO_FIRST))
        elif isinstance(host.sent[-1][2], HostHello):
            host.hear(HELLO)
        else:
            host.wait(0.01)
    assert host.now > begin + 1
    greetings = [at for at, _, message in host.sent[count:] if isinstance(message, HostHello)]
    assert len(greetings) > 4
    assert all(later - earlier >= 0.25 for earlier, later in pairwise(greetings))


def test_a_no_to_a_frame_of_before_says_nothing_of_the_one_that_waits() -> None:
    host = up()
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    before = host.sent[-1][1]
    host.put(Want(Cue(CueName.THANKS, ttl_ms=3500)))
    host.hear(Nak(before, NakReason.UNKNOWN_CUE))
    count = len(host.sent)
    host.wait(0.06)
    assert [message.name for message in host.since(count) if isinstance(message, ShowCue)] == [CueName.THANKS]
    assert not any(isinstance(effect, Refused) for effect in host.others)


def test_an_mcu_is_told_quiet_only_if_it_said_in_its_last_hello_that_it_knows_it() -> None:
    host = Host()
    host.put(Want(Cue(CueName.QUIET, ttl_ms=12000)))
    host.put(Opened())
    for capabilities, told in ((Capability.TEXT, CueName.RESTING), (Capability.QUIET, CueName.QUIET)):
        host.hear(McuHello((1, 2, 3), capabilities))
        assert [message.name for _, _, message in host.sent[-1:] if isinstance(message, ShowCue)] == [told]
        host.wait(1)
        host.hear(Nak(host.sent[-1][1], NakReason.HELLO_FIRST))


def test_busy_is_repeated_a_refusal_is_told_and_not() -> None:
    host = up()
    host.put(Want(Cue(CueName.IDENTIFY, ttl_ms=30000)))
    host.hear(Nak(host.sent[-1][1], NakReason.BUSY))
    count = len(host.sent)
    host.wait(0.06)
    assert len(host.since(count)) == 1
    host.hear(Nak(host.sent[-1][1], NakReason.UNKNOWN_CUE))
    assert host.others[-1] == Refused("identify", NakReason.UNKNOWN_CUE)
    count = len(host.sent)
    host.hear(Status(None, 1, 20))
    host.wait(0.5)
    assert host.since(count) == []
    assert host.session.phase is Phase.UP


def test_a_refused_hello_is_the_end() -> None:
    host = Host()
    host.put(Opened())
    host.hear(Nak(host.sent[-1][1], NakReason.VERSION))
    assert host.others == [Down("the MCU refused HELLO: version")]


def test_occasional_messages_wait_for_the_cue_and_survive_it() -> None:
    host = up()
    count = len(host.sent)
    host.put(Ask(Level(40)))
    host.put(Want(Cue(CueName.READING, ttl_ms=2500)))
    host.put(Ask(Level(50)))
    host.put(Ask(AskStatus()))
    host.put(Ask(Reset()))
    for _ in range(6):
        host.acknowledge()
        host.wait(0.01)
    kinds = host.since(count)
    assert [type(message) for message in kinds] == [Level, ShowCue, Level, AskStatus, Reset]
    assert kinds[2] == Level(50)


def test_tells_reports_and_a_repeated_event_once() -> None:
    host = up()
    status = Status(CueName.INVITE, 5000, 41, 3)
    host.hear(status)
    for seq in (1, 1, 2):
        host.hear(McuEvent(1, b"\x01"), seq)
    assert [effect for effect in host.others if isinstance(effect, Told)] == [
        Told(status),
        Told(McuEvent(1, b"\x01")),
        Told(McuEvent(1, b"\x01")),
    ]
    assert [(seq, message) for _, seq, message in host.sent if isinstance(message, Ack)] == [
        (1, Ack(1)),
        (1, Ack(1)),
        (2, Ack(2)),
    ]


def test_strange_frames_and_noise_are_counted_and_change_nothing() -> None:
    host = up()
    host.put(
        Received(encode_frame(Frame(0x99, 1)) + b"\x77\x01\x00" + encode_frame(Frame(0x82, 1, b"\x01", version=9)))
    )
    assert host.session.unreadable == 2
    assert host.session.decoder.errors == 1
    assert host.session.phase is Phase.UP


def test_a_switch_that_chatters_is_told_at_a_bounded_rate_and_the_rest_is_not_acknowledged() -> None:
    host = up()
    sent = len(host.sent)
    for number in range(200):
        host.hear(McuEvent(1, bytes((number,))), seq=number)
    told = [effect for effect in host.others if isinstance(effect, Told)]
    assert len(told) == TOLD_BURST == len(host.sent) - sent
    assert host.session.left_out == 200 - TOLD_BURST
    host.hear(McuEvent(1, bytes((TOLD_BURST - 1,))), seq=TOLD_BURST - 1)
    assert len(host.sent) - sent == TOLD_BURST + 1, "a repeat of the last one that was told is acknowledged as ever"
    host.now += 1.0
    for number in range(100):
        host.hear(McuEvent(1), seq=100 + number)
    assert sum(isinstance(effect, Told) for effect in host.others) == TOLD_BURST + int(TOLD_PER_S)


def test_a_status_that_nobody_asked_for_is_bounded_too() -> None:
    host = up()
    for _ in range(500):
        host.hear(Status(None, 1, 20))
    assert sum(isinstance(effect, Told) for effect in host.others) == TOLD_BURST


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), max_size=60))
def test_no_second_has_more_than_the_burst_and_its_share(bursts: list[tuple[float, int]]) -> None:
    host = up()
    seq, told_at = 0, []
    for pause, count in bursts:
        host.now += pause
        for _ in range(count):
            seq = (seq + 1) % 256
            before = len(host.others)
            host.hear(McuEvent(1), seq=seq)
            told_at += [host.now] * sum(isinstance(effect, Told) for effect in host.others[before:])
    for index, begin in enumerate(told_at):
        in_time = [at for at in told_at[index:] if at - begin <= 1.0]
        assert len(in_time) <= TOLD_BURST + TOLD_PER_S + 1


def test_a_line_full_of_noise_is_told_from_a_silent_one() -> None:
    silent, noisy, once = Host(), Host(), Host()
    for host in (silent, noisy, once):
        host.put(Opened())
    for _ in range(4):
        noisy.put(Received(b"\x55garbage\x00"))
        noisy.wait(1)
    silent.wait(4)
    # Noise of before the MCU was heard last says nothing about why it is silent now.
    once.put(Received(b"\x55garbage\x00"))
    once.hear(HELLO)
    once.wait(4)
    assert [host.others[-1] for host in (silent, once)] == [Down("no answer for 3 s")] * 2
    reason = "no answer for 3 s, 3 unreadable frames: look at the baud rate, at TX, RX and ground"
    assert noisy.others[-1] == Down(reason)


def test_a_firmware_of_another_version_is_told_from_a_bad_line() -> None:
    host = Host()
    host.put(Opened())
    for _ in range(2):
        host.put(Received(encode_frame(Frame(HELLO.TYPE, 1, bytes(HELLO), version=2))))
    host.wait(4)
    reason = "no answer for 3 s, 2 frames that are no message of version 1: look at the firmware"
    assert host.others[-1] == Down(reason)


def test_all_that_was_thrown_away_is_there_for_a_technician() -> None:
    host = up()
    assert host.session.trouble == ""
    host.put(Received(b"\x55garbage\x00"))
    host.put(Received(encode_frame(Frame(0x84, 1, b"short"))))
    for number in range(TOLD_BURST + 3):
        host.hear(McuEvent(1), seq=number)
    wanted = "1 unreadable frames, 1 frames that are no message of version 1, 3 events too many"
    assert host.session.trouble == wanted


def test_an_mcu_that_refuses_even_pings_is_alive() -> None:
    host = up()
    for _ in range(5):
        host.wait(1)
        host.hear(Nak(host.sent[-1][1], NakReason.UNKNOWN_TYPE))
    assert host.session.heard_at == host.now


def test_tells_when_it_heard_the_mcu_last() -> None:
    host = Host()
    host.put(Opened())
    assert host.session.heard_at is None
    host.hear(HELLO)
    host.now += 1
    host.hear(Ack(200))
    assert host.session.heard_at == host.now


def test_a_cue_that_was_lost_is_sent_again_when_only_pings_are_answered() -> None:
    host = up()
    host.put(Want(Cue(CueName.THANKS, ttl_ms=20_000)))
    host.wait(ACK_WITHIN_S * (RETRIES + 2))
    count = len(host.sent)
    host.wait(0.76)
    assert [type(message) for message in host.since(count)] == [Ping], "and it waits for its ACK"
    host.acknowledge()
    assert isinstance(host.sent[-1][2], ShowCue)
    host.acknowledge()
    assert [effect for effect in host.others if isinstance(effect, Shown)] == [Shown(CueName.THANKS, 0.0)]
    count = len(host.sent)
    host.wait(0.5)
    assert host.since(count) == []


def test_an_ack_of_an_earlier_sending_confirms_the_cue_and_ends_the_repeats() -> None:
    """A line with a round trip of 0.8 s: the ACK always comes for the sending before."""
    host = up()
    host.put(Want(Cue(CueName.THANKS, ttl_ms=20_000)))
    first = host.sent[-1][1]
    host.wait(0.4)
    host.hear(Ack(200))  # of something before
    again = host.sent[-1][1]
    assert again != first
    host.now += 0.01
    host.hear(Ack(first))
    assert any(isinstance(effect, Shown) and effect.after_s > 0.4 for effect in host.others)
    count = len(host.sent)
    host.wait(0.5)
    assert host.since(count) == []
