"""The progress of a sweep, as an XCom of its task. It is renewed while the sweep runs."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cluster.jobs.outcome import JobListener
from hotswap_airflow.slurm.array_state import PROGRESS_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hotswap_airflow.slurm.array_state import Tally
    from hotswap_airflow.slurm.states import JobStatus

INTERVAL = 10.0
"""Seconds between two renewals, even if elements end more quickly."""


class Progress(JobListener):
    """Passes the newest numbers to ``push``, at most once per interval; at the end also the name of the table."""

    def __init__(self, push: Callable[[str, Any], Awaitable[None]]) -> None:
        self._push = push
        self.table = ""
        self._newest: Tally | None = None
        self._pushed: tuple[Tally, str] | None = None
        self._news = asyncio.Event()

    def seen(self, status: JobStatus, tally: Tally | None) -> None:  # noqa: ARG002
        """Keep the newest tally."""
        if tally is not None:
            self._newest = tally
            self._news.set()

    async def keep_telling(self) -> None:
        """Push new numbers until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.tell()
            await asyncio.sleep(INTERVAL)

    async def tell(self) -> None:
        """Push the newest numbers if they changed. If Airflow gives no answer, a later call pushes newer numbers."""
        tally, table = self._newest, self.table
        if tally is None or (tally, table) == self._pushed:
            return
        pointer = {"table": table} if table else {}
        with contextlib.suppress(TimeoutError):
            await self._push(PROGRESS_KEY, {"text": str(tally), **asdict(tally), **pointer})
            self._pushed = (tally, table)


@asynccontextmanager
async def progress_of(push: Callable[[str, Any], Awaitable[None]]) -> AsyncIterator[Progress]:
    """Push numbers while the block runs, and the last numbers at its end."""
    progress = Progress(push)
    pushing = asyncio.ensure_future(progress.keep_telling())
    try:
        yield progress
        await progress.tell()
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
