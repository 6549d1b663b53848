import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.cloud.base import Redemption
from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.cloud.holes import HolePolicy
from edge_agent.cloud.ingest import Arrival
from edge_agent.cloud.keeping import Keeper
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.receiver import ReceiverSettings
from edge_agent.cloud.redeeming import redeem_ticket
from edge_agent.cloud.rewards import CampaignRewards, Reward
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.cloud.witness import Answer, OfflineQuota, Outcome, WitnessPolicy
from edge_agent.config.sections import Receiver as ReceiverSection
from edge_agent.models import FIRST_PREV, TapMode
from edge_agent.tags.ticket import Ticket, seal
from edge_agent.uplink.wire import Result, State, StateWord, Topics, encode_batch
from tests.fakes.cloud_site import CloudSite, MoodyLedger, SiteClock, kill, running
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.tapping_terminal import NOW, TappingTerminal
from tests.fakes.waiting import eventually

Broker = tuple[str, int, ReceiverSettings]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def mosquitto(tmp_path: Path, require_system: Callable[[str], str]) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        yield broker


async def open_site(folder: Path, host: str, port: int, settings: ReceiverSettings) -> AsyncIterator[CloudSite]:
    site = CloudSite(host, port, folder, settings)
    await site.ledger.open()
    yield site
    await site.ledger.close()


@pytest.fixture(params=["embedded", "mosquitto"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[CloudSite]:
    broker = request.getfixturevalue(request.param)
    # A broker that is shared by many tests needs a group for each: a share outlives its test for a moment.
    group, expiry = f"g{random.getrandbits(32)}", 0 if request.param == "embedded" else 30
    settings = ReceiverSettings(group=group, session_expiry_s=expiry)
    async for opened in open_site(tmp_path, broker.host, broker.port, settings):
        yield opened


@pytest.fixture
async def real_site(tmp_path: Path, mosquitto: Mosquitto) -> AsyncIterator[CloudSite]:
    """On a broker that keeps the sessions of shared subscriptions."""
    async for opened in open_site(tmp_path, mosquitto.host, mosquitto.port, ReceiverSettings()):
        yield opened


def a_terminal(site: CloudSite) -> TappingTerminal:
    return site.register(TappingTerminal(f"sh-{random.getrandbits(40)}"))


def birth(terminal: TappingTerminal, word: StateWord = StateWord.ONLINE) -> bytes:
    return State(
        state=word,
        session="00" * 8,
        version="0.1.0",
        kid=terminal.key.kid,
        chain=terminal.chain,
        next_seq=terminal.seq + 1,
        config="",
        screens={},
        readers={},
        at=NOW,
    ).encode()


async def test_live_taps_and_backlog_are_verified_stored_and_acked(site: CloudSite) -> None:
    terminal = a_terminal(site)
    async with site.receiving(), site.wire(terminal) as wire:
        backlog = terminal.taps(100)
        await wire.tap(terminal.tap())
        await wire.batch(encode_batch(backlog[:64]))
        await wire.batch(encode_batch(backlog[64:]))
        await wire.acked(101)
        await site.heard(101)
    assert site.verdicts == ["fresh"] * 101
    assert all(event.redeemable for event in site.events)
    (audit,) = await site.ledger.audit()
    assert (audit.count, audit.holes, audit.breaks) == (101, (), ())


async def test_bad_tokens_get_their_verdicts_and_never_stop_the_next_tap(site: CloudSite) -> None:
    terminal, other = a_terminal(site), a_terminal(site)
    twin = terminal.twin()
    async with site.receiving(), site.wire(terminal) as wire:
        good = terminal.tap()
        forged = bytearray(good)
        forged[-1] ^= 1
        bad = [
            (b"", "malformed"),
            (b"\xff" * 300, "malformed"),
            (bytes(forged), "bad_signature"),
            (other.tap(), "wrong_stream"),
            (TappingTerminal().tap(), "unknown_key"),
        ]
        for payload, _ in bad:
            await wire.tap(payload)
        await wire.batch(b"\xd2\x84 cut short")
        await wire.tap(good)
        await wire.tap(good)
        await wire.tap(twin.tap())
        await wire.tap(terminal.tap())
        await wire.acked(2)
        await site.heard(len(bad) + 5)
    expected = [*(verdict for _, verdict in bad), "malformed", "fresh", "duplicate", "conflict", "fresh"]
    assert site.verdicts == expected
    assert [event.redeemable for event in site.events] == [verdict == "fresh" for verdict in expected]
    stats = await site.ledger.stats()
    assert (stats.rows, stats.duplicates) == (2, 1)
    assert stats.verdicts["conflict"] == 1


async def test_a_replayed_token_is_redeemable_once(site: CloudSite) -> None:
    terminal = a_terminal(site)
    token, nonce = terminal.tap(nonce=b"nonce--1"), b"nonce--1"
    async with site.receiving(), site.wire(terminal) as wire:
        for _ in range(3):
            await wire.tap(token)
        await site.heard(3)
    assert await site.ledger.redeem(now=NOW, nonce=nonce) is Redemption.REDEEMED
    assert await site.ledger.redeem(now=NOW, nonce=nonce) is Redemption.ALREADY


async def test_a_ticket_that_waits_is_granted_by_the_read_that_the_terminal_reports(site: CloudSite) -> None:
    terminal = a_terminal(site)
    ticket = seal(Ticket(terminal.key.kid, NOW, 120, b"ticket-1"), terminal.key.sign)
    record = KeyRecord(terminal.key.public, terminal.fleet, terminal.terminal)
    keys = {terminal.key.kid: record}.get
    strict = WitnessPolicy(OfflineQuota(0))

    async def asked(who: str) -> Answer:
        return (await redeem_ticket(ticket, who, now=NOW, keys=keys, ledger=site.ledger, policy=strict)).answer

    assert (await asked("anna")).outcome is Outcome.PENDING
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(terminal.tap(mode=TapMode.TAG_READ, nonce=b"ticket-1", sub=None))
        await wire.acked(1)
    assert [one.who for one in await site.ledger.settle_tickets(now=NOW, policy=strict)] == ["anna"]
    assert (await asked("anna")).outcome is Outcome.GRANTED
    assert (await asked("bert")).outcome is Outcome.REFUSED
    assert await site.ledger.redeem(now=NOW, nonce=b"ticket-1") is Redemption.BY_TICKET


async def test_what_is_stored_stays_a_duplicate_whatever_became_of_its_key_or_our_clock(site: CloudSite) -> None:
    terminal = a_terminal(site)
    token, twin = terminal.tap(), terminal.twin()
    twin.seq -= 1
    clone = twin.tap(iat=NOW + 60, exp=NOW + 150)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(token)
        await site.heard(1)
        await wire.tap(clone)
        await site.heard(2)
        site.register(terminal, revoked_at=NOW - 5)
        await wire.tap(token)
        await wire.tap(terminal.tap())
        await site.heard(4)
        site.register(terminal, valid_from=NOW + 60)
        await wire.tap(token)
        await wire.tap(terminal.tap())
        await site.heard(6)
    assert site.verdicts == ["fresh", "conflict", "duplicate", "revoked_key", "duplicate", "unknown_key"]
    stats = await site.ledger.stats()
    assert (stats.rows, stats.duplicates, stats.withheld) == (1, 2, 1)
    assert {word: stats.verdicts.get(word, 0) for word in ("conflict", "clock_suspect", "revoked_key")} == {
        "conflict": 1,
        "clock_suspect": 0,
        "revoked_key": 1,
    }


async def test_arrival_in_reverse_leaves_holes_and_closes_them(site: CloudSite) -> None:
    terminal = a_terminal(site)
    tokens = terminal.taps(4)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(tokens[3])
        await wire.acked(4, ((1, 3),))
        await wire.tap(tokens[1])
        await wire.acked(4, ((1, 1), (3, 3)))
        await wire.tap(tokens[2])
        await wire.tap(tokens[0])
        await wire.acked(4)


async def test_an_ack_tells_the_receivers_time(site: CloudSite) -> None:
    terminal = a_terminal(site)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        await wire.acked(1)
        assert {ack.at for ack in wire.acks} == {NOW}


async def test_a_storm_of_duplicates_is_counted_and_answered_with_few_acks(site: CloudSite) -> None:
    terminal = a_terminal(site)
    batch = encode_batch(terminal.taps(16))
    async with site.receiving(), site.wire(terminal) as wire:
        started = time.monotonic()
        for _ in range(40):
            await wire.batch(batch)
        await site.heard(40 * 16)
        elapsed = time.monotonic() - started
        await wire.acked(16)
        assert len(wire.acks) <= elapsed / site.settings.ack_interval_s + 2
    stats = await site.ledger.stats()
    assert (stats.rows, stats.duplicates) == (16, 39 * 16)


async def test_a_lone_tap_is_acked_without_waiting_for_others(site: CloudSite) -> None:
    terminal = a_terminal(site)
    async with site.receiving(ack_interval_s=3600.0), site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        await wire.acked(1)


async def test_the_last_acks_are_sent_before_the_end(site: CloudSite) -> None:
    terminal = a_terminal(site)
    async with site.wire(terminal) as wire:
        async with site.receiving(ack_interval_s=3600.0):
            for expected in (1, 2):
                await wire.tap(terminal.tap())
                await site.heard(expected)
        await wire.acked(2)


async def test_a_birth_is_answered_with_what_is_stored(site: CloudSite) -> None:
    terminal = a_terminal(site)
    async with site.wire(terminal) as wire:
        async with site.receiving():
            await wire.tap(terminal.tap())
            await wire.acked(1)
        wire.acks.clear()
        await wire.publish(wire.topics.state, birth(terminal), retain=True)
        async with site.receiving():  # the birth happened while nobody listened
            await wire.acked(1)
            terminal.chain, terminal.seq, terminal.prev = b"newchain", 0, FIRST_PREV
            await wire.publish(wire.topics.state, birth(terminal), retain=True)
            await wire.acked(0)
            assert wire.acks[-1].chain == b"newchain"
        await wire.publish(wire.topics.state, b"", retain=True)


async def test_births_can_be_left_to_somebody_else(real_site: CloudSite) -> None:
    terminal = a_terminal(real_site)
    async with real_site.receiving(answer_births=False), real_site.wire(terminal) as wire:
        await wire.publish(wire.topics.state, birth(terminal))
        await wire.tap(terminal.tap())
        await wire.acked(1)
        assert len(wire.acks) == 1


async def test_results_go_to_redeemable_taps_only(site: CloudSite) -> None:
    terminal = a_terminal(site)
    site.rewards = CampaignRewards({"c-1": Reward("Five points", 5)})
    async with site.receiving(), site.wire(terminal) as wire:
        first = terminal.tap()
        cti = terminal.chain + terminal.seq.to_bytes(8, "big")
        await wire.tap(first)
        await wire.tap(first)
        await wire.tap(terminal.tap(test=True))
        await wire.tap(terminal.tap(iat=NOW - 500, exp=NOW - 410))
        await wire.acked(3)
        await eventually(lambda: wire.results)
    assert site.verdicts == ["fresh", "duplicate", "fresh", "late"]
    assert wire.results == [Result(cti, "accepted", "Five points", 5)]


async def test_nothing_is_acknowledged_while_the_ledger_fails(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    site.ledger.fail_stores = 10**6
    async with site.wire(terminal) as wire:
        receiver = site.receiver()
        task = asyncio.create_task(receiver.run())
        await eventually(lambda: receiver.is_up)
        await wire.tap(terminal.tap())
        await eventually(lambda: site.ledger.stores >= 2)
        await kill(task)
        assert site.events == []
        site.ledger.fail_stores = 0
        async with site.receiving():  # the broker still has it: it was never acknowledged
            await wire.acked(1)
    assert site.verdicts == ["fresh"]


async def test_a_ledger_that_fails_once_loses_nothing(site: CloudSite) -> None:
    terminal = a_terminal(site)
    site.ledger.fail_stores = 1
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        await wire.tap(terminal.tap())
        await wire.acked(2)
        await site.heard(2)
    assert site.verdicts == ["fresh", "fresh"]


async def test_a_receiver_can_be_stopped_while_the_ledger_fails(site: CloudSite) -> None:
    terminal = a_terminal(site)
    site.ledger.fail_stores = 10**6
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        await eventually(lambda: site.ledger.stores >= 1)
    assert site.events == []


async def test_a_crash_between_commit_and_puback_ends_in_a_duplicate_and_an_ack(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    site.ledger.hang_after_commit = True
    async with site.wire(terminal) as wire:
        receiver = site.receiver()
        task = asyncio.create_task(receiver.run())
        await eventually(lambda: receiver.is_up)
        await wire.tap(terminal.tap())
        await site.ledger.committed.wait()
        await kill(task)
        assert wire.acks == []
        site.ledger.hang_after_commit = False
        async with site.receiving():
            await wire.acked(1)
    assert site.verdicts == ["duplicate"]
    assert (await site.ledger.stats()).rows == 1


async def test_two_receivers_of_a_group_each_ack_only_what_they_stored(site: CloudSite, tmp_path: Path) -> None:
    """Each ack is true by itself, and the terminal's outbox adds them up: what one misses the other has."""
    terminal = a_terminal(site)
    other = MoodyLedger(SqliteLedger(tmp_path / "other.db"))
    await other.open()
    tokens = terminal.taps(20)
    async with site.receiving("receiver-1"), running(site.receiver("receiver-2", other)), site.wire(terminal) as wire:
        for token in tokens:
            await wire.tap(token)
        await site.heard(20)

        def confirmed() -> set[int]:
            gone: set[int] = set()
            for ack in wire.acks:
                missing = {seq for first, last in ack.missing for seq in range(first, last + 1)}
                gone |= set(range(1, ack.through + 1)) - missing
            return gone

        await eventually(lambda: confirmed() == set(range(1, 21)))
        counts = [(await ledger.stats()).rows for ledger in (site.ledger, other)]
    assert sum(counts) == 20
    assert min(counts) > 0
    await other.close()


async def test_more_than_the_queue_holds_comes_again(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    site.ledger.gate.clear()
    async with site.receiving(queue_messages=4) as receiver, site.wire(terminal) as wire:
        for token in terminal.taps(12):
            await wire.tap(token)
        await eventually(lambda: receiver.counts["overflow"])
        site.ledger.gate.set()
        await wire.acked(12)
    assert (await site.ledger.stats()).rows == 12


async def test_a_receiver_comes_back_after_the_broker_did(real_site: CloudSite, mosquitto: Mosquitto) -> None:
    site, terminal = real_site, a_terminal(real_site)
    async with site.receiving() as receiver:
        async with site.wire(terminal) as wire:
            await wire.tap(terminal.tap())
            await wire.acked(1)
        mosquitto.kill()
        await eventually(lambda: not receiver.is_up)
        mosquitto.start()
        await eventually(lambda: receiver.is_up)
        async with site.wire(terminal) as wire:
            await wire.tap(terminal.tap())
            await wire.acked(2)


async def test_an_error_of_the_owner_ends_the_run_with_that_error(site: CloudSite) -> None:
    terminal = a_terminal(site)
    receiver = site.receiver()
    receiver._on_event = lambda _event: 1 // 0
    async with site.wire(terminal) as wire:
        task = asyncio.create_task(receiver.run())
        await eventually(lambda: receiver.is_up)
        await wire.tap(terminal.tap())
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(15):
                await task


def test_the_default_group_is_the_one_of_the_configuration() -> None:
    assert ReceiverSettings().group == ReceiverSection().group


async def test_every_filter_has_a_share_name_of_its_own() -> None:
    assert ReceiverSettings(group="g", fleet="sh").subscriptions == (
        "$share/g-tap/tap/v1/sh/+/evt/tap",
        "$share/g-batch/tap/v1/sh/+/evt/batch",
        "$share/g-chk/tap/v1/sh/+/evt/chk",
        "$share/g-gap/tap/v1/sh/+/evt/gap",
        "tap/v1/sh/+/state",
    )


async def test_a_chain_break_is_told_and_the_tap_is_kept(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    async with site.receiving() as receiver, site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        terminal.prev = b"not the hash of 1"[:16]
        await wire.tap(terminal.tap())
        await wire.acked(2)
        await site.heard(2)
        assert receiver.counts == {"fresh": 2, "chain_break": 1}
    assert [event.chain_break for event in site.events] == [False, True]


async def test_messages_of_other_topics_are_counted_and_do_no_harm(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    stray = Topics("sh", "sh-stray").state
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.publish(stray, b"\xff not a state")
        await wire.tap(terminal.tap())
        await wire.acked(1)
        await site.heard(2)
    assert site.verdicts == ["malformed", "fresh"]


async def test_a_gap_record_lets_the_ack_pass_and_a_checkpoint_is_answered_too(site: CloudSite) -> None:
    terminal = a_terminal(site)
    tokens = terminal.taps(8)
    async with site.receiving() as receiver, site.wire(terminal) as wire:
        for token in (*tokens[:3], *tokens[6:]):
            await wire.tap(token)
        await wire.acked(8, ((4, 6),))
        await wire.gap(terminal.gap(4, 6))
        await wire.acked(8)
        wire.acks.clear()
        await wire.checkpoint(terminal.checkpoint())
        await wire.acked(8)
        await eventually(lambda: len(site.told) == 2)
        assert {word: receiver.counts[word] for word in ("gap_record", "checkpoint")} == {
            "gap_record": 1,
            "checkpoint": 1,
        }
    assert [event.word.value for event in site.told] == ["gap_record", "checkpoint"]
    (audit,) = await site.ledger.audit()
    assert (audit.count, audit.holes, audit.gaps, audit.breaks) == (5, (), ((4, 6),), ())


async def test_a_forged_gap_record_hides_nothing_of_anybody(site: CloudSite) -> None:
    terminal, other = a_terminal(site), a_terminal(site)
    tokens = terminal.taps(3)
    other.taps(3)
    old_key = site.register(TappingTerminal(terminal.terminal, chain=terminal.chain), revoked_at=NOW - 5)
    old_key.taps(3)
    thief = TappingTerminal(terminal.terminal, chain=terminal.chain)
    thief.taps(3)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(tokens[0])
        await wire.tap(tokens[2])
        await wire.acked(3, ((2, 2),))
        cut = bytearray(terminal.gap(2, 2))
        cut[-1] ^= 1
        forged = [old_key.gap(2, 2), thief.gap(2, 2), other.gap(2, 2, chain=terminal.chain), bytes(cut), b"junk"]
        for record in forged:
            await wire.gap(record)
        await wire.checkpoint(old_key.checkpoint())
        await eventually(lambda: len(site.told) == len(forged) + 1)
    assert [event.facts["verdict"] for event in site.told] == [
        "revoked_key",
        "unknown_key",
        "wrong_stream",
        "bad_signature",
        "malformed",
        "revoked_key",
    ]
    (audit,) = await site.ledger.audit()
    assert (audit.holes, audit.gaps) == (((2, 2),), ())


async def test_a_revoked_terminals_outbox_is_freed_and_its_taps_buy_nothing(site: CloudSite) -> None:
    terminal = site.register(a_terminal(site), revoked_at=NOW)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.batch(encode_batch(terminal.taps(5)))
        await wire.acked(5)
        await wire.tap(terminal.tap())
        await wire.acked(6)
    assert site.verdicts == ["revoked_key"] * 6
    stats = await site.ledger.stats()
    assert (stats.rows, stats.withheld) == (0, 6)


HURRY = HolePolicy(grace_s=0.2, first_retry_s=0.2, tries=3)


async def test_a_hole_that_stays_is_reported_and_asked_for_until_it_closes(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    site.clock = clock = SiteClock()
    tokens = terminal.taps(6)
    async with site.receiving(holes=HolePolicy(tries=3)) as receiver, site.wire(terminal) as wire:

        def later() -> None:
            clock.ahead_s += 3600.0
            receiver._sendable.set()

        await wire.tap(tokens[0])
        await wire.tap(tokens[3])
        await wire.checkpoint(terminal.checkpoint())
        await eventually(lambda: receiver.counts["checkpoint"] and len(receiver._search))
        for asked in (2, 4, 6):
            later()
            await eventually(lambda asked=asked: len(wire.commands) == asked)  # type: ignore[misc] # a default binds it
        assert {command.name for command in wire.commands} == {"resend"}
        assert len({command.id for command in wire.commands}) == len(wire.commands)
        assert {command.exp for command in wire.commands} == {NOW + 60}
        asked = [(command.args["from"], command.args["to"]) for command in wire.commands[:2]]
        assert asked == [(2, 3), (5, 6)]
        assert {command.args["chain"] for command in wire.commands} == {terminal.chain.hex()}
        later()
        await eventually(lambda: any(event.facts["permanent"] for event in site.words("gap")))
        assert site.words("gap")[0].seqs == ((2, 3), (5, 6))
        for token in (tokens[1], tokens[2], tokens[4], tokens[5]):
            await wire.tap(token)
        await eventually(lambda: site.words("gap_closed"))
        assert receiver.counts["gap"] == 2
        assert receiver.counts["resend_asked"] == 6
    assert [audit.holes for audit in await site.ledger.audit()] == [()]


async def test_a_receiver_that_has_only_a_share_of_the_taps_asks_for_none(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    tokens = terminal.taps(3)
    async with site.receiving(holes=HURRY, watch_holes=False), site.wire(terminal) as wire:
        await wire.tap(tokens[2])
        await wire.acked(3, ((1, 2),))
        await asyncio.sleep(0.6)
        assert wire.commands == []
    assert site.words("gap") == []


async def test_what_another_writer_of_the_ledger_filled_is_neither_reported_nor_asked_for(real_site: CloudSite) -> None:
    """Two receivers of one group on one ledger, or an import beside the service."""
    site, terminal = real_site, a_terminal(real_site)
    site.clock = clock = SiteClock()
    first, second, third = terminal.taps(3)
    other = SqliteLedger(site.folder / "ledger.db")
    await other.open()
    keeper = Keeper(other, site.keys.get)
    async with site.receiving(holes=HolePolicy(grace_s=60.0)) as receiver, site.wire(terminal) as wire:
        await wire.tap(first)
        await wire.tap(third)
        await eventually(lambda: len(receiver._search))
        elsewhere = [Arrival(wire.topics.evt_tap, second, NOW)]
        await keeper.store(elsewhere, await keeper.judge(elsewhere))
        clock.ahead_s = 61.0
        receiver._sendable.set()
        await eventually(lambda: not len(receiver._search))
        assert wire.commands == []
    assert site.told == []
    keeper.close()
    await other.close()


async def test_a_hole_in_an_older_chain_is_found_by_a_receiver_that_was_started_since(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    older = TappingTerminal(terminal.terminal, key=terminal.key)
    tokens = older.taps(3)
    async with site.wire(terminal) as wire:
        async with site.receiving():
            await wire.tap(tokens[0])
            await wire.tap(tokens[2])
            await wire.acked(3, ((2, 2),))
        async with site.receiving(holes=HURRY):
            await wire.publish(wire.topics.state, birth(terminal))
            await eventually(lambda: site.words("gap"))
            await eventually(lambda: wire.commands)
    assert wire.commands[0].args == {"chain": older.chain.hex(), "from": 2, "to": 2}


async def test_a_birth_far_ahead_is_no_gap(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    terminal.taps(1000)
    async with site.receiving(holes=HURRY), site.wire(terminal) as wire:
        await wire.publish(wire.topics.state, birth(terminal))
        await wire.acked(0)
        await asyncio.sleep(0.6)
        assert wire.commands == []
    assert site.told == []


async def test_a_clone_is_told_by_its_chain_and_broken_links_are_events(real_site: CloudSite) -> None:
    site, terminal = real_site, a_terminal(real_site)
    async with site.receiving(), site.wire(terminal) as wire:
        await wire.tap(terminal.tap())
        await wire.checkpoint(terminal.checkpoint(head=b"0123456789abcdef"))
        await eventually(lambda: site.words("chain_break"))
    assert [event.seqs for event in site.words("chain_break")] == [((2, 2),)]
