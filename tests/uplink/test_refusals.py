import pytest

from edge_agent.uplink.refusals import MAX_REFUSALS, MAX_REMEMBERED, Remedy, RowRefusals, delay_s, remedy_for


@pytest.mark.parametrize("code", [0x87, 0x90, 0x97])
def test_what_is_not_the_rows_fault_never_costs_a_row(code: int) -> None:
    found = {
        remedy_for(code, times, others_pass=passing) for times in (1, MAX_REFUSALS, 10**6) for passing in (True, False)
    }
    assert found == {Remedy.HOLD}


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91, 0xFE])
def test_an_unclear_refusal_is_tried_again_but_not_for_ever(code: int) -> None:
    assert remedy_for(code, MAX_REFUSALS - 1, others_pass=True) is Remedy.RETRY
    assert remedy_for(code, MAX_REFUSALS, others_pass=True) is Remedy.PARK


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91, 0xFE])
def test_a_broker_that_refuses_all_and_sundry_costs_no_row(code: int) -> None:
    assert remedy_for(code, MAX_REFUSALS - 1, others_pass=False) is Remedy.RETRY
    assert {remedy_for(code, times, others_pass=False) for times in (MAX_REFUSALS, 10**6)} == {Remedy.HOLD}


def test_a_wrong_payload_is_parked_at_once() -> None:
    assert remedy_for(0x99, 1, others_pass=False) is Remedy.PARK


def test_the_delay_doubles_up_to_a_minute() -> None:
    assert [delay_s(times) for times in (1, 2, 3, 7, 10**9)] == [1, 2, 4, 60, 60]


def test_rows_that_are_refused_for_ever_do_not_fill_the_memory() -> None:
    refusals = RowRefusals()
    for seq in range(10 * MAX_REMEMBERED):
        refusals.again(b"chain--1", seq)
    assert len(refusals) == MAX_REMEMBERED
    assert refusals.again(b"chain--1", 10 * MAX_REMEMBERED - 1) == (2, False)


def test_a_row_that_was_taken_at_last_is_forgotten_in_whatever_batch_it_went() -> None:
    refusals = RowRefusals()
    for seq in (3, 4, 9):
        refusals.again(b"chain--1", seq)
    refusals.again(b"chain--2", 4)
    refusals.taken(b"chain--1", 1, 8)
    assert len(refusals) == 2
    assert refusals.again(b"chain--1", 9) == (2, True), "others passed since"
    assert refusals.again(b"chain--1", 9) == (3, False)
    assert refusals.again(b"chain--1", 3) == (1, False)
    refusals.forget(b"chain--1", 9)
    assert refusals.again(b"chain--1", 9) == (1, False)
