"""Story 22: endless WTX, a one-byte ATS, SAK 60, gone in the middle. Cut off within the budget; the next tap works."""

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
        assert terminal.reader.taps == 1


async def test_a_row_of_all_of_them_leaves_a_reader_that_was_never_lost(tmp_path: Path) -> None:
    async with whole_agent(tmp_path, exchange__budget_ms=300) as terminal:
        for name in ("ats_one_byte", "sak_60", "gone_before_select", "gone_before_token", "wtx_endless"):
            await terminal.hold_until_done_with(ODD_PHONES[name](random.Random(22)), patience_s=0.4)
        await terminal.good_tap()
        assert terminal.reader.reopens == 0
        assert terminal.reader.last_error == ""
