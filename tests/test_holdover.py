"""Which wall clock is worth a token that can be redeemed: whatever is done to it, trust never rests on a step back."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.holdover import EARLIEST_SANE_UNIX, SLACK_S, Holdover
from edge_agent.models import ClockReading, ClockTrust

NOW = 1_790_000_000
A, B = b"boot-aaa", b"boot-bbb"
TWO_WEEKS_S = 14 * 86_400
UNSET, HOLDOVER, SYNCED = ClockTrust.UNSET, ClockTrust.HOLDOVER, ClockTrust.SYNCED


def good(unix: int = NOW, boot: bytes = A, up: int = 100) -> ClockReading:
    """A last good time, as it was kept on disk."""
    return ClockReading(unix, HOLDOVER, boot, up)


def recalled(mark: ClockReading, *, rtc: bool) -> Holdover:
    holdover = Holdover(rtc=rtc)
    holdover.recall(mark)
    return holdover


def test_a_restart_of_the_process_keeps_the_trust_of_its_boot() -> None:
    holdover = recalled(good(), rtc=False)
    assert holdover.judge(NOW + 3600, A, 3700, synced=False).trust is HOLDOVER


@pytest.mark.parametrize("step_s", [-TWO_WEEKS_S, -60, 60, TWO_WEEKS_S])
@pytest.mark.parametrize("rtc", [False, True])
def test_a_clock_that_was_set_by_hand_since_then_is_unset(step_s: int, rtc: bool) -> None:
    holdover = recalled(good(), rtc=rtc)
    assert holdover.judge(NOW + 600 + step_s, A, 700, synced=False).trust is UNSET
    assert holdover.good == good()


def test_another_boot_is_trusted_only_with_an_rtc() -> None:
    assert recalled(good(), rtc=False).judge(NOW + 500, B, 20, synced=False).trust is UNSET
    assert recalled(good(), rtc=True).judge(NOW + 500, B, 20, synced=False).trust is HOLDOVER


def test_a_dead_battery_is_unset_and_stays_so_when_its_time_passes_the_last_good_one() -> None:
    for up in (20, 3600 * 24, TWO_WEEKS_S + 40):
        fresh = recalled(good(), rtc=True)  # a new process every time: nothing but the disk remembers
        assert fresh.judge(NOW - TWO_WEEKS_S + up, B, up, synced=False).trust is UNSET


def test_what_was_trusted_before_the_last_good_time_was_read_is_judged_anew() -> None:
    holdover = Holdover(rtc=True)
    assert holdover.judge(NOW - TWO_WEEKS_S, B, 20, synced=False).trust is HOLDOVER, "nothing speaks against it yet"
    holdover.recall(good())
    assert holdover.judge(NOW - TWO_WEEKS_S + 1, B, 21, synced=False).trust is UNSET


def test_a_sync_of_this_run_is_better_than_what_was_kept() -> None:
    holdover = Holdover(rtc=False)
    holdover.judge(NOW, B, 20, synced=True)
    holdover.recall(good(NOW + TWO_WEEKS_S))  # the time of a server that was wrong
    assert holdover.judge(NOW + 5, B, 25, synced=False).trust is HOLDOVER


def test_a_doubted_clock_is_trusted_again_after_a_sync_only() -> None:
    holdover = recalled(good(), rtc=True)
    assert holdover.judge(NOW - 60, A, 110, synced=False).trust is UNSET
    assert holdover.judge(NOW + 11, A, 111, synced=False).trust is UNSET, "set back and forth by hand"
    assert holdover.judge(NOW + 12, A, 112, synced=True).trust is SYNCED
    assert holdover.judge(NOW + 13, A, 113, synced=False).trust is HOLDOVER


def test_a_clock_of_1970_is_unset_even_if_the_kernel_calls_it_synced() -> None:
    holdover = Holdover(rtc=True)
    assert holdover.judge(86_400, A, 10, synced=True).trust is UNSET
    assert holdover.judge(86_401, A, 11, synced=False).trust is UNSET


@dataclass
class World:
    """The clocks of one terminal, and what happens to them."""

    unix: int = NOW
    up: int = 10
    boot: int = 0
    synced: bool = False

    def happens(self, what: str, amount: int) -> None:
        if what == "pass":
            self.up += amount
        if what in {"pass", "step", "sync"}:
            self.unix += amount
        if what in {"step", "lose"}:  # settimeofday(2) ends the discipline
            self.synced = False
        if what == "sync":
            self.synced = True
        if what == "boot":
            self.unix, self.up, self.boot, self.synced = amount, 1, self.boot + 1, False


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 100_000)),
        st.tuples(st.just("step"), st.sampled_from([-TWO_WEEKS_S, -3600, -30, 30, 3600, TWO_WEEKS_S])),
        st.tuples(st.just("sync"), st.sampled_from([-TWO_WEEKS_S, -1, 0, 1, TWO_WEEKS_S])),
        st.tuples(st.just("boot"), st.sampled_from([0, NOW - TWO_WEEKS_S, NOW, NOW + 100_000])),
        st.tuples(st.sampled_from(["lose", "process"]), st.just(0)),
    ),
    max_size=40,
)


@given(EVENTS, st.booleans())
def test_trust_follows_from_a_sync_or_an_rtc_and_never_from_a_time_before_the_last_good_one(
    events: list[tuple[str, int]], rtc: bool
) -> None:
    world, holdover = World(), Holdover(rtc=rtc)
    kept: ClockReading | None = None
    for what, amount in [*events, ("pass", 1)]:
        world.happens(what, amount)
        if what in {"boot", "process"}:
            holdover = Holdover(rtc=rtc)
            if kept is not None:
                holdover.recall(kept)
        seen = holdover.judge(world.unix, world.boot.to_bytes(8, "big"), world.up, synced=world.synced)
        assert (seen.unix, seen.up) == (world.unix, world.up)
        assert (seen.trust is SYNCED) == (world.synced and world.unix >= EARLIEST_SANE_UNIX)
        if seen.trust is HOLDOVER:
            assert kept is not None or rtc
            assert kept is None or seen.unix >= kept.unix - SLACK_S, "clk 1 before the last good time"
            assert rtc or kept is None or kept.boot == seen.boot, "a new boot without RTC knows nothing"
        if seen.trust is not UNSET:
            kept = seen
            assert holdover.good == seen
