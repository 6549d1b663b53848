import pytest

from edge_agent.uplink.refusals import MAX_REFUSALS, Remedy, delay_s, remedy_for


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
