"""Whose turn it is to submit below a limit."""

from __future__ import annotations

import asyncio

import pytest

from hotswap_airflow.cluster.jobs import submit_queue
from hotswap_airflow.cluster.jobs.submit_queue import Turns


async def _waiting(queue: Turns, group: str, name: str, said: list[str], done: list[str]) -> None:
    async with queue.turn(group, lambda line: said.append(f"{name}: {line}")):
        done.append(name)


async def test_groups_take_turns_and_everybody_hears_the_place() -> None:
    queue, said, done = Turns(), list[str](), list[str]()
    tasks = []
    async with queue.turn("a", said.append):
        assert queue.is_limited
        for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
            tasks.append(asyncio.create_task(_waiting(queue, name[0], name, said, done)))
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert done == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert said[3] == "b1: waiting to be submitted: number 2 of 4 in the queue"
    assert said[5] == "b2: waiting to be submitted: number 5 of 6 in the queue"
    assert (queue.is_limited, len(queue)) == (False, 0)


async def test_whoever_gives_up_holds_up_nobody() -> None:
    queue, said, done = Turns(), list[str](), list[str]()
    async with queue.turn("a", said.append):
        tasks = [asyncio.create_task(_waiting(queue, "a", name, said, done)) for name in ("one", "two")]
        await asyncio.sleep(0)
        tasks[0].cancel()
    # Its turn came together with its end.
    last = asyncio.create_task(_waiting(queue, "a", "three", said, done))
    results = await asyncio.gather(*tasks, last, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert done == ["two", "three"]
    assert not queue.is_limited


async def test_the_pause_between_probes_grows_until_something_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(submit_queue.asyncio, "sleep", sleep)
    queue = Turns()
    for _ in range(6):
        await queue.refused()
    queue.accepted()
    await queue.refused()
    assert slept == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 1.0]


async def test_more_go_at_a_time_as_long_as_all_are_taken() -> None:
    queue, said = Turns(), list[str]()
    at_once: list[int] = []
    has_turn = 0

    async def one() -> None:
        nonlocal has_turn
        async with queue.turn("a", said.append):
            has_turn += 1
            at_once.append(has_turn)
            await asyncio.sleep(0.001)
            queue.accepted()
            has_turn -= 1

    await asyncio.gather(*(one() for _ in range(60)))
    assert at_once[:2] == [1, 1]
    assert 10 < max(at_once) <= submit_queue.WIDEST
    assert (queue.is_limited, len(queue)) == (False, 0)
