"""Story 22: hostile phones. Cut off by the budget, the next tap works; the whole collection: system/test_odd_phones."""

import random
from pathlib import Path

import pytest

from edge_agent.readers.service import ReaderState
from edge_agent.simulation.odd_phones import ODD_PHONES
from tests.fakes.whole_agent import whole_agent


@pytest.mark.parametrize("name", ["wtx_endless", "slow"])
async def test_it_is_cut_off_by_the_budget_while_it_is_still_held(tmp_path: Path, name: str) -> None:
    async with whole_agent(tmp_path, exchange__budget_ms=300) as terminal:
        phone = ODD_PHONES[name](random.Random(22))
        terminal.emulator.place(phone)
        # It gets some more chances and then has to leave first; nobody took it away.
        await terminal.until(lambda: terminal.reader.state is ReaderState.OCCUPIED)
        assert terminal.reader.lost >= 1
        terminal.emulator.remove(phone)
        await terminal.field_clear()
        await terminal.good_tap()
        assert (terminal.reader.taps, terminal.reader.reopens, terminal.reader.last_error) == (1, 0, "")
