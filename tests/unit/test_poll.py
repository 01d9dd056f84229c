"""What a poll makes of the rows of the queue, of which there may be thousands."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hotswap_airflow.cluster.remote.framing import in_slices
from hotswap_airflow.cluster.watch import poll
from hotswap_airflow.cluster.watch.poll import by_index, by_job
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.slurm.array import Array, indices_in
from hotswap_airflow.slurm.array_state import ArrayState, ElementEnds, Tally
from hotswap_airflow.slurm.history.notes import FolderNote
from hotswap_airflow.slurm.parsing import QueuedJob, parse_squeue
from hotswap_airflow.slurm.states import JobStatus

FAILED, RUNNING = JobStatus("FAILED"), JobStatus("RUNNING")
MANY = 2_000


async def test_a_row_without_an_index_stands_for_the_rest() -> None:
    rows = [QueuedJob("7_0", "a", RUNNING), QueuedJob("7", "a", FAILED), QueuedJob("8_1", "b", RUNNING)]
    rows_of = await by_job(rows, {(7, "a"), (8, "b"), (8, "c")})
    assert await by_index(rows_of[7, "a"], [0, 1, 2]) == {0: RUNNING, 1: FAILED, 2: FAILED}
    assert await by_index(rows_of[8, "b"], [0, 1]) == {1: RUNNING}
    assert (8, "c") not in rows_of


class Turns:
    """Somebody beside who counts how often it is their turn."""

    count = 0

    async def take(self) -> None:
        """Until cancelled."""
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def test_others_have_their_turn_while_thousands_of_rows_are_read() -> None:
    turns = Turns()
    beside = asyncio.create_task(turns.take())
    queue = "".join(f"{number}|PENDING|Priority||somebody\n" for number in range(10_000))
    rows = [row async for row in in_slices(parse_squeue(queue))]
    beside.cancel()
    assert (len(rows), rows[-1].base_id, turns.count) == (10_000, 9_999, 40)


class Queue:
    """A cluster whose queue has a row for each element of some sweeps."""

    transport = None
    has_push = False

    slurm_cluster = ""

    def __init__(self, sweeps: int, elements: int) -> None:
        self.ids = [(sweep, element) for sweep in range(sweeps) for element in range(elements)]

    async def status(self, digests: Iterable[str]) -> tuple[list[QueuedJob], dict[str, FolderNote]]:
        """All elements run."""
        rows = [QueuedJob(f"{sweep}_{element}", "a", RUNNING) for sweep, element in self.ids]
        return rows, {digest: FolderNote(None, 0, None) for digest in digests}

    async def home(self) -> str:
        """Its name."""
        return "main"

    def on(self, _: str) -> Queue:
        """There is one cluster only."""
        return self

    async def ends(self, digests: Iterable[str]) -> dict[str, ElementEnds]:
        """No element has noted its end."""
        return {digest: ElementEnds() for digest in digests}


@pytest.mark.parametrize(("sweeps", "elements_of_each"), [(1, MANY), (20, MANY // 20)])
async def test_others_have_their_turn_while_thousands_of_elements_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, sweeps: int, elements_of_each: int
) -> None:
    turns = Turns()

    def counted(look_at: Callable[..., Any], counts: Counter[int]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            counts[turns.count] += 1
            return look_at(*arguments)

        return count

    rows, indices, elements = Counter[int](), Counter[int](), Counter[int]()
    monkeypatch.setattr(poll, "indices_in", counted(indices_in, rows))
    monkeypatch.setattr(ArrayState, "_judged", counted(ArrayState._judged, indices))
    monkeypatch.setattr(ArrayState, "element", counted(ArrayState.element, elements))
    watcher = JobWatcher(Queue(sweeps, elements_of_each))  # type: ignore[arg-type]
    beside = asyncio.create_task(turns.take())
    array = Array(("x",), (("1",),) * elements_of_each)
    jobs = [watcher.watch(f"d{sweep}", "a", sweep, 0.0, ArrayState(array)) for sweep in range(sweeps)]
    news = [await job.observe() for job in jobs]
    beside.cancel()
    await watcher.close()
    assert {each.tally for each in news} == {Tally(running=elements_of_each)}
    for counts in (rows, indices, elements):
        assert counts.total() == MANY
        assert max(counts.values()) <= 250
