"""Long answers are read without holding the event loop."""

from __future__ import annotations

import asyncio

from hotswap_airflow.cluster.answers import in_slices
from hotswap_airflow.slurm.parsing import parse_squeue


async def test_others_have_their_turn_while_thousands_of_rows_are_read() -> None:
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(another())
    queue = "".join(f"{number}|PENDING|Priority||somebody\n" for number in range(10_000))
    rows = [row async for row in in_slices(parse_squeue(queue))]
    beside.cancel()
    assert (len(rows), rows[-1].base_id, turns) == (10_000, 9_999, 40)
