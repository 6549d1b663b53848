from hypothesis import given
from hypothesis import strategies as st

from edge_agent.models import ComponentState
from edge_agent.supervision.health import HealthBoard


def board_of(*names: str, deadline_s: float | None = 5.0) -> HealthBoard:
    board = HealthBoard()
    for name in names:
        board.register(name, 0.0, deadline_s=deadline_s)
    return board


def test_is_starting_until_every_part_has_reported() -> None:
    board = board_of("reader", "outbox")
    assert board.snapshot(0).state == ComponentState.STARTING
    board.report("reader", ComponentState.OK, 1)
    assert board.snapshot(1).state == ComponentState.STARTING
    board.report("outbox", ComponentState.OK, 1)
    assert board.snapshot(1).state == ComponentState.OK


def test_a_part_that_misses_its_deadline_is_late_and_not_alive() -> None:
    board = board_of("reader", "outbox")
    for name in ("reader", "outbox"):
        board.report(name, ComponentState.OK, 0)
    board.check_in("outbox", 5)
    assert board.snapshot(5.0).alive
    health = board.snapshot(6.0)
    assert health.late == ("reader",)
    assert not health.alive
    assert health.state == ComponentState.FAILED
    assert health.components[0].detail == "no sign of life for 6 s"
    assert health.components[0].since == 5.0
    board.check_in("reader", 7)
    assert board.snapshot(7).alive
    assert board.snapshot(7).state == ComponentState.OK


def test_a_degraded_part_that_checks_in_is_alive() -> None:
    board = board_of("reader")
    board.report("reader", ComponentState.DEGRADED, 1, "unplugged")
    health = board.snapshot(2)
    assert health.alive
    assert health.state == ComponentState.DEGRADED
    assert health.components[0].detail == "unplugged"


def test_since_tells_when_the_state_began() -> None:
    board = board_of("reader")
    board.report("reader", ComponentState.DEGRADED, 1)
    board.report("reader", ComponentState.DEGRADED, 3, "still")
    assert board.snapshot(4).components[0].since == 1
    board.report("reader", ComponentState.OK, 4)
    assert board.snapshot(4).components[0].since == 4


def test_a_crashed_part_waits_for_its_restart_without_a_deadline() -> None:
    board = board_of("uplink")
    board.crashed("uplink", 1, "ValueError: no")
    health = board.snapshot(100)
    assert (health.state, health.late) == (ComponentState.FAILED, ())
    assert (health.components[0].restarts, health.components[0].detail) == (1, "ValueError: no")
    board.restarted("uplink", 100)
    health = board.snapshot(101)
    assert health.components[0].state == ComponentState.STARTING
    assert health.components[0].detail == "ValueError: no"
    assert not board.snapshot(106).alive


def test_what_is_not_critical_neither_starves_the_watchdog_nor_fails_the_agent() -> None:
    board = board_of("reader", deadline_s=None)
    board.register("screen", 0, deadline_s=1, critical=False)
    board.report("reader", ComponentState.OK, 0)
    health = board.snapshot(10)
    assert health.alive
    assert health.state == ComponentState.DEGRADED
    board.crashed("screen", 10, "gone")
    assert board.snapshot(10).state == ComponentState.DEGRADED


def test_parts_that_stand_in_for_each_other_fail_only_together() -> None:
    board = HealthBoard()
    for name in ("nfc0", "tag0"):
        board.register(name, 0.0, group="readers")
        board.report(name, ComponentState.OK, 0)
    board.register("outbox", 0.0)
    board.report("outbox", ComponentState.OK, 0)
    board.report("nfc0", ComponentState.FAILED, 1)
    assert board.snapshot(1).state == ComponentState.DEGRADED
    board.report("tag0", ComponentState.DEGRADED, 1)  # shows no ticket: it takes no tap either
    assert board.snapshot(1).state == ComponentState.FAILED
    board.report("nfc0", ComponentState.OK, 2)
    board.report("outbox", ComponentState.FAILED, 2)
    assert board.snapshot(2).state == ComponentState.FAILED


def test_a_stopped_part_is_no_failure() -> None:
    board = board_of("reader", "outbox", deadline_s=5)
    board.report("outbox", ComponentState.OK, 100)
    board.report("reader", ComponentState.OK, 0)
    board.stopped("reader", 1)
    assert board.snapshot(100).state == ComponentState.OK
    assert board.snapshot(100).alive
    board.stopped("outbox", 100)
    assert board.snapshot(100).state == ComponentState.STOPPED


def test_as_dict_is_what_status_prints() -> None:
    board = board_of("reader")
    board.report("reader", ComponentState.OK, 1, "pn532")
    assert board.snapshot(3.25).as_dict() == {
        "state": "ok",
        "late": [],
        "components": [{"name": "reader", "state": "ok", "detail": "pn532", "restarts": 0, "since_s": 2.2}],
    }


events = st.lists(
    st.tuples(
        st.sampled_from(["check_in", "report", "crashed", "restarted", "stopped"]),
        st.sampled_from("ab"),
        st.integers(0, 9),
    ),
    max_size=30,
)


@given(events)
def test_alive_means_that_every_watched_critical_part_came_by_in_time(history: list[tuple[str, str, int]]) -> None:
    board = HealthBoard()
    board.register("a", 0, deadline_s=5)
    board.register("b", 0, deadline_s=5, critical=False)
    last_seen: float | None = 0
    now = 0
    for what, name, pause in history:
        now += pause
        match what:
            case "report":
                board.report(name, ComponentState.OK, now)
            case "crashed":
                board.crashed(name, now, "error")
            case "check_in":
                board.check_in(name, now)
            case "restarted":
                board.restarted(name, now)
            case "stopped":
                board.stopped(name, now)
        if name == "a":
            last_seen = None if what in {"crashed", "stopped"} else now
        health = board.snapshot(now + 3)
        assert health.alive is (last_seen is None or now + 3 - last_seen <= 5)


def test_a_part_for_which_another_speaks_is_as_late_as_its_own_last_sign() -> None:
    board = HealthBoard()
    board.register("nfc0", 100.0, deadline_s=8)
    for now in range(100, 109):
        board.report("nfc0", ComponentState.OK, float(now), sign=100.0)
        assert board.snapshot(float(now)).late == ()
    board.report("nfc0", ComponentState.OK, 108.5, sign=100.0)
    assert board.snapshot(108.5).late == ("nfc0",)
    board.report("nfc0", ComponentState.OK, 109.0, sign=109.0)
    assert board.snapshot(109.0).late == ()
    board.report("nfc0", ComponentState.OK, 109.0, sign=1e9)
    assert board.snapshot(118.0).late == ("nfc0",), "no sign comes from the future"
