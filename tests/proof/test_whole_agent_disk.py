"""The disk under the whole agent is full, or turns read-only: the reader goes on, the screen rests, nothing is lost."""

import asyncio
import errno
import time
from pathlib import Path

import pytest

from edge_agent.readers.service import ReaderState
from edge_agent.simulation.phones import SimulatedPhone
from firmware_bridge.cues import CueName
from tests.fakes.audit import audit
from tests.fakes.proof_report import report
from tests.fakes.small_disks import tmpfs, worn_disk
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, WholePath, whole_path


def fill(ballast: Path) -> None:
    """Take all that is free."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error  # noqa: PT017 - any other error is a broken test


async def taps_until_refused(terminal: WholeAgent, promised: list[bytes]) -> None:
    """People tap until the first gets no token."""
    for _ in range(200):
        phone = SimulatedPhone()
        await terminal.hold_until_done_with(phone)
        promised += phone.tokens
        if not phone.tokens:
            return
    raise AssertionError("every tap was kept")


async def rests(terminal: WholeAgent) -> None:
    """The screen says so, and the reader still polls."""
    await terminal.until(lambda: terminal.agent.bridge.current == CueName.RESTING)
    assert terminal.reader.state is ReaderState.POLLING


async def heals(terminal: WholeAgent, promised: list[bytes]) -> float:
    """By itself; then a tap is kept. Returns how long the screen went on resting, in seconds."""
    begun = time.monotonic()
    await terminal.until(lambda: terminal.agent.bridge.current == CueName.INVITE)
    healed = time.monotonic() - begun
    promised.append(await terminal.good_tap())
    return healed


async def all_arrived(path: WholePath, promised: list[bytes], name: str, how: str, recovery_s: list[float]) -> None:
    await path.all_stored()
    key = path.terminal.public
    ledger = path.site.folder / "ledger.db"
    audited = await asyncio.to_thread(audit, ledger, promised, key=key, stream=(FLEET, TERMINAL))
    report(name, how, audited, times=len(recovery_s), recovery_s=recovery_s)


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=[pytest.mark.proof, pytest.mark.timeout(300)])])
async def test_a_full_tmpfs(tmp_path: Path, rounds: int) -> None:
    promised: list[bytes] = []
    recovery_s: list[float] = []
    with tmpfs(tmp_path / "disk", "1m") as disk:
        settings = {"outbox__path": disk / "outbox.db", "outbox__min_free_mb": 0}
        async with whole_path(tmp_path, **settings) as path:
            for _ in range(rounds):
                promised.append(await path.terminal.good_tap())
                fill(disk / "ballast")
                await taps_until_refused(path.terminal, promised)
                await rests(path.terminal)
                (disk / "ballast").unlink()
                recovery_s.append(await heals(path.terminal, promised))
            await all_arrived(path, promised, "full tmpfs", "under the whole agent, then freed", recovery_s)


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=[pytest.mark.proof, pytest.mark.timeout(300)])])
async def test_a_disk_that_turns_read_only_amid_taps(tmp_path: Path, rounds: int) -> None:
    promised: list[bytes] = []
    recovery_s: list[float] = []
    with worn_disk(tmp_path / "disk") as disk:
        settings = {"outbox__path": disk.folder / "outbox.db", "outbox__min_free_mb": 0}
        async with whole_path(tmp_path, **settings) as path:
            for _ in range(rounds):
                promised.append(await path.terminal.good_tap())
                disk.wear_out()
                await taps_until_refused(path.terminal, promised)
                await rests(path.terminal)
                begun = time.monotonic()
                await path.terminal.stop()
                disk.unmount()
                assert disk.mount()
                await path.terminal.start()
                promised.append(await path.terminal.good_tap())
                recovery_s.append(time.monotonic() - begun)
            how = "an error of ext4 amid taps; then checked, mounted and started again"
            await all_arrived(path, promised, "read-only disk", how, recovery_s)
