"""The jobs of one connection: what all tasks of an account share, and the way to each job."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from hotswap_airflow.cluster.jobs import patient
from hotswap_airflow.cluster.jobs.cancelling import Cancelling
from hotswap_airflow.cluster.jobs.job_run import JobRun
from hotswap_airflow.cluster.jobs.patient import PatientClient
from hotswap_airflow.cluster.jobs.submit_queue import Turns
from hotswap_airflow.cluster.jobs.submitter import PATIENCE, Submitter
from hotswap_airflow.errors import ClusterError, CommandFailed, LoginRequired, SubmissionRefused
from hotswap_airflow.slurm.history.past import try_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hotswap_airflow.cluster.jobs.outcome import JobListener, Outcome
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.watch.watcher import JobWatcher
    from hotswap_airflow.errors import JobTimedOut
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest

READY_FOR = 10.0
"""Seconds for which a run's folder that was found is taken to be there still, for the other jobs of the run."""
Value = TypeVar("Value")


class JobConductor:
    """Conducts the jobs of one connection, each by objects of its own; ``report`` takes lines for a task's log."""

    def __init__(self, client: ClusterClient, watcher: JobWatcher, patience: float = PATIENCE) -> None:
        self.client = client
        self.watcher = watcher
        self.patience = patience
        self.turns = Turns()
        self._ready: dict[tuple[str, str], float] = {}
        self._sending: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def submitter(self, asked: str, report: Callable[[str], None]) -> Submitter:
        """What submits the jobs of a task. ``asked`` is its attempt, ``<try number> <epoch>``."""
        return Submitter(self.client, self.turns, self.patience, asked, report)

    async def conduct(
        self, request: JobRequest, asked: str, report: Callable[[str], None], *listeners: JobListener
    ) -> Outcome:
        """Find or submit the job of a request and wait for its end. ``asked`` is ``<try number> <epoch>``.

        Raises ``LoginRequired`` and ``CommandFailed`` if a person must act; lost connections are waited out.
        """
        return await JobRun(self.submitter(asked, report), self.watcher, *listeners).conduct(request)

    async def time_out(self, key: JobKey, asked: str, error: JobTimedOut, report: Callable[[str], None]) -> Outcome:
        """Cancel the job of a task whose time is over, and record its end."""
        return await Cancelling(self.client, report).time_out(key, asked, error)

    async def cancel(self, key: JobKey, report: Callable[[str], None]) -> None:
        """Cancel every job of a key's epoch, and the jobs that older epochs left; wait until none is in the queue."""
        await Cancelling(self.client, report).cancel(key)

    async def last_try(self, key: JobKey, report: Callable[[str], None]) -> int:
        """The number of the try that requested a job last; 1 if none has."""
        folders = await PatientClient(self.client, report).ask(self.client.find, key.stem)
        return max((try_number(folder.tried.asked) for folder in folders), default=0) or 1

    async def while_queued(
        self, key: JobKey, work: Callable[[], Awaitable[Value]], report: Callable[[str], None]
    ) -> Value:
        """Run ``work``. After an error that only a person can fix, retry while a job of the key may be in the queue.

        Otherwise raise the error; ``SubmissionRefused`` is always raised. A file system that is full, read-only or away
        thus does not make a job count as failed.
        """
        reported = ""
        while True:
            try:
                return await work()
            except SubmissionRefused:
                raise
            except CommandFailed as error:
                if not (why := await self._why_queued(key)):
                    raise
                words = f"waiting, {why}: {error}"
            if words != reported:
                report(words)
                reported = words
            await asyncio.sleep(patient.LONGEST_PAUSE)

    async def _why_queued(self, key: JobKey) -> str:
        """The reason to wait for a job of a key: it has not ended, or the queue gave no answer. Empty if none."""
        try:
            queue = await self.client.unfinished()
        except LoginRequired:
            raise
        except ClusterError as error:
            return "" if "failed with status 127" in str(error) else "it is not known whether the job is in the queue"
        return "the job is in the queue" if any(f".{key.stem}-" in name for name in queue) else ""

    async def lay_out(
        self, folder: str, pack: str, archive: Callable[[], AsyncIterator[bytes]], report: Callable[[str], None]
    ) -> None:
        """Find or make the run's folder; send the workflow's files if the cluster lacks them."""
        ask, now = PatientClient(self.client, report).ask, time.monotonic()
        self._ready = {laid_out: until for laid_out, until in self._ready.items() if until > now}
        if (folder, pack) in self._ready:
            return
        if await ask(self.client.lay_out, folder, pack) is None:
            async with self._sending[pack]:  # the jobs of a run begin together, and one archive is enough
                while await ask(self.client.lay_out, folder, pack) is None:
                    report(f"sending the workflow's files to {self.client.name}")
                    await ask(lambda: self.client.send_pack(pack, archive()))  # a stream can be sent once
        self._ready[folder, pack] = now + READY_FOR
