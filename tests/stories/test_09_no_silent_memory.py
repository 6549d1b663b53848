"""Story 9: a store that silently falls back to memory. Without its disk the agent gives no token and says so."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from edge_agent.simulation.phones import SimulatedPhone
from firmware_bridge.cues import CueName
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import whole_agent


@contextmanager
def no_file_may_grow() -> Iterator[None]:
    """For this process every write beyond the first bytes of a file fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_phone_gets_no_token_that_is_not_on_disk(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        token = await terminal.good_tap()
        refused = SimulatedPhone()
        with capture_logs(), no_file_may_grow():  # the captured output is a file, too
            await terminal.hold_until_done_with(refused)
        assert refused.tokens == []
        await eventually(lambda: CueName.RESTING in terminal.cues)
        assert (await terminal.agent.outbox.stats()).next_seq == 2
        assert terminal.reader.last_refusal
        again = await terminal.good_tap()  # the disk is back
        assert [stored.token for stored in await terminal.issued()] == [token, again]


async def test_while_taps_cannot_be_kept_everybody_is_told_and_then_it_heals_itself(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        await terminal.started()
        with capture_logs(), no_file_may_grow():
            await terminal.hold_until_done_with(SimulatedPhone())
            part = await terminal.has_component("outbox", "degraded")
            assert "taps cannot be kept" in part["detail"]
            status = await terminal.status()
            assert status["health"]["state"] == "degraded", "the exit status of `status` is 1"
            assert status["outbox"]["fault"]
            await eventually(lambda: terminal.agent.bridge.current is CueName.RESTING)
        await terminal.has_component("outbox", "ok")
        await eventually(lambda: terminal.agent.bridge.current is CueName.INVITE)
        await terminal.good_tap()
