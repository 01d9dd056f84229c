"""Find the job of a request, or submit it once; of a sweep, submit as much as the cluster takes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from hotswap_airflow.cluster.jobs.submit_queue import Turns
from hotswap_airflow.cluster.remote.framing import lacks_accounting
from hotswap_airflow.errors import (
    ClusterError,
    CommandFailed,
    ConnectionLost,
    LoginRequired,
    SubmissionRefused,
    SubmitLimitReached,
    UnreadableAnswer,
)
from hotswap_airflow.slurm import array_result
from hotswap_airflow.slurm.history.past import adopting_epoch, choose_generation, past_of, try_number
from hotswap_airflow.slurm.identity import digest_of, try_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.remote.submission import Submission
    from hotswap_airflow.slurm.history.notes import Folder
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.request import JobRequest

PATIENCE = 60.0
"""Seconds before a submission whose result is not known may be repeated; longer than sbatch may take."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
_RECENTLY = "now-7days"
SMALL_WAVE, _REFUSALS = 50, 5
"""A refused part of a sweep is halved if it has more indices than the first, or after the second number of refusals."""
Value = TypeVar("Value")


def _once(report: Callable[[str], None]) -> Callable[[str], None]:
    """Report each line once, even if it is given several times."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            report(line)

    return tell


def _fitting(request: JobRequest) -> int:
    """How many indices of a sweep one array may have; 1 for a single job."""
    return request.array.fitting if request.array is not None else 1


class Submitter:
    """Finds or submits the jobs of one connection. ``report`` takes lines for the log of the waiting task."""

    def __init__(self, client: ClusterClient, patience: float = PATIENCE) -> None:
        self.client = client
        self.patience = patience
        self.turns = Turns()

    async def last_try(self, key: JobKey, report: Callable[[str], None]) -> int:
        """The highest number of the tries that requested a job; 1 if there is none."""
        folders = await self._persist(lambda: self.client.find(key.stem), report)
        return max((try_number(folder.tried.asked) for folder in folders), default=0) or 1

    async def while_queued(
        self, key: JobKey, work: Callable[[], Awaitable[Value]], report: Callable[[str], None]
    ) -> Value:
        """Run ``work``. After an error that only a person can fix, retry while a job of the key may be in the queue.

        Otherwise raise the error; ``SubmissionRefused`` is always raised. A file system that is full, read-only or away
        thus does not make a job count as failed.
        """
        said = ""
        while True:
            try:
                return await work()
            except SubmissionRefused:
                raise
            except CommandFailed as error:
                if not (why := await self._why_queued(key)):
                    raise
                words = f"waiting, {why}: {error}"
            if words != said:
                report(words)
                said = words
            await asyncio.sleep(LONGEST_PAUSE)

    async def _why_queued(self, key: JobKey) -> str:
        """The reason to wait for a job of a key: it has not ended, or the queue gave no answer. Empty if none."""
        try:
            queue = await self.client.unfinished()
        except LoginRequired:
            raise
        except ClusterError as error:
            return "" if "failed with status 127" in str(error) else "nobody can tell whether the job is in the queue"
        return "the job is in the queue" if any(f".{key.stem}-" in name for name in queue) else ""

    async def cancel_unseen(self, key: JobKey, report: Callable[[str], None]) -> None:
        """Cancel the queue's jobs of a key's epoch and of older epochs, without a look at the key folders."""
        while jobs := self._up_to(key, await self._persist(self._queue, report)):
            with contextlib.suppress(ConnectionLost, UnreadableAnswer):  # the folders cannot be written either
                await self.client.cancel(jobs)
            await asyncio.sleep(FIRST_PAUSE)

    def _up_to(self, key: JobKey, queue: Mapping[str, bool]) -> list[tuple[str, str]]:
        """The digests and names of jobs of the key's epoch and of older epochs that can be cancelled."""
        jobs = [(digest_of(name), name) for name, is_active in queue.items() if is_active]
        return [(d, name) for d, name in jobs if d.startswith(f"{key.stem}-") and try_of(d)[0] <= key.epoch]

    async def _queue(self, cluster: str = "") -> Mapping[str, bool]:
        try:
            return await self.client.on(cluster).unfinished()
        except CommandFailed as error:
            raise ConnectionLost(str(error)) from error

    async def find_or_submit(
        self, request: JobRequest, asked: str, report: Callable[[str], None]
    ) -> tuple[JobRequest, Submission | None]:
        """Find the job of a request or submit it; give the request as it was submitted.

        The submission is None for a sweep of which earlier tries have brought all elements to an end.
        """
        request = await self._settled_key(request, asked, report)
        if request.array is not None and not request.array.wanted:
            return request, None
        return await self._submit_what_fits(request, asked, report)

    async def _submit_what_fits(
        self, request: JobRequest, asked: str, report: Callable[[str], None]
    ) -> tuple[JobRequest, Submission]:
        """Submit as much of a sweep as the cluster takes, or wait until it takes a job; give what was submitted."""
        if not self.turns.is_limited:
            with contextlib.suppress(SubmitLimitReached):
                return await self._submit_part(request, _fitting(request), asked, report)
        while True:
            async with self.turns.turn(request.key.run.workflow, report):
                part, found = await self._probe(request, asked, report)
            if not found.is_outdated:
                return part, found
            await self._stand_back(report)  # only after the turn was passed on

    async def _probe(
        self, request: JobRequest, asked: str, report: Callable[[str], None]
    ) -> tuple[JobRequest, Submission]:
        """Submit as soon as the cluster takes a job; submit a smaller part of a sweep if it refuses a larger one."""
        count, refused = _fitting(request), 0
        while True:
            try:
                found = await self._submit_part(request, count, asked, report, stands_back=False)
            except SubmitLimitReached as error:
                if count > SMALL_WAVE or (count > 1 and refused >= _REFUSALS):
                    count //= 2
                    continue
                if not refused:
                    report(f"waiting: {error}")
                refused += 1
                await self.turns.refused()
            else:
                self.turns.accepted()
                return found

    async def _submit_part(
        self,
        request: JobRequest,
        count: int,
        asked: str,
        report: Callable[[str], None],
        *,
        stands_back: bool = True,
    ) -> tuple[JobRequest, Submission]:
        part = request if request.array is None else replace(request, array=request.array.first(count))
        found = await self.submit_once(part, asked, report, stands_back=stands_back)
        return await self._as_submitted(request, part, found, report), found

    async def _as_submitted(
        self, request: JobRequest, part: JobRequest, found: Submission, report: Callable[[str], None]
    ) -> JobRequest:
        """The request of a sweep with the elements of its array; an earlier try may have submitted that array."""
        if found.is_new or found.job_id is None or request.array is None:
            return part
        digest = request.key.digest
        members = await self._persist(lambda: self.client.members([digest]), report)
        found_with = members[digest]
        return replace(request, array=request.array.only(found_with.elements, found_with.base))

    async def _settled_key(self, request: JobRequest, asked: str, report: Callable[[str], None]) -> JobRequest:
        """Cancel the jobs that older epochs left, and choose the generation to find or submit.

        A job that a person gave back to its task is adopted under its own epoch.
        """
        key = request.key
        while True:
            folders = await self._persist(lambda: self.client.find(key.stem), report)
            others = [folder for folder in folders if folder.tried.epoch != key.epoch]
            if not any(try_number(folder.tried.asked) > try_number(asked) for folder in others):
                break
            await self._stand_back(report)
        tries = {folder.digest: folder.tried for folder in folders}
        epoch = adopting_epoch(list(tries.values()), key.epoch, asked, request.rows)
        await self._cancel_older(key, [folder for folder in others if folder.tried.epoch != epoch], report)
        generation = choose_generation(list(tries.values()), epoch, asked, request.retry)
        key = replace(key, epoch=epoch, generation=generation)
        past = past_of(tries, key.epoch, key.generation)
        options = request.retry.escalated(request.options, past.failures)
        for what in request.retry.idle(request.options, past.failures):
            report(f"retry.escalate.{what} changes nothing: the job has no slurm.{what} that could grow")
        request = replace(request, key=key, past=past, options=options)
        return request if request.array is None else await self._continued(request, folders, report)

    async def _continued(
        self, request: JobRequest, folders: Sequence[Folder], report: Callable[[str], None]
    ) -> JobRequest:
        """The request of a sweep with only the elements that no earlier try has brought to an end."""
        earlier = array_result.earlier_tries(folders, request.key, request.rows)
        if not earlier:
            return request
        digests = [folder.digest for folder in earlier]
        parts = [folder.digest for folder in earlier if folder.tried.is_part]
        ends = await self._persist(lambda: self.client.ends(digests), report)
        members = await self._persist(lambda: self.client.members(parts), report) if parts else {}
        untold = [folder.digest for folder in earlier if folder.tried.end is None]
        wrote = {digest: await self._wrote(request, digest, report) for digest in untold}
        return array_result.continued(request, earlier, ends, members, wrote)

    async def _wrote(self, request: JobRequest, digest: str, report: Callable[[str], None]) -> dict[int, str]:
        """The lines of values that the elements of a try wrote; requested only if the job declares values."""
        if not request.has_values:
            return {}
        return await self._persist(lambda: self.client.element_values(digest), report)

    async def _cancel_older(self, key: JobKey, others: Sequence[Folder], report: Callable[[str], None]) -> None:
        """Cancel jobs without a recorded end, even if cancelled before: the controller may have been away then."""
        older = [(folder.digest, key.name_of(folder.digest)) for folder in others if folder.tried.end is None]
        if older:
            report(f"cancelling {len(older)} job(s) of earlier runs of this task")
            await self._persist(lambda: self.client.cancel(older), report)

    async def _stand_back(self, report: Callable[[str], None]) -> None:
        report("a later try of this task is at work, after a clear; this one leaves the job to it")
        await asyncio.sleep(LONGEST_PAUSE)

    async def submit_once(
        self, request: JobRequest, asked: str, report: Callable[[str], None], *, stands_back: bool = True
    ) -> Submission:
        """Find the job or submit it, never twice. If the result is not known, look the job up until it is.

        If a later try has requested the job, this try waits here (``stands_back``) or gives a submission that is
        outdated. Nodes that broke down under earlier tries are excluded, unless Slurm refuses the job without them.
        """
        again, pause = False, FIRST_PAUSE
        tell = _once(report)
        while True:
            attempt = partial(self.client.submit, request, asked, again=again)
            try:
                found = await self._persist(attempt, report)
            except SubmissionRefused as error:
                if not request.past.nodes:
                    raise
                report(f"{error}; trying again with the nodes that broke down: {', '.join(request.past.nodes)}")
                request = replace(request, past=replace(request.past, nodes=()))
                continue
            if found.is_outdated and stands_back:
                await self._stand_back(report)
                continue
            if found.job_id is not None or found.is_cancelled or found.is_outdated:
                return found
            known = await self._look_up(request.key.job_name, found, tell)
            if known:
                return await self._adopt(found, request.key.digest, known[-1], report)
            again = known is not None and (found.age or 0) >= self.patience
            if not again:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _adopt(self, found: Submission, digest: str, job: QueuedJob, report: Callable[[str], None]) -> Submission:
        adopt = partial(self.client.adopt, digest, job.base_id, job.cluster)
        return replace(found, job_id=await self._persist(adopt, report), cluster=job.cluster)

    async def _look_up(
        self, name: str, submission: Submission, report: Callable[[str], None]
    ) -> list[QueuedJob] | None:
        """The jobs of a name, the newest last; empty if no source knows one, None if a source gave no answer."""
        if submission.words:
            report(f"whether {self.client.name} took the job is not known ({submission.words}); looking for it")
        try:
            queue = await self.client.queue()
        except LoginRequired:
            raise
        except ClusterError as error:
            report(f"cannot tell yet whether the job was submitted: {error}")
            return None
        if found := [row for row in queue if row.name == name]:
            return found
        try:
            return await self.client.accounting(_RECENTLY, name=name)
        except CommandFailed as error:  # on a site without accounting the key's folder is the second source
            return [] if lacks_accounting(error) else None
        except (ConnectionLost, UnreadableAnswer):
            return None

    async def _persist(self, ask: Callable[[], Awaitable[Value]], report: Callable[[str], None]) -> Value:
        """Repeat a request until there is an answer; pause after a lost connection or an unreadable answer."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await ask()
            except (ConnectionLost, UnreadableAnswer) as error:
                if pause == FIRST_PAUSE:
                    report(f"waiting for {self.client.name}: {error}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
