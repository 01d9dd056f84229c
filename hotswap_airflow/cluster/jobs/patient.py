"""Requests to a cluster that wait until there is an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hotswap_airflow.errors import CommandFailed, ConnectionLost, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hotswap_airflow.cluster.remote.client import ClusterClient

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two requests: at first, and at most."""
Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class PatientClient:
    """The client of one waiting task; ``report`` takes lines for the task's log."""

    def __init__(self, client: ClusterClient, report: Callable[[str], None]) -> None:
        self.client = client
        self.report = report

    async def ask(
        self, request: Callable[Arguments, Awaitable[Value]], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value:
        """Repeat a request until it is answered; a lost connection or a garbled answer is waited out.

        Raises what else the request raises.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                return await request(*args, **kwargs)
            except (ConnectionLost, UnreadableAnswer) as error:
                if pause == FIRST_PAUSE:
                    self.report(f"waiting for {self.client.name}: {error}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def queue(self, cluster: str = "") -> Mapping[str, bool]:
        """The account's unfinished jobs by name, and whether each is active. Raises ``ConnectionLost``."""
        try:
            return await self.client.on(cluster).unfinished()
        except CommandFailed as error:
            raise ConnectionLost(str(error)) from error
