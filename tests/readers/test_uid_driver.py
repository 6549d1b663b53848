"""What a reader of numbers hears, to the millisecond: a scripted line and a fake clock."""

import pytest
from structlog.testing import capture_logs

from edge_agent.clock import FakeClock
from edge_agent.errors import ReaderError, ReaderFault, SessionLost
from edge_agent.readers import uid_driver
from edge_agent.readers.profiles.base import ProfileSettings
from edge_agent.readers.profiles.make import make_parser
from edge_agent.readers.stays import LIMIT, Stays
from edge_agent.readers.uid_driver import LISTEN_S, SILENCE_S, UidDriver
from tests.fakes.scripted_line import ScriptedLine

A, B = b"A-0012345\r", b"B-0067890\r"
STX_ETX = b"\x020C000621A58E\x03"


class Bench:
    """A driver on a line that says ``script``."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *script: tuple[float, bytes], profile: str = "ascii_line"
    ) -> None:
        self.clock = FakeClock()
        self.line = ScriptedLine(self.clock, list(script))
        monkeypatch.setattr(uid_driver, "SerialLine", lambda *_args, **_kind: self.line)
        self.driver = UidDriver(
            "/dev/ttyS0",
            baud=9600,
            profile=profile,
            parser=make_parser(ProfileSettings(profile)),
            stays=Stays(gone_after_s=1.0),
            clock=self.clock,
        )
        self.driver.open()

    def at(self) -> float:
        return self.clock.monotonic() - self.line.opened_at

    def found(self, within_s: float = 3.0) -> bytes | None:
        until = self.at() + within_s
        while self.at() < until:
            if (found := self.driver.poll()) is not None:
                return found.target.uid.reveal()
        return None

    def gone_at(self) -> float:
        while self.driver.present():
            self.clock.advance(0.1)
        return self.at()


def test_idle_the_line_is_waited_on_and_nothing_else_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.line.waits.clear()
    for _ in range(10):
        assert bench.driver.poll() is None
    assert bench.line.waits == [pytest.approx(LISTEN_S)] * 10


def test_a_number_is_found_at_its_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, *((2 + 0.001 * place, bytes([byte])) for place, byte in enumerate(A)))
    assert bench.found() == A[:-1]
    assert bench.at() == pytest.approx(2.009)


def test_a_card_that_is_repeated_stays_until_a_second_after_its_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, *((1 + 0.065 * count, STX_ETX) for count in range(100)), profile="stx_etx_hex")
    assert bench.found() is not None
    assert bench.gone_at() == pytest.approx(1 + 0.065 * 99 + 1.0, abs=0.15)
    assert bench.found() is None


def test_a_card_that_is_said_once_stays_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (1.0, A), (5.0, A))
    assert bench.found() == A[:-1]
    assert bench.gone_at() == pytest.approx(2.0, abs=0.15)
    assert bench.found(5.0) == A[:-1]
    assert bench.at() == pytest.approx(5.0)


def test_another_card_takes_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (1.0, A), (1.2, B), (1.3, A))
    assert bench.found() == A[:-1]
    assert bench.gone_at() < 1.4
    assert bench.found() == B[:-1]
    assert bench.found() is None, "the first is still in its stay"


def test_a_card_whose_session_ended_without_its_leaving_is_found_at_its_next_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, (1.0, A), (1.1, A))
    assert bench.found() == A[:-1]
    assert bench.found() == A[:-1]


def test_two_halves_with_silence_between_are_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (1.0, b"A-00"), (1.1 + SILENCE_S, b"12345\r"), (3.0, A))
    assert bench.found() == b"12345", "a line of its own: nothing says that it is not whole"
    bench = Bench(monkeypatch, (1.0, STX_ETX[:7]), (1.1 + SILENCE_S, STX_ETX[7:]), profile="stx_etx_hex")
    assert bench.found() is None


def test_a_number_that_comes_slowly_is_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, *((1 + 0.1 * place, bytes([byte])) for place, byte in enumerate(A)))
    assert bench.found() == A[:-1]


def test_what_was_under_way_at_the_opening_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (0.01, b"45\r"), (0.5, A))
    assert bench.found() == A[:-1]
    bench = Bench(monkeypatch, (0.01, b"12"), (0.02, b"345\r"), (0.5, A))
    assert bench.found() == A[:-1]


def test_a_line_that_begins_after_the_opening_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (0.05, A))
    assert bench.found() == A[:-1]


def test_a_flood_does_not_keep_a_look_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (1.0, A), *((1.0, b"\xff" * 100) for _ in range(1000)))
    assert bench.found() == A[:-1]
    bench.line.waits.clear()
    bench.driver.present()
    assert len(bench.line.waits) < 20


def test_more_cards_than_anybody_can_hold_are_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (1.0, b"".join(b"card-%d\r" % number for number in range(LIMIT + 3))))
    with capture_logs() as logs:
        found = [bench.found() for _ in range(LIMIT + 1)]
    assert found == [b"card-%d" % number for number in range(LIMIT)] + [None]
    assert [entry["event"] for entry in logs] == ["serial_reader_crowded"]


def test_a_flood_of_numbers_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = (
        (1 + 0.05 * count, b"".join(b"%04d-%02d\r" % (count, card) for card in range(99))) for count in range(1400)
    )
    bench = Bench(monkeypatch, *flood)
    with capture_logs() as logs:
        while bench.at() < 69:
            bench.driver._listen(1.0)
    assert [entry["event"] for entry in logs].count("serial_reader_crowded") == 2


def test_nothing_but_damage_is_a_fault_that_names_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, *((1 + count, b"\x02\x80" * 3) for count in range(30)), profile="stx_etx_hex")
    with pytest.raises(ReaderError) as raised:
        bench.found(60.0)
    assert raised.value.fault is ReaderFault.NOT_UNDERSTOOD, "no reset and no power cycle cures a wrong setting"
    assert "edge-agent reader probe" in raised.value.remedy
    assert bench.at() < 10


def test_damage_on_a_line_that_was_understood_is_a_fault_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = ((2 + 0.001 * count, b"\x02\x80" * 100) for count in range(30))
    bench = Bench(monkeypatch, (1.0, STX_ETX), *damage, profile="stx_etx_hex")
    assert bench.found() is not None
    with pytest.raises(ReaderError) as raised:
        bench.found(60.0)
    assert raised.value.fault is ReaderFault.IO


def test_an_abort_ends_a_poll_and_an_opening_makes_up_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, (0.5, A))
    bench.driver.abort()
    assert bench.line.awake
    bench.line.waits.clear()
    assert bench.driver.poll() is None
    assert bench.line.waits == []
    bench.driver.open()
    assert bench.found() == A[:-1]


def test_it_takes_no_apdus_and_a_closed_one_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    with pytest.raises(SessionLost):
        bench.driver.exchange(b"\x00\xa4\x04\x00", 1.0)
    bench.driver.close()
    bench.driver.close()
    bench.driver.abort()
    assert bench.line.closed
