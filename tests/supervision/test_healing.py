"""Who gives no sign of life is healed a few times, then the agent is restarted; who comes back is left alone."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.supervision.healing import HEAL_EVERY_S, HEALS, WELL_FOR_S, GiveUp, Heal, Healing

ILL = {"nfc0": "silent"}


def test_the_first_heal_is_at_once_the_others_have_time_to_work_and_then_it_is_given_up() -> None:
    healing, done = Healing(), list[tuple[float, object]]()
    for tick in range(40):
        done += [(tick, todo) for todo in healing.look(ILL, 1000.0 + tick)]
    assert done[:4] == [
        (0, Heal("nfc0", "silent", 1)),
        (HEAL_EVERY_S, Heal("nfc0", "silent", 2)),
        (2 * HEAL_EVERY_S, Heal("nfc0", "silent", 3)),
        (3 * HEAL_EVERY_S, GiveUp("nfc0", "silent")),
    ]
    assert all(isinstance(todo, GiveUp) for _, todo in done[3:]), "who may not restart now is asked again"


def test_the_agent_is_not_restarted_for_a_part_that_another_stands_in_for() -> None:
    healing = Healing()
    ill = {"nfc0": "hangs"}
    done = [healing.look(ill, n * HEAL_EVERY_S, spared={"nfc0"}) for n in range(HEALS + 3)]
    assert done == [[Heal("nfc0", "hangs", n)] for n in range(1, HEALS + 1)] + [[]] * 3
    # Once nobody does any more it is.
    assert healing.look(ill, (HEALS + 3) * HEAL_EVERY_S) == [GiveUp("nfc0", "hangs")]


def test_a_part_that_was_well_for_long_begins_anew_and_one_that_only_blinks_does_not() -> None:
    healing = Healing()
    assert healing.look(ILL, 0.0) == [Heal("nfc0", "silent", 1)]
    assert healing.look({}, 5.0) == []
    assert healing.look({}, 6.0) == []
    assert healing.look(ILL, 20.0) == [Heal("nfc0", "silent", 2)]
    healing.look({}, 30.0)
    healing.look({}, 30.0 + WELL_FOR_S)
    assert healing.look(ILL, 200.0) == [Heal("nfc0", "silent", 1)]


@given(st.lists(st.tuples(st.floats(0, 90), st.sets(st.sampled_from(["nfc0", "nfc1", "uplink"]))), max_size=60))
def test_parts_are_counted_apart_and_nobody_well_is_touched(steps: list[tuple[float, set[str]]]) -> None:
    healing, now = Healing(), 0.0
    last: dict[str, float] = {}
    attempts: dict[str, int] = {}
    for passed, ill in steps:
        now += passed
        for todo in healing.look(dict.fromkeys(sorted(ill), "silent"), now):
            assert todo.name in ill
            assert now - last.get(todo.name, float("-inf")) >= HEAL_EVERY_S
            last[todo.name] = now
            if isinstance(todo, Heal):
                assert todo.attempt in {1, attempts.get(todo.name, 0) + 1}
                assert todo.attempt <= HEALS
                attempts[todo.name] = todo.attempt
            else:
                assert attempts[todo.name] == HEALS
