"""Notice of the ends of jobs at once, so that no task waits for the next regular poll. Only polls judge a job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hotswap_airflow.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hotswap_airflow.cluster.remote.client import ClusterClient

_UNKNOWN = "unknown"
PAUSE = 1.0
"""Seconds between two notices of an end: the same poll finds the ends in between."""
REST = 15.0
"""Seconds until the next request to a login node that gave no answer."""


class Listeners:
    """Waits for ends of jobs on accounts with push; ``notify`` is called after each new end."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._tasks: dict[ClusterClient, asyncio.Task[None]] = {}

    def listen_to(self, clients: Iterable[ClusterClient]) -> None:
        """Listen to the accounts with push among these, and stop listening to all others."""
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
            except ClusterError:  # the poll reports it
                await asyncio.sleep(REST)
                continue
            if last not in {now, _UNKNOWN}:
                self._notify()
                await asyncio.sleep(PAUSE)
            last = now

    async def close(self) -> None:
        """Stop listening. If this call is cancelled, it can be repeated."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        self._tasks = {}
