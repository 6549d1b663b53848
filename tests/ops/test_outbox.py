import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import ControlError
from edge_agent.ops.outbox import MAX_RANGES, MAX_ROWS, OutboxOps
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap

LARGEST_ANSWER = 1024 * 1024


class Site:
    """An outbox with its ops, asked as the control server asks."""

    def __init__(self, folder: Path) -> None:
        self.store = OutboxStore(
            folder / "outbox.db", PLAIN, clock=FakeClock(), settings=StoreSettings(close_s=CLOSE_S, keep_newest=0)
        )
        self.poked = 0
        self.ops = OutboxOps(
            self.store,
            terminal="sh-1-a",
            fleet="sh",
            confirm="receiver",
            bounds=Bounds(max_rows=7),
            seal_checkpoint=lambda head: b"CHK" + head.seq.to_bytes(8, "big") + head.hash,
            poke=self.poke,
        ).ops()

    def poke(self) -> None:
        self.poked += 1

    async def ask(self, op: str, **request: object) -> dict[str, Any]:
        answer = await self.ops[f"outbox.{op}"]({"op": f"outbox.{op}", **request})
        text = json.dumps({"ok": True, "result": answer})
        assert len(text) < LARGEST_ANSWER
        result: dict[str, Any] = json.loads(text)["result"]
        return result

    async def taps(self, count: int) -> None:
        for number in range(0, count, 500):
            for stored in [self.store.append(a_tap()) for _ in range(min(500, count - number))]:
                await stored

    async def sent(self, rows: int) -> None:
        lease = await self.store.lease_backlog(1, max_rows=rows, max_bytes=10**6)
        assert lease is not None
        self.store.confirm_sent(lease)

    async def parked(self, why: str) -> None:
        lease = await self.store.lease_backlog(1, max_rows=1, max_bytes=10**6)
        assert lease is not None
        self.store.park(lease, why)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.store.open()
    yield site
    await site.store.close()


async def test_stats_say_whose_outbox_it_is_and_how_it_stands(site: Site) -> None:
    await site.taps(5)
    await site.sent(2)
    answer = await site.ask("stats")
    head = site.store.head()
    assert answer["terminal"] == "sh-1-a"
    assert answer["bounds"]["max_rows"] == 7
    assert answer["head"] == {"chain": head.chain.hex(), "seq": 5, "hash": head.hash.hex()}
    assert (answer["stats"]["pending"], answer["stats"]["sent"], answer["stats"]["next_seq"]) == (3, 2, 6)
    assert answer["stats"]["chain"] == head.chain.hex()


async def test_rows_come_in_pages_with_their_tokens(site: Site) -> None:
    await site.taps(MAX_ROWS + 3)
    await site.parked("too large")
    chain = site.store.head().chain
    first = (await site.ask("page"))["rows"]
    rest = (await site.ask("page", chain=chain.hex(), after=MAX_ROWS))["rows"]
    assert [row[1] for row in first + rest] == list(range(1, MAX_ROWS + 4))
    assert first[0][:4] == [chain.hex(), 1, "parked", "too large"]
    assert bytes.fromhex(first[0][5])[:16] == chain + (1).to_bytes(8, "big")
    assert (await site.ask("page", chain=chain.hex(), after=MAX_ROWS + 3))["rows"] == []
    assert len((await site.ask("page", limit=10**9))["rows"]) == MAX_ROWS


async def test_ranges_come_in_pages(site: Site) -> None:
    count = 2 * (MAX_ROWS + 10)
    await site.taps(count)
    for number in range(count // 2):
        await site.sent(1)
        await site.parked(f"why {number}")
    answer = await site.ask("ranges")
    assert answer["more"] is True
    assert len(answer["ranges"]) == MAX_RANGES
    assert answer["ranges"][1] == [site.store.head().chain.hex(), 2, 2, "parked", "why 0"]
    tail = await site.ask("ranges", skip=count - 1)
    assert ([one[1:4] for one in tail["ranges"]], tail["more"]) == ([[count, count, "parked"]], False)


async def test_however_long_the_notes_an_answer_fits_and_nothing_is_left_out(site: Site) -> None:
    await site.taps(300)
    for number in range(300):
        await site.parked(f"{number} " + "\U0001f4a9" * 500)
    found: list[Any] = []
    more = True
    while more:
        answer = await site.ask("ranges", skip=len(found))
        found, more = found + answer["ranges"], answer["more"]
    assert [one[1] for one in found] == list(range(1, 301))
    page = (await site.ask("page"))["rows"]
    assert [row[1] for row in page] == list(range(1, len(page) + 1))
    assert 0 < len(page) < 300


async def test_a_checkpoint_is_made_for_the_asker_once_there_is_a_tap(site: Site) -> None:
    assert (await site.ask("checkpoint")) == {"token": None}
    await site.taps(1)
    head = site.store.head()
    assert bytes.fromhex((await site.ask("checkpoint"))["token"]) == b"CHK" + (1).to_bytes(8, "big") + head.hash


async def test_gap_records_are_none_where_nothing_was_given_up(site: Site) -> None:
    assert await site.ask("gaps") == {"gaps": [], "more": False}


async def test_resend_makes_rows_pending_and_wakes_the_uplink(site: Site) -> None:
    await site.taps(4)
    await site.sent(2)
    chain = site.store.head().chain.hex()
    answer = await site.ask("resend", chain=chain, **{"from": 1, "to": 9})
    assert answer == {"requeued": 2, "pending": 2, "gone": 5}
    assert site.poked == 1
    assert (await site.ask("stats"))["stats"]["pending"] == 4


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        ("page", {"chain": "xyz"}),
        ("page", {"chain": "zz" * 8}),
        ("page", {"chain": 5}),
        ("page", {"after": -1}),
        ("page", {"limit": "5"}),
        ("ranges", {"skip": True}),
        ("gaps", {"skip": 2**41}),
        ("resend", {}),
        ("resend", {"chain": "00" * 8, "from": 2, "to": 1}),
        ("resend", {"chain": "00" * 8, "from": 0, "to": 1}),
        ("resend", {"from": 1, "to": 1}),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(op: str, request_: dict[str, object], site: Site) -> None:
    with pytest.raises(ControlError):
        await site.ask(op, **request_)
    assert site.poked == 0
