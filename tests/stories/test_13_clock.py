"""Story 13: no clock at boot (1970), and a clock that is set back two weeks. Tokens say so; taps go on."""

import time
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.holdover import Holdover
from edge_agent.models import ClockTrust
from edge_agent.simulation.odd_phones import Vanishing
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from tests.fakes.whole_agent import whole_agent, whole_path

TWO_WEEKS_S = 14 * 86_400


class SteppedClock(SystemClock):
    """The real clocks and the real judgement, but the wall clock is what somebody made of it."""

    def __init__(self, *, unset: bool = False) -> None:
        super().__init__(assume_synced=True)
        self.step_s = -time.time() if unset else 0.0
        self.disciplined = not unset
        self._holdover = Holdover(rtc=False)

    def wall(self) -> float:
        return time.time() + self.step_s

    def synced(self) -> bool:
        return self.disciplined

    def is_set(self, step_s: float = 0.0, *, disciplined: bool = True) -> None:
        """NTP or an operator sets it; the kernel knows who."""
        self.step_s, self.disciplined = step_s, disciplined
        self._synced_until = 0.0


async def test_a_tap_of_1970_is_kept_and_can_never_be_redeemed(tmp_path: Path) -> None:
    clock = SteppedClock(unset=True)
    async with whole_path(tmp_path, clock=clock) as path:
        claims = parse(await path.terminal.good_tap()).claims
        assert (claims.clk, claims.exp) == (ClockTrust.UNSET, claims.iat)
        assert claims.up > 0
        assert claims.boot == clock.read().boot
        part = await path.terminal.has_component("clock", "degraded")
        assert "redeemed" in part["detail"]
        clock.is_set()
        assert parse(await path.terminal.good_tap()).claims.clk is ClockTrust.SYNCED
        await path.all_stored()
        assert [row.verdict for row in path.rows] == ["late", "fresh"]
        assert [event.redeemable for event in path.site.events] == [False, True]
        await path.audit()


async def test_a_clock_set_back_two_weeks_neither_stops_taps_nor_loses_rows(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with whole_path(tmp_path, clock=clock) as path:
        terminal = path.terminal
        tokens = [await terminal.good_tap()]
        leaving = Vanishing(SimulatedPhone(), after=1)
        await terminal.hold_until_gone(leaving)
        clock.is_set(-TWO_WEEKS_S)
        leaving.come_back()
        phone = leaving.phone
        assert isinstance(phone, SimulatedPhone)
        await terminal.tap(phone)
        tokens += phone.tokens
        assert parse(tokens[1]).claims.iat > parse(tokens[0]).claims.iat - 60, "its own token, from before the step"
        tokens.append(await terminal.good_tap())
        assert parse(tokens[2]).claims.iat < parse(tokens[0]).claims.iat - TWO_WEEKS_S + 60
        await path.all_stored()
        assert [row.token for row in path.rows] == tokens
        assert [row.verdict for row in path.rows][:2] == ["fresh", "fresh"]
        (audit,) = await path.site.ledger.audit()
        assert (audit.holes, audit.breaks) == ((), ())


async def test_the_last_good_time_outlives_the_process_and_no_step_back_is_trusted(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with whole_agent(tmp_path, clock=clock) as terminal:
        good = parse(await terminal.good_tap()).claims
        assert good.clk is ClockTrust.SYNCED
        clock.is_set(disciplined=False)  # the network is gone, and with it the time server
        assert parse(await terminal.good_tap()).claims.clk is ClockTrust.HOLDOVER
        await terminal.stop()
        terminal._clock = clock = SteppedClock()  # a new process of the same boot, without a time server
        clock.is_set(disciplined=False)
        await terminal.start()
        assert parse(await terminal.good_tap()).claims.clk is ClockTrust.HOLDOVER
        clock.is_set(-TWO_WEEKS_S, disciplined=False)  # by hand
        behind = parse(await terminal.good_tap()).claims
        assert (behind.clk, behind.exp) == (ClockTrust.UNSET, behind.iat)
        await terminal.restart()
        again = parse(await terminal.good_tap()).claims
        assert again.clk is ClockTrust.UNSET, "a restart does not launder it"
        clock.is_set()
        last = parse(await terminal.good_tap()).claims
        assert last.clk is ClockTrust.SYNCED
        assert last.seq == good.seq + 5
        stats = await terminal.agent.outbox.stats()
        assert (stats.pending, stats.evicted) == (6, 0), "no wall time decides what is kept"
