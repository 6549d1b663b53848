"""Story 13: no clock at boot (1970), and a clock that is set back two weeks. Tokens say so; taps go on."""

from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.models import ClockReading, ClockTrust
from edge_agent.simulation.odd_phones import Vanishing
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from tests.fakes.whole_agent import whole_path

TWO_WEEKS_S = 14 * 86_400


class SteppedClock:
    """The real clocks, but the wall clock is what somebody made of it."""

    def __init__(self) -> None:
        self.step_s = 0
        self.set = True
        self._real = SystemClock(assume_synced=True)

    def monotonic(self) -> float:
        return self._real.monotonic()

    def read(self) -> ClockReading:
        real = self._real.read()
        if not self.set:
            return ClockReading(unix=real.up, trust=ClockTrust.UNSET, boot=real.boot, up=real.up)
        return ClockReading(unix=real.unix + self.step_s, trust=real.trust, boot=real.boot, up=real.up)


async def test_a_tap_of_1970_is_kept_and_can_never_be_redeemed(tmp_path: Path) -> None:
    clock = SteppedClock()
    clock.set = False
    async with whole_path(tmp_path, clock=clock) as path:
        claims = parse(await path.terminal.good_tap()).claims
        assert (claims.clk, claims.exp) == (ClockTrust.UNSET, claims.iat)
        assert claims.up > 0
        assert claims.boot == clock.read().boot
        part = await path.terminal.has_component("clock", "degraded")
        assert "redeemed" in part["detail"]
        clock.set = True
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
        clock.step_s = -TWO_WEEKS_S
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
