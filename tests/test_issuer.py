import asyncio
from dataclasses import replace

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault, TapRefused
from edge_agent.issuer import MEMO_LIMIT, STALLED_S, Issuer, life_left
from edge_agent.models import ClockReading, ClockTrust, StoredTap, Tap, TapFacts, TapMode
from edge_agent.tap_gate import TapGate
from tests.fakes.open_gate import open_gate

NOW = 1_790_000_000
BURST, COOLDOWN_S = 4, 5.0


class Store:
    """Stands where the outbox is: numbers taps, can be told to fail or to wait."""

    def __init__(self) -> None:
        self.taps: list[Tap] = []
        self.fail = False
        self.begun = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, tap: Tap) -> StoredTap:
        self.begun += 1
        await self.gate.wait()
        if self.fail:
            raise OutboxError("disk full")
        self.taps.append(tap)
        seq = len(self.taps)
        return StoredTap(chain=b"chain-id", seq=seq, token=b"token %d" % seq, exp=0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.fixture
def issuer(clock: FakeClock, store: Store, heard: list[int]) -> Issuer:
    return Issuer(
        append=store.append,
        clock=clock,
        ttl=90,
        campaign=lambda _at: "c-1",
        on_new=lambda _tap, stored: heard.append(stored.seq),
        gate=open_gate(clock),
    )


@pytest.fixture
def limited(clock: FakeClock, store: Store) -> Issuer:
    gate = TapGate(
        taps_per_minute=60,
        burst=BURST,
        cooldown_s=COOLDOWN_S,
        clock=clock,
        rest=lambda _on: None,
        tell=lambda _notice: None,
    )
    return Issuer(
        append=store.append, clock=clock, ttl=90, campaign=lambda _at: None, on_new=lambda *_: None, gate=gate
    )


def facts(nonce: bytes | None = b"nonce-01", sub: bytes | None = None) -> TapFacts:
    return TapFacts(mode=TapMode.PHONE_APP if nonce else TapMode.CARD, reader="r", nonce=nonce, sub=sub)


async def test_the_terminal_adds_its_part(issuer: Issuer, store: Store, clock: FakeClock) -> None:
    await issuer.issue(facts())
    assert store.taps == [Tap(facts=facts(), at=clock.read(), ttl=90, campaign="c-1")]


async def test_a_tap_is_of_the_advert_that_its_phone_saw(clock: FakeClock, store: Store) -> None:
    def showing(at: float) -> str:
        return "before" if at < 20.0 else "after"

    issuer = Issuer(
        append=store.append, clock=clock, ttl=90, campaign=showing, on_new=lambda *_: None, gate=open_gate(clock)
    )
    for seen_at in (19.9, 20.0):
        await issuer.issue(replace(facts(nonce=None), seen_at=seen_at))
    assert [tap.campaign for tap in store.taps] == ["before", "after"]


async def test_same_nonce_gets_the_same_token_and_one_row(issuer: Issuer, store: Store, heard: list[int]) -> None:
    first = await issuer.issue(facts())
    again = await issuer.issue(facts())
    assert again == first
    assert len(store.taps) == 1
    assert heard == [1]
    assert issuer.repeated == 1


async def test_same_nonce_of_another_subject_is_another_tap(issuer: Issuer) -> None:
    assert (await issuer.issue(facts(sub=b"subject-a"))).seq == 1
    assert (await issuer.issue(facts(sub=b"subject-b"))).seq == 2


async def test_a_phone_that_shows_the_nonce_of_a_ticket_is_no_read_of_it(issuer: Issuer) -> None:
    assert (await issuer.issue(facts())).seq == 1
    assert (await issuer.issue(replace(facts(), mode=TapMode.TAG_READ))).seq == 2


async def test_a_nonce_is_forgotten_after_the_tokens_life(issuer: Issuer, clock: FakeClock) -> None:
    await issuer.issue(facts())
    clock.step_wall(-100_000)  # a stepped wall clock must not keep or drop anything
    clock.advance(89)
    assert (await issuer.issue(facts())).seq == 1
    clock.advance(2)
    assert (await issuer.issue(facts())).seq == 2


async def test_cards_have_no_nonce_and_are_new_each_time(issuer: Issuer) -> None:
    assert (await issuer.issue(facts(None, b"pseudonym"))).seq == 1
    assert (await issuer.issue(facts(None, b"pseudonym"))).seq == 2


async def test_a_retry_amid_the_commit_waits_for_the_same_row(issuer: Issuer, store: Store) -> None:
    store.gate.clear()
    first = asyncio.create_task(issuer.issue(facts()))
    second = asyncio.create_task(issuer.issue(facts()))
    await asyncio.sleep(0)
    store.gate.set()
    assert (await first) == (await second)
    assert len(store.taps) == 1


async def test_a_caller_that_gives_up_does_not_undo_the_commit(issuer: Issuer, store: Store, heard: list[int]) -> None:
    store.gate.clear()
    caller = asyncio.create_task(issuer.issue(facts()))
    for _ in range(3):
        await asyncio.sleep(0)
    assert store.begun == 1
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    store.gate.set()
    assert (await issuer.issue(facts())).seq == 1
    assert (store.begun, heard) == (1, [1])


async def test_a_failed_commit_is_told_and_not_remembered(issuer: Issuer, store: Store) -> None:
    store.fail = True
    with pytest.raises(OutboxError, match="disk full"):
        await issuer.issue(facts())
    store.fail = False
    assert (await issuer.issue(facts())).seq == 1


async def test_a_token_of_an_earlier_run_is_given_again(issuer: Issuer, store: Store, clock: FakeClock) -> None:
    old = StoredTap(chain=b"chain-id", seq=7, token=b"old", exp=0)
    issuer.remember((TapMode.PHONE_APP, b"nonce-01", None), old, life_s=30)
    assert await issuer.issue(facts()) is old
    clock.advance(31)
    assert (await issuer.issue(facts())).seq == 1
    issuer.remember((TapMode.PHONE_APP, b"nonce-02", None), old, life_s=-1)
    assert (await issuer.issue(facts(b"nonce-02"))).seq == 2


async def test_one_that_lives_longer_keeps_none_alive_behind_it(issuer: Issuer, clock: FakeClock) -> None:
    old = StoredTap(chain=b"chain-id", seq=7, token=b"old", exp=0)
    issuer.remember((TapMode.PHONE_APP, b"nonce-01", None), old, life_s=80)
    issuer.remember((TapMode.PHONE_APP, b"nonce-02", None), old, life_s=10)
    clock.advance(11)
    assert (await issuer.issue(facts(b"nonce-02"))).seq == 1, "its token has expired"
    assert (await issuer.issue(facts(b"nonce-02"))).seq == 1
    assert await issuer.issue(facts(b"nonce-01")) is old


async def test_memory_of_nonces_is_bounded(issuer: Issuer) -> None:
    for n in range(MEMO_LIMIT + 50):
        await issuer.issue(facts(n.to_bytes(8, "big")))
    assert len(issuer._memo) <= MEMO_LIMIT + 1


async def test_a_phone_that_comes_again_does_not_wait_again_for_a_storage_that_hangs(
    issuer: Issuer, store: Store, clock: FakeClock
) -> None:
    store.gate.clear()
    first = asyncio.ensure_future(issuer.issue(facts()))
    await asyncio.sleep(0)
    clock.advance(STALLED_S + 0.1)
    async with asyncio.timeout(10):
        with pytest.raises(OutboxError) as refused:
            await issuer.issue(facts())
    assert refused.value.fault is OutboxFault.BUSY
    store.gate.set()
    stored = await first
    assert await issuer.issue(facts()) == stored, "the commit that began counts, and the phone gets it"
    assert len(store.taps) == 1


async def test_a_phone_that_gets_its_token_again_costs_nothing_and_is_never_refused(
    limited: Issuer, store: Store, clock: FakeClock
) -> None:
    mine = facts(b"nonce-xx", b"phone")
    first = await limited.issue(mine)
    for number in range(BURST - 1):
        await limited.issue(facts(number.to_bytes(8, "big")))
    with pytest.raises(TapRefused, match="more taps than the terminal takes: 4 at once, 60 a minute"):
        await limited.issue(facts(b"one too many"))
    assert {(await limited.issue(mine)).seq for _ in range(100)} == {first.seq}
    clock.advance(1)
    assert (await limited.issue(facts(b"one too many"))).seq == BURST + 1
    assert len(store.taps) == BURST + 1
    assert limited._gate._limits._bucket._open == [], "the limits hear of every end, or they would grow for ever"


async def test_a_pseudonym_that_tapped_just_now_is_refused_and_nothing_is_stored(
    limited: Issuer, store: Store, clock: FakeClock
) -> None:
    await limited.issue(facts(None, b"pseudonym"))
    with pytest.raises(TapRefused, match="the same phone or card tapped less than 5 s ago") as refused:
        await limited.issue(facts(None, b"pseudonym"))
    assert "pseudonym" not in str(refused.value)
    assert store.begun == 1
    clock.advance(COOLDOWN_S)
    assert (await limited.issue(facts(None, b"pseudonym"))).seq == 2


async def test_a_nonce_that_is_replayed_when_its_token_expires_gets_no_new_one(
    limited: Issuer, clock: FakeClock
) -> None:
    await limited.issue(facts())
    clock.advance(89)
    assert (await limited.issue(facts())).seq == 1
    for _ in range(5):
        clock.advance(2)
        with pytest.raises(TapRefused):
            await limited.issue(facts())
    clock.advance(COOLDOWN_S)
    assert (await limited.issue(facts())).seq == 2


async def test_what_the_storage_refused_is_neither_counted_nor_cooled_down(limited: Issuer, store: Store) -> None:
    store.fail = True
    for _ in range(3 * BURST):
        with pytest.raises(OutboxError):
            await limited.issue(facts(b"nonce-01", b"phone"))
    store.fail = False
    for number in range(BURST):
        await limited.issue(facts(number.to_bytes(8, "big"), number.to_bytes(8, "big")))


async def test_a_commit_that_hangs_is_given_back_when_it_fails(limited: Issuer, store: Store) -> None:
    store.gate.clear()
    hanging = [asyncio.ensure_future(limited.issue(facts(number.to_bytes(8, "big")))) for number in range(BURST)]
    await asyncio.sleep(0)
    with pytest.raises(TapRefused):
        await limited.issue(facts(b"one too many"))
    store.fail = True
    store.gate.set()
    assert all(isinstance(ended, OutboxError) for ended in await asyncio.gather(*hanging, return_exceptions=True))
    store.fail = False
    for number in range(BURST):
        await limited.issue(facts(number.to_bytes(8, "big")))


BOOT, OTHER = b"bootbyte", b"another0"


@pytest.mark.parametrize(
    ("now", "life_s"),
    [
        (ClockReading(NOW + 30, ClockTrust.SYNCED, BOOT, 130), 60.0),
        (ClockReading(NOW - 14 * 86_400, ClockTrust.UNSET, BOOT, 130), 60.0),
        (ClockReading(NOW + 14 * 86_400, ClockTrust.SYNCED, BOOT, 130), 60.0),
        (ClockReading(NOW, ClockTrust.SYNCED, BOOT, 300), -110.0),
        (ClockReading(NOW + 30, ClockTrust.SYNCED, OTHER, 20), 60.0),
        (ClockReading(NOW + 30, ClockTrust.UNSET, OTHER, 20), 0.0),
        (ClockReading(NOW - 14 * 86_400, ClockTrust.SYNCED, OTHER, 20), 90.0),
    ],
)
def test_a_token_of_an_earlier_run_lives_by_the_uptime_of_its_boot(now: ClockReading, life_s: float) -> None:
    assert life_left(ClockReading(NOW, ClockTrust.SYNCED, BOOT, 100), now, ttl=90) == life_s


async def test_a_technicians_test_neither_asks_the_limits_nor_counts_for_them(limited: Issuer, store: Store) -> None:
    for number in range(50):
        await limited.issue(facts(b"test-%03d" % number), test=True)
    assert {tap.test for tap in store.taps} == {True}
    assert sum(limited._gate.refused.values()) == 0
    assert limited._gate._limits._bucket._open == []
    await limited.issue(facts(b"nonce-99"))
    assert store.taps[-1].test is False
