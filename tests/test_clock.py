import ctypes
import time
from pathlib import Path

import pytest

from edge_agent import clock as clock_module
from edge_agent.clock import FakeClock, SystemClock, boot_id, kernel_clock_synced
from edge_agent.models import ClockTrust


class Refusing:
    """The kernel under a system call filter: EPERM."""

    def adjtimex(self, _timex: object) -> int:
        return -1


def test_the_kernel_is_asked_and_its_answer_is_a_plain_yes_or_no() -> None:
    assert kernel_clock_synced() in {True, False}


def test_a_kernel_that_does_not_answer_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "_LIBC", Refusing())
    assert kernel_clock_synced() is False


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("synced {now!r}", True),
        ("unsynced {now:.3f}", False),
        ("synced {old:.3f}", False),
        ("synced {later:.3f}", False),
        ("synced nan", False),
        ("synced", False),
        ("", False),
        (None, False),
    ],
)
def test_where_a_sandbox_forbids_the_question_the_witness_s_word_counts_while_it_is_fresh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str | None, expected: bool
) -> None:
    told, now = tmp_path / "kernel", time.monotonic()
    if word is not None:
        told.write_text(word.format(now=now, old=now - 60, later=now + 3600))
    monkeypatch.setattr(clock_module, "_LIBC", Refusing())
    monkeypatch.setattr(clock_module, "WITNESS_FILE", told)
    assert kernel_clock_synced() is expected


def test_without_proc_the_boot_id_is_what_the_manager_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clock_module, "BOOT_ID_FILE", tmp_path / "hidden")
    assert boot_id({"EDGE_AGENT_BOOT_ID": "00112233445566778899aabbccddeeff"})[:3] == b"\x00\x11\x22"
    with pytest.raises(FileNotFoundError):
        boot_id({})


def test_timex_is_as_large_as_the_kernels() -> None:
    # struct timex is 208 bytes on LP64; a smaller buffer would be overrun by adjtimex(2).
    assert ctypes.sizeof(clock_module._Timex) >= 208


def test_a_reading_carries_boot_id_and_uptime() -> None:
    reading = SystemClock().read()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")
    assert reading.boot.hex() == boot_id[:16]
    assert abs(reading.up - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    assert abs(reading.unix - time.time()) < 60


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
    tick = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: tick)
    assert clock.read().trust is ClockTrust.UNSET
    tick += 0.99
    assert {clock.read().trust for _ in range(100)} == {ClockTrust.UNSET}
    tick += 0.02
    assert clock.read().trust is ClockTrust.SYNCED


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
