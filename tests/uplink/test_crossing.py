"""From a thread to the event loop and no further."""

import asyncio
import threading

from edge_agent.uplink.crossing import Crossing
from tests.fakes.waiting import eventually


async def test_events_arrive_in_order_on_the_loop_and_calls_behind_them() -> None:
    got: list[object] = []
    crossing: Crossing[int] = Crossing(got.append, most=1000, room_again=lambda: None)
    loop_thread = threading.get_ident()

    def bring() -> None:
        for number in range(100):
            crossing.add(number)
            if number % 7 == 0:
                crossing.flush()
        crossing.flush()
        crossing.call(lambda: got.append(threading.get_ident()))

    thread = threading.Thread(target=bring)
    thread.start()
    await eventually(lambda: len(got) == 101)
    thread.join()
    assert got == [*range(100), loop_thread]
    assert crossing._undelivered == 0


async def test_a_full_crossing_says_so_and_tells_when_there_is_room_again() -> None:
    got: list[int] = []
    told: list[int] = []
    crossing: Crossing[int] = Crossing(got.append, most=3, room_again=lambda: told.append(len(got)))
    for number in range(3):
        assert not crossing.is_full
        crossing.add(number)
        crossing.flush()
    assert crossing.is_full
    await asyncio.sleep(0)
    assert not crossing.is_full
    assert (got, told) == ([0, 1, 2], [1])


def test_a_loop_that_is_closed_hears_nothing_and_harms_nobody() -> None:
    async def build() -> Crossing[int]:
        return Crossing(lambda _: None, most=1, room_again=lambda: None)

    crossing = asyncio.run(build())
    crossing.add(1)
    crossing.flush()
    assert crossing.leads_nowhere
