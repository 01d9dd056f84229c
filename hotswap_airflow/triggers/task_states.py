"""States of tasks as the scheduler sees them, requested from within a trigger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

if TYPE_CHECKING:
    from collections.abc import Mapping

REMOVED = "removed"
"""The state of a task that does not exist, for example because its run was deleted."""
LOOK_UP_LIMIT = 60.0
"""Seconds that Airflow may take to answer a request of a trigger. A lost request would wait for ever."""
ENDED = frozenset({"failed", "success", "skipped", "upstream_failed", REMOVED})


async def task_state(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """The state of one task; None before it is scheduled. Raises ``TimeoutError`` if Airflow does not answer."""
    states = await _ask(dag_id=dag_id, run_ids=[run_id], task_ids=[task_id], map_index=map_index)
    return state_of(states.get(run_id) or {}, task_id, map_index)


async def run_states(dag_id: str, run_id: str) -> Mapping[str, str | None]:
    """The states of all tasks of a run, for ``state_of``. Raises ``TimeoutError``."""
    states = await _ask(dag_id=dag_id, run_ids=[run_id])
    return states.get(run_id) or {}


def state_of(states: Mapping[str, str | None], task_id: str, map_index: int) -> str | None:
    """The state of one task of a run. Airflow names a task by its id, and a mapped task also by its index.

    >>> state_of({"fit_3": "deferred"}, "fit", 3), state_of({"fit_3": "deferred"}, "fit", -1)
    ('deferred', 'removed')
    """
    return states.get(task_id if map_index < 0 else f"{task_id}_{map_index}", REMOVED)


async def _ask(**which: Any) -> Mapping[str, Mapping[str, str | None]]:
    async with asyncio.timeout(LOOK_UP_LIMIT):
        found: Mapping[str, Mapping[str, str | None]] = await asyncio.to_thread(
            RuntimeTaskInstance.get_task_states, **which
        )
    return found
