import ctypes
import time
from pathlib import Path

import pytest

from edge_agent import clock as clock_module
from edge_agent.clock import FakeClock, SystemClock, kernel_clock_synced
from edge_agent.models import ClockTrust


def test_the_kernel_is_asked_and_its_answer_is_a_plain_yes_or_no() -> None:
    assert kernel_clock_synced() in {True, False}


def test_a_kernel_that_does_not_answer_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def adjtimex(self, _timex: object) -> int:
            return -1  # EPERM under a system call filter

    monkeypatch.setattr(clock_module, "_LIBC", Refusing())
    assert kernel_clock_synced() is False


def test_timex_is_as_large_as_the_kernels() -> None:
    # struct timex is 208 bytes on LP64; a smaller buffer would be overrun by adjtimex(2).
    assert ctypes.sizeof(clock_module._Timex) >= 208


def test_a_reading_carries_boot_id_and_uptime() -> None:
    reading = SystemClock().read()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")
    assert reading.boot.hex() == boot_id[:16]
    assert abs(reading.up - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert abs(reading.unix - time.time()) < 5


def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, synced: list[bool], rtc: str | None) -> SystemClock:
    answers = iter(synced)
    last = [synced[0]]

    def kernel() -> bool:
        last[0] = next(answers, last[0])
        return last[0]

    hctosys = tmp_path / "hctosys"
    if rtc is not None:
        hctosys.write_text(rtc)
    monkeypatch.setattr(clock_module, "RTC_SET_THE_CLOCK_FILE", hctosys)
    monkeypatch.setattr(clock_module, "kernel_clock_synced", kernel)
    return SystemClock()


def later(clock: SystemClock) -> ClockTrust:
    """Read again after the trust has aged."""
    clock._synced_until = 0.0
    return clock.read().trust


def test_never_synced_and_no_rtc_is_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, tmp_path, synced=[False], rtc=None).read().trust is ClockTrust.UNSET
    assert make(monkeypatch, tmp_path, synced=[False], rtc="0\n").read().trust is ClockTrust.UNSET


def test_an_rtc_that_set_the_clock_is_holdover(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, tmp_path, synced=[False], rtc="1\n").read().trust is ClockTrust.HOLDOVER


def test_sync_lost_is_holdover_and_sync_found_is_synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = make(monkeypatch, tmp_path, synced=[False, True, False], rtc=None)
    assert [later(clock), later(clock), later(clock)] == [ClockTrust.UNSET, ClockTrust.SYNCED, ClockTrust.HOLDOVER]


def test_a_wall_clock_at_1970_is_unset_whatever_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = make(monkeypatch, tmp_path, synced=[True], rtc="1\n")
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert clock.read().trust is ClockTrust.UNSET
    assert SystemClock(assume_synced=True).read().trust is ClockTrust.UNSET


def test_a_step_amid_a_reading_never_leaves_the_old_time_with_the_new_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = [1_780_000_000.0]

    def stepped_by_ntp_just_before_the_kernel_is_asked() -> bool:
        wall[0] = 1_790_000_000.0
        return True

    monkeypatch.setattr(time, "time", lambda: wall[0])
    monkeypatch.setattr(clock_module, "kernel_clock_synced", stepped_by_ntp_just_before_the_kernel_is_asked)
    reading = SystemClock().read()
    assert (reading.trust, reading.unix) == (ClockTrust.SYNCED, 1_790_000_000)


def test_the_kernel_is_asked_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = make(monkeypatch, tmp_path, synced=[False, True], rtc=None)
    assert {clock.read().trust for _ in range(100)} == {ClockTrust.UNSET}


def test_a_machine_whose_host_keeps_the_time_can_say_so() -> None:
    assert SystemClock(assume_synced=True).read().trust is ClockTrust.SYNCED


def test_fake_clock_steps_wall_alone() -> None:
    clock = FakeClock()
    before = clock.read()
    clock.step_wall(-1000)
    clock.advance(2)
    after = clock.read()
    assert after.unix == before.unix - 998
    assert after.up == before.up + 2
    assert clock.monotonic() == 1002.0


def test_a_step_by_hand_costs_the_trust_at_once_and_not_when_the_kernel_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = make(monkeypatch, tmp_path, synced=[True, False], rtc="1\n")
    assert clock.read().trust is ClockTrust.SYNCED
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real - 14 * 86_400)
    assert clock.read().trust is ClockTrust.UNSET


def test_a_restart_within_a_boot_keeps_the_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = make(monkeypatch, tmp_path, synced=[True], rtc=None).read()
    clock = make(monkeypatch, tmp_path, synced=[False], rtc=None)
    clock.recall(before)
    assert clock.read().trust is ClockTrust.HOLDOVER
