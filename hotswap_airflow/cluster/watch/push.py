"""Ends of jobs that are told as they come, so that nobody waits for the next poll. Polling stays the truth."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hotswap_airflow.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hotswap_airflow.cluster.remote.client import ClusterClient

_UNKNOWN = "unknown"
PAUSE = 1.0
"""Seconds between two ends that are heard: those in between are seen by the same look."""
REST = 15.0
"""Seconds before a login node that gave no answer is listened to again."""


class Listeners:
    """Listens to the accounts whose jobs tell of their ends; ``hear`` is called for each that is new."""

    def __init__(self, hear: Callable[[], None]) -> None:
        self._hear = hear
        self._tasks: dict[ClusterClient, asyncio.Task[None]] = {}

    def listen_to(self, clients: Iterable[ClusterClient]) -> None:
        """Listen to these accounts, and to no others any more."""
        wanted = {client for client in clients if client.has_push}
        for client, task in self._tasks.items():
            if client not in wanted:
                task.cancel()
        self._tasks = {client: task for client, task in self._tasks.items() if not task.done()}
        for client in wanted - self._tasks.keys():
            self._tasks[client] = asyncio.get_running_loop().create_task(self._listen(client))

    async def _listen(self, client: ClusterClient) -> None:
        last = _UNKNOWN
        while True:
            try:
                now = await client.wait_for_end(last)
            except ClusterError:  # told by the poll
                await asyncio.sleep(REST)
                continue
            if last not in {now, _UNKNOWN}:
                self._hear()
                await asyncio.sleep(PAUSE)
            last = now

    async def close(self) -> None:
        """Listen no more; whoever is cancelled meanwhile closes again."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        self._tasks = {}
