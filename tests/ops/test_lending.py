"""Over the control socket: who borrows a reader, for how long, and what is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge_agent.errors import ControlError, ReaderError, ReaderFault
from edge_agent.ops.lending import Lending
from edge_agent.readers.service import ReaderState
from tests.fakes.fake_reader import FakeReader
from tests.readers.test_service import Bench, tap_works


@pytest.fixture(name="bench")
async def _bench() -> AsyncIterator[Bench]:
    bench = Bench(FakeReader())
    async with bench.running():
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)
        yield bench


async def test_a_reader_is_lent_renewed_and_given_back(bench: Bench) -> None:
    ops = Lending([bench.service]).ops()
    first = await ops["lend-reader"]({"name": "fake0", "seconds": 20})
    assert bench.service.snapshot().state is ReaderState.LENT
    again = await ops["lend-reader"]({"name": "fake0", "loan": first["loan"], "seconds": 30})
    assert 20 < float(str(again["seconds"])) <= 30
    await ops["return-reader"]({"name": "fake0", "loan": first["loan"], "empty": True})
    await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)
    await tap_works(bench)
    with pytest.raises(ControlError, match="is over"):
        await ops["lend-reader"]({"name": "fake0", "loan": first["loan"]})


async def test_nobody_gives_back_what_another_one_has(bench: Bench) -> None:
    ops = Lending([bench.service]).ops()
    await ops["lend-reader"]({"name": "fake0"})
    with pytest.raises(ControlError, match="lent already"):
        await ops["lend-reader"]({"name": "fake0"})
    for loan in (None, "", "00"):
        await ops["return-reader"]({"name": "fake0", "loan": loan})
    await asyncio.sleep(0.02)
    assert bench.service.snapshot().state is ReaderState.LENT
    with pytest.raises(ControlError, match="is over"):
        await ops["lend-reader"]({"name": "fake0", "loan": "00"})


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"name": "nfc9\x1b"}, "no such reader"),
        ({}, "no such reader"),
        ({"name": "fake0", "seconds": 61}, "no number from 1 to 60"),
        ({"name": "fake0", "seconds": 0}, "no number from 1 to 60"),
        ({"name": "fake0", "seconds": True}, "no number from 1 to 60"),
        ({"name": "fake0", "seconds": "9"}, "no number from 1 to 60"),
        ({"name": "fake0", "seconds": float("nan")}, "no number from 1 to 60"),
    ],
)
async def test_what_makes_no_sense_is_refused(bench: Bench, request_: dict[str, object], why: str) -> None:
    with pytest.raises(ControlError, match=why) as refused:
        await Lending([bench.service]).ops()["lend-reader"](request_)
    assert "\x1b" not in str(refused.value)
    assert bench.service.snapshot().state is ReaderState.POLLING


async def test_a_reader_that_is_lost_is_not_lent_and_says_why(bench: Bench) -> None:
    bench.reader.open_errors.extend([ReaderError(ReaderFault.NO_ANSWER, "silent", remedy="power-cycle it")] * 1000)
    bench.reader.put(ReaderError(ReaderFault.UNPLUGGED, "it was unplugged"))
    await bench.until(lambda: bench.service.snapshot().state is ReaderState.LOST)
    with pytest.raises(ControlError, match=r"does not work now: (it was unplugged|silent)"):
        await Lending([bench.service]).ops()["lend-reader"]({"name": "fake0"})
    assert bench.service.snapshot().fault in {"unplugged", "no_answer"}


async def test_who_had_it_before_cannot_end_the_loan_of_the_next_one(bench: Bench) -> None:
    lending = Lending([bench.service])
    ops = lending.ops()
    first = await ops["lend-reader"]({"name": "fake0"})
    await ops["return-reader"]({"name": "fake0", "loan": first["loan"]})
    await bench.until(lambda: bench.service.loan.is_free)
    next_one = asyncio.ensure_future(ops["lend-reader"]({"name": "fake0"}))
    for _ in range(1000):
        if next_one.done():
            break
        await asyncio.sleep(0)
        await ops["return-reader"]({"name": "fake0", "loan": first["loan"]})
    await next_one
    assert bench.service.loan.left_s > 0
