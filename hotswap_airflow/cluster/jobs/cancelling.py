"""The end of a job before its time: its task was ended, or ran out of time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs import patient
from hotswap_airflow.cluster.jobs.outcome import Outcome
from hotswap_airflow.cluster.jobs.patient import PatientClient
from hotswap_airflow.errors import CommandFailed, ConnectionLost, UnreadableAnswer
from hotswap_airflow.slurm.history.past import End, past_of
from hotswap_airflow.slurm.identity import digest_of, try_of
from hotswap_airflow.slurm.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.errors import JobTimedOut
    from hotswap_airflow.slurm.history.notes import Folder
    from hotswap_airflow.slurm.identity import JobKey


class Cancelling:
    """Cancels the jobs of one task; ``report`` takes lines for its log."""

    def __init__(self, client: ClusterClient, report: Callable[[str], None]) -> None:
        self.client = client
        self._report = report
        self._patient = PatientClient(client, report)
        self._ask = self._patient.ask

    async def time_out(self, key: JobKey, asked: str, error: JobTimedOut) -> Outcome:
        """Cancel the job of a task whose time is over, and record its end."""
        end = End(asked, "TIMEOUT", (type(error).__name__,))
        folders = await self._found(key)
        if folders is None:
            return Outcome(key, None, JobStatus(end.state), {}, error)
        names = await self._cancel(key, folders)
        tries = {folder.digest: folder.tried for folder in folders if folder.tried.epoch == key.epoch}
        failed = 0
        if tries:
            digest, last = max(tries.items(), key=lambda item: item[1].generation)
            await self._ask(self.client.record_end, digest, end.words)
            failed = past_of(tries, key.epoch, last.generation + (last.end is not None)).failed
        await self._leave_queue(names, folders)
        return Outcome(key, None, JobStatus(end.state), {}, error, failed_before=failed)

    async def cancel(self, key: JobKey) -> None:
        """Cancel every job of a key's epoch, and the jobs that older epochs left; wait until none is in the queue."""
        folders = await self._found(key)
        if folders is not None:
            await self._leave_queue(await self._cancel(key, folders), folders)

    async def _found(self, key: JobKey) -> list[Folder] | None:
        """The folders of a job that is to be cancelled. If they cannot be read, cancel its jobs here and give None."""
        try:
            return await self._ask(self.client.find, key.stem)
        except CommandFailed as error:
            self._report(f"the job's notes cannot be read, so its jobs in the queue are cancelled by name: {error}")
            await self._cancel_unseen(key)
            return None

    async def _cancel(self, key: JobKey, folders: Sequence[Folder]) -> set[str]:
        """Cancel the jobs that ``cancel`` describes; give their names."""
        mine = [folder.digest for folder in folders if folder.tried.epoch == key.epoch] or [key.digest]
        older = [f.digest for f in folders if f.tried.epoch < key.epoch and f.tried.end is None]
        names = {digest: key.name_of(digest) for digest in (*mine, *older)}
        await self._ask(self.client.cancel, names.items())
        return set(names.values())

    async def _leave_queue(self, names: set[str], folders: Sequence[Folder]) -> None:
        digests = set(map(digest_of, names))
        going = (folder for folder in folders if folder.tried.end is None and folder.digest in digests)
        pause, clusters = 0.2, {"", *(folder.cluster for folder in going)}
        while await self._ask(self._is_queued, names, clusters):
            await asyncio.sleep(pause)
            pause = min(pause * 2, patient.LONGEST_PAUSE)

    async def _is_queued(self, names: set[str], clusters: set[str]) -> bool:
        if clusters - {""}:
            if not (home := await self.client.home()):
                raise ConnectionLost(f"Slurm on {self.client.name} does not return the name of its own cluster")
            clusters = {"" if cluster == home else cluster for cluster in clusters}
        for cluster in clusters:
            queue = await self._patient.queue(cluster)
            if any(queue.get(name) for name in names):
                return True
        return False

    async def _cancel_unseen(self, key: JobKey) -> None:
        """Cancel the queue's jobs of a key's epoch and of older epochs, without a look at the key folders."""
        while jobs := self._up_to(key, await self._ask(self._patient.queue)):
            with contextlib.suppress(
                ConnectionLost, UnreadableAnswer
            ):  # the cancellation cannot be noted there, either
                await self.client.cancel(jobs)
            await asyncio.sleep(patient.FIRST_PAUSE)

    def _up_to(self, key: JobKey, queue: Mapping[str, bool]) -> list[tuple[str, str]]:
        """The digests and names of jobs of the key's epoch and of older epochs that can be cancelled."""
        jobs = [(digest_of(name), name) for name, is_active in queue.items() if is_active]
        return [(d, name) for d, name in jobs if d.startswith(f"{key.stem}-") and try_of(d)[0] <= key.epoch]
