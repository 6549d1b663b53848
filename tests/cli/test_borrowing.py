"""Whoever borrows a reader lets go of it by the time at which the agent has it back, whatever he is doing with it."""

import asyncio
import signal
from pathlib import Path

import pytest

from edge_agent.cli import borrowing
from edge_agent.cli.borrowing import borrowed
from edge_agent.control import ControlServer
from edge_agent.errors import ControlError
from tests.fakes.waiting import eventually

LEASE_S = 60.0
"""No machine stops for so long: time passes when a test says so."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borrowing, "LEASE_S", LEASE_S)
    monkeypatch.setattr(borrowing, "RENEW_EVERY_S", 0.02)


class LoopClock:
    """The clock of the running loop, which can be put ahead."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self.ahead_s = 0.0
        vars(loop)["time"] = lambda: self._real() + self.ahead_s


class Lender:
    """What an agent answers; it renews a loan while it is ``willing``."""

    def __init__(self, path: Path, *, lends: bool = True) -> None:
        self.willing, self.lends = True, lends
        self.asked: list[object] = []
        self.returned: list[object] = []
        self.server = ControlServer(
            path, {"lend-reader": self._lend, "return-reader": self._return}, read_timeout_s=1000
        )

    async def _lend(self, request: dict[str, object]) -> dict[str, object]:
        loan = request.get("loan")
        self.asked.append(loan)
        if not self.lends or not self.willing or loan not in (None, "l1"):
            raise ControlError("the loan of nfc0 is over")
        return {"name": "nfc0", "loan": "l1", "seconds": request["seconds"]}

    async def _return(self, request: dict[str, object]) -> dict[str, object]:
        self.returned.append(request["loan"])
        return {"name": "nfc0"}


async def hold(path: Path) -> None:
    async with borrowed(path, "nfc0"):
        await asyncio.Event().wait()


async def test_a_loan_that_is_not_renewed_cuts_off_what_goes_on_with_the_reader(tmp_path: Path) -> None:
    """The agent was started anew, or the longest time is over: its reader must not stay in use."""
    path = tmp_path / "control.sock"
    lender, clock = Lender(path), LoopClock()
    await lender.server.start()
    try:
        holding = asyncio.create_task(hold(path))
        for _ in range(3):  # longer than one loan
            asked = len(lender.asked)
            await eventually(lambda asked=asked: len(lender.asked) >= asked + 3)  # type: ignore[misc] # a default binds it
            assert not holding.done()
            clock.ahead_s += LEASE_S / 2
        lender.willing = False
        clock.ahead_s += LEASE_S
        with pytest.raises(ControlError, match="has to have nfc0 back"):
            await holding
        assert lender.returned == ["l1"]
    finally:
        await lender.server.close()


async def test_an_agent_that_is_started_meanwhile_gets_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    holding = asyncio.create_task(hold(path))
    await asyncio.sleep(0.2)
    assert not holding.done()
    lender = Lender(path, lends=False)
    await lender.server.start()
    try:
        with pytest.raises(ControlError, match="has to have nfc0 back"):
            await holding
        assert lender.returned == []
    finally:
        await lender.server.close()


async def test_ctrl_z_does_not_keep_the_reader_from_the_agent(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTSTP)
    async with borrowed(tmp_path / "control.sock", "nfc0"):
        assert signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTSTP) is before


async def test_a_fault_of_what_goes_on_with_the_reader_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with borrowed(tmp_path / "control.sock", "nfc0"):
            raise TimeoutError("mine")
