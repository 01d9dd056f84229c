"""Many questions in one round trip."""

from __future__ import annotations

import asyncio

import pytest

from hotswap_airflow.cluster.remote.batching import Coalescer
from hotswap_airflow.errors import ConnectionLost


class Trips:
    """What was asked together; each trip ends when it is let go."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self.gate = asyncio.Event()

    async def ask(self, items: list[int]) -> list[str | Exception]:
        self.made.append(items)
        await self.gate.wait()
        if items == [13]:
            raise ConnectionLost("nobody there")
        return [ValueError(str(item)) if item < 0 else str(item) for item in items]


async def _asked(coalescer: Coalescer[int, str], items: list[int]) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(coalescer(item)) for item in items]
    for _ in range(3):  # until each has asked and the first trips are under way
        await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_at_once_and_the_others_together() -> None:
    trips = Trips()
    tasks = await _asked(Coalescer(trips.ask, max_items=3, at_once=1, pace=0), [1, 2, 3, 4, 5])
    assert trips.made == [[1]]
    trips.gate.set()
    assert await asyncio.gather(*tasks) == ["1", "2", "3", "4", "5"]
    assert trips.made == [[1], [2, 3, 4], [5]]


async def test_no_more_trips_than_allowed_are_under_way() -> None:
    trips = Trips()
    tasks = await _asked(Coalescer(trips.ask, at_once=2, pace=0), [1, 2, 3, 4])
    assert trips.made == [[1], [2]]
    trips.gate.set()
    await asyncio.gather(*tasks)
    assert trips.made == [[1], [2], [3, 4]]


async def test_an_error_is_that_of_its_item_and_a_lost_trip_everybodys() -> None:
    trips = Trips()
    coalescer = Coalescer(trips.ask, at_once=1, pace=0)
    tasks = await _asked(coalescer, [13, -1, 2])
    trips.gate.set()
    with pytest.raises(ConnectionLost):
        await tasks[0]
    with pytest.raises(ValueError, match="-1"):
        await tasks[1]
    assert await tasks[2] == "2"
    assert await coalescer(7) == "7"


async def test_who_asks_no_more_is_left_out_and_holds_nobody_up() -> None:
    trips = Trips()
    coalescer = Coalescer(trips.ask, at_once=1, pace=0)
    tasks = await _asked(coalescer, [1, 2, 3])
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0)
    trips.gate.set()
    assert await tasks[2] == "3"
    assert trips.made == [[1], [3]]


async def test_few_questions_wait_for_others_and_many_do_not() -> None:
    trips = Trips()
    trips.gate.set()
    coalescer = Coalescer(trips.ask, max_items=3, pace=1000)
    tasks = await _asked(coalescer, [1, 2, 3])
    assert trips.made == [[1]]
    tasks += await _asked(coalescer, [4])
    assert trips.made == [[1], [2, 3, 4]]
    assert await asyncio.gather(*tasks) == ["1", "2", "3", "4"]
    paced = Coalescer(trips.ask, pace=0.02)
    assert await asyncio.gather(*(await _asked(paced, [5, 6, 7]))) == ["5", "6", "7"]
    assert trips.made[2:] == [[5], [6, 7]]
