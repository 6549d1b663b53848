"""The three lanes on a real outbox, with a broker that is a list of messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import UplinkError
from edge_agent.models import StoredTap, Tap, TapFacts, TapMode
from edge_agent.outbox.base import GapRecord
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.uplink.base import Acked, DownReason, Message
from edge_agent.uplink.refusals import MAX_REFUSALS
from edge_agent.uplink.sender import (
    CONTROL_WAITING,
    LIVE_WAITING,
    PACKET_OVERHEAD,
    RESEND_WAITING,
    PublisherSettings,
    Sender,
)
from edge_agent.uplink.wire import decode_batch
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.uplink_terminal import TOPICS, fake_codec, seq_of
from tests.fakes.waiting import eventually


class Desk:
    """A sender, its outbox, and the broker's side of it."""

    def __init__(self, outbox: OutboxStore, clock: FakeClock) -> None:
        self.outbox = outbox
        self.clock = clock
        self.messages: list[Message] = []
        self.given_up: list[tuple[DownReason, str]] = []
        self.full = False
        self.sender = Sender(
            outbox,
            publish=self._publish,
            give_up=lambda reason, text: self.given_up.append((reason, text)),
            topics=TOPICS,
            clock=clock,
            settings=PublisherSettings(),
            observer=None,
        )

    def _publish(self, message: Message) -> int:
        if self.full:
            raise UplinkError("full")
        self.messages.append(message)
        return len(self.messages)

    async def taps(self, number: int, *, offer: bool = False) -> list[StoredTap]:
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r")
        taps = [await self.outbox.append(Tap(facts=facts, at=self.clock.read(), ttl=90)) for _ in range(number)]
        for stored in taps if offer else ():
            self.sender.offer(stored)
        return taps

    def puback(self, mid: int, code: int = 0) -> None:
        self.sender.acknowledged(Acked(mid, code))

    def ticks(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.sender.wake()

    async def count(self, state: str) -> int:
        return int(getattr(await self.outbox.stats(), state))

    def seqs(self) -> list[list[int]]:
        return [[seq_of(token) for token in tokens_of(message)] for message in self.messages]

    def all_seqs(self) -> list[int]:
        return sorted(seq for seqs in self.seqs() for seq in seqs)


def tokens_of(message: Message) -> list[bytes]:
    return decode_batch(message.payload) if message.topic == TOPICS.evt_batch else [message.payload]


@pytest.fixture(name="desk")
async def _desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    outbox = OutboxStore(tmp_path / "outbox.db", fake_codec(), clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    await outbox.open()
    desk = Desk(outbox, clock)
    draining = asyncio.create_task(desk.sender.drain())
    yield desk
    draining.cancel()
    with suppress(asyncio.CancelledError):
        await draining
    await outbox.close()


async def settled(desk: Desk) -> None:
    """Let the drain do all that it can do now."""
    for _ in range(20):
        await asyncio.sleep(0.002)


async def test_nothing_goes_out_before_the_connection_is_up(desk: Desk) -> None:
    await desk.taps(3, offer=True)
    desk.sender.say(Message("a", b""))
    await settled(desk)
    assert desk.messages == []
    desk.sender.open(20)
    await eventually(lambda: desk.seqs()[1:] == [[1, 2, 3]])
    assert desk.messages[0].topic == "a"


async def test_a_row_is_confirmed_by_its_own_puback_only(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(3, offer=True)
    desk.puback(2)
    desk.puback(99)
    assert (await desk.count("sent"), await desk.count("leased")) == (1, 2)
    desk.sender.close()
    assert (await desk.count("sent"), await desk.count("pending")) == (1, 2)
    desk.puback(1)
    assert await desk.count("sent") == 1
    desk.sender.open(20)
    await eventually(lambda: len(desk.messages) == 5)
    assert desk.seqs()[3:] == [[1], [3]]


async def test_pausing_sends_nothing_but_counts_pubacks(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(1, offer=True)
    desk.sender.pause()
    await desk.taps(1, offer=True)
    desk.puback(1)
    await settled(desk)
    assert (len(desk.messages), await desk.count("sent"), await desk.count("pending")) == (1, 1, 1)


async def test_live_taps_wait_only_for_room_and_keep_their_order(desk: Desk) -> None:
    desk.sender.open(3)
    await desk.taps(4, offer=True)
    await settled(desk)
    assert desk.seqs() == [[1], [2]]
    desk.puback(1)
    assert desk.seqs() == [[1], [2], [3]]


async def test_more_live_taps_than_may_wait_come_with_the_backlog(desk: Desk) -> None:
    desk.sender.open(1)
    number = LIVE_WAITING + 10
    await desk.taps(number, offer=True)
    for mid in range(1, number):
        await eventually(lambda sent=mid: len(desk.messages) >= sent)
        desk.puback(mid)
        if sum(map(len, desk.seqs())) == number:
            break
    assert desk.all_seqs() == list(range(1, number + 1))


async def test_a_link_that_takes_no_more_gets_the_rows_later(desk: Desk) -> None:
    await desk.taps(2)
    desk.full = True
    desk.sender.open(20)
    await desk.taps(1, offer=True)
    await settled(desk)
    assert desk.messages == []
    desk.full = False
    desk.sender.wake()
    await eventually(lambda: desk.all_seqs() == [1, 2, 3])


async def test_a_poison_row_is_parked_and_the_others_go_on(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(2, offer=True)
    desk.puback(1, 0x99)
    desk.puback(2)
    assert (await desk.count("parked"), await desk.count("sent")) == (1, 1)
    assert desk.sender.counts["parked"] == 1


async def test_an_unclear_refusal_is_repeated_with_growing_delay_then_parked_if_others_pass(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(2, offer=True)
    for times in range(1, MAX_REFUSALS):
        desk.puback(len(desk.messages) if times > 1 else 1, 0x80)
        desk.ticks(2.0 ** (times - 1) - 0.1)
        await settled(desk)
        assert len(desk.messages) == 1 + times
        desk.ticks(0.2)
        await eventually(lambda sent=2 + times: len(desk.messages) == sent)
    desk.puback(2)
    desk.puback(len(desk.messages), 0x80)
    assert (await desk.count("parked"), await desk.count("sent")) == (1, 1)
    assert desk.given_up == []


async def test_a_broker_that_refuses_every_tap_for_hours_costs_none(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(3, offer=True)
    answered = 0
    for _ in range(100):
        while answered < len(desk.messages):
            answered += 1
            desk.puback(answered, 0x83)
        desk.ticks(61)
        await eventually(lambda seen=answered: len(desk.messages) > seen)
    assert (await desk.count("parked"), desk.given_up) == (0, [])
    while answered < len(desk.messages):
        answered += 1
        desk.puback(answered)
    await settled(desk)
    while answered < len(desk.messages):
        answered += 1
        desk.puback(answered)
    assert await desk.count("sent") == 3


async def test_refused_rows_do_not_pile_up_in_memory(desk: Desk) -> None:
    await desk.taps(2 * RESEND_WAITING)
    desk.sender.open(20)
    desk.sender._batch.refused()
    answered = 0
    while not desk.given_up:
        await eventually(lambda seen=answered: len(desk.messages) > seen)
        answered += 1
        desk.puback(answered, 0x83)
    assert answered <= RESEND_WAITING + 20
    assert desk.given_up[0][0] is DownReason.BROKER


async def test_a_broker_without_rights_or_quota_holds_all_taps_and_parks_nothing(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(1, offer=True)
    for times in range(1, 3 * MAX_REFUSALS):
        desk.puback(len(desk.messages), 0x97)
        if times == 1:
            await desk.taps(1, offer=True)
            await settled(desk)
            assert len(desk.messages) == 1, "all taps are held"
        desk.ticks(61)
        await eventually(lambda sent=times: len(desk.messages) > sent)
    assert await desk.count("parked") == 0


async def test_a_batch_that_is_refused_for_good_is_split_to_find_the_poison(desk: Desk) -> None:
    await desk.taps(3)
    desk.sender.open(20)
    await eventually(lambda: desk.seqs() == [[1, 2, 3]])
    desk.puback(1, 0x99)
    assert [reason for reason, _ in desk.given_up] == [DownReason.BROKER]
    assert await desk.count("parked") == 0
    desk.sender.close()
    desk.sender.open(20)
    await eventually(lambda: desk.seqs()[1:] == [[1], [2], [3]])
    desk.puback(2)
    desk.puback(3, 0x99)
    desk.puback(4)
    assert (await desk.count("parked"), await desk.count("sent")) == (1, 2)


async def test_control_messages_survive_the_connection_but_a_stale_state_does_not(desk: Desk) -> None:
    desk.sender.open(20)
    desk.sender.say_first(Message(TOPICS.state, b"online"))
    desk.sender.say(Message("alarm", b"1"))
    desk.sender.say(Message("alarm", b"2"))
    desk.puback(2)
    desk.sender.close()
    desk.sender.open(20)
    await eventually(lambda: len(desk.messages) == 4)
    assert desk.messages[3].payload == b"2"


async def test_a_state_that_waited_when_the_connection_ended_is_not_said_on_the_next(desk: Desk) -> None:
    desk.sender.open(20)
    desk.full = True
    desk.sender.say(Message(TOPICS.state, b"session 1"))
    desk.sender.say(Message("alarm", b"1"))
    desk.sender.close()
    desk.full = False
    desk.sender.open(20)
    desk.sender.say_first(Message(TOPICS.state, b"session 2"))
    await settled(desk)
    assert [message.payload for message in desk.messages] == [b"session 2", b"1"]


async def test_control_messages_do_not_pile_up(desk: Desk) -> None:
    for number in range(CONTROL_WAITING + 3):
        desk.sender.say(Message("alarm", b"%d" % number))
    assert desk.sender.counts["unsaid"] == 3
    desk.sender.open(65535)
    await eventually(lambda: len(desk.messages) == CONTROL_WAITING)
    assert desk.messages[0].payload == b"3"


async def test_a_link_without_any_puback_is_stalled(desk: Desk) -> None:
    desk.sender.open(20)
    assert not desk.sender.stalled()
    await desk.taps(1, offer=True)
    desk.clock.advance(29)
    assert not desk.sender.stalled()
    desk.clock.advance(1)
    assert desk.sender.stalled()


async def test_what_waits_for_its_repetition_is_sent_once_on_the_next_connection(desk: Desk) -> None:
    desk.sender.open(20)
    await desk.taps(1, offer=True)
    desk.puback(1, 0x80)
    desk.sender.close()
    desk.sender.open(20)
    await eventually(lambda: len(desk.messages) == 2)
    desk.ticks(120)
    await settled(desk)
    assert desk.seqs() == [[1], [1]]


async def test_a_connection_that_ends_while_the_outbox_reads_leaves_nothing_leased(desk: Desk) -> None:
    await desk.taps(5)
    desk.sender.open(20)
    await asyncio.sleep(0)
    desk.sender.close()
    await settled(desk)
    assert (len(desk.messages), await desk.count("pending")) == (0, 5)


async def test_a_broker_of_small_packets_gets_no_larger_batch(desk: Desk) -> None:
    await desk.taps(40)
    size = len((await desk.outbox.tail(1))[0].token)
    desk.sender.open(20, maximum_packet=PACKET_OVERHEAD + 10 * size)
    await eventually(lambda: len(desk.messages) == 4)
    assert [len(seqs) for seqs in desk.seqs()] == [10, 10, 10, 10]


async def test_a_slow_line_gets_smaller_batches(desk: Desk) -> None:
    await desk.taps(100)
    desk.sender.open(2)
    await eventually(lambda: [len(seqs) for seqs in desk.seqs()] == [64])
    desk.clock.advance(1.0)
    desk.puback(1)
    await eventually(lambda: [len(seqs) for seqs in desk.seqs()] == [64, 32])


async def test_a_connection_that_broke_under_a_batch_gets_smaller_ones(desk: Desk) -> None:
    await desk.taps(100)
    desk.sender.open(2)
    await eventually(lambda: len(desk.messages) == 1)
    desk.sender.close()
    desk.sender.open(2)
    await eventually(lambda: [len(seqs) for seqs in desk.seqs()] == [64, 32])


async def test_what_was_not_heard_on_a_topic_can_be_taken_over(desk: Desk) -> None:
    desk.sender.open(2)
    for number in range(4):
        desk.sender.say(Message("alarm", b"%d" % number))
    desk.sender.say(Message("other", b""))
    desk.puback(1)
    await eventually(lambda: len(desk.messages) == 3)
    for _ in range(2):
        assert [message.payload for message in desk.sender.unheard("alarm")] == [b"1", b"2", b"3"]
        desk.sender.close()


async def test_a_live_tap_finds_room_beside_any_number_of_gap_records(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [GapRecord(number, b"chain--1", number, number, b"gap") for number in range(1, 40)]
    monkeypatch.setattr(desk.outbox, "gaps_to_send", lambda: records)
    desk.sender.open(10)
    await eventually(lambda: desk.messages)
    await settled(desk)
    before = len(desk.messages)
    await desk.taps(1, offer=True)
    assert [message.topic for message in desk.messages[before:]] == [TOPICS.evt_tap], "no PUBACK came meanwhile"
