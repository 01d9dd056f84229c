"""How the job of a request comes to be: found where it is already, or submitted once, as much of it as fits."""

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
"""Seconds before a submission whose end is not known may be tried again; longer than sbatch may take."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
_RECENTLY = "now-7days"
SMALL_WAVE, _REFUSALS = 50, 5
"""A part of a sweep no smaller than so many is waited for, until it was refused so many times."""
Value = TypeVar("Value")


def _once(report: Callable[[str], None]) -> Callable[[str], None]:
    """Report each line once, however often it is said."""
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
    """Places the jobs of one connection. ``report`` takes lines for the log of the one who waits."""

    def __init__(self, client: ClusterClient, patience: float = PATIENCE) -> None:
        self.client = client
        self.patience = patience
        self.turns = Turns()

    async def last_try(self, key: JobKey, report: Callable[[str], None]) -> int:
        """The number of the try that asked for a job last; 1 where none has."""
        folders = await self._persist(lambda: self.client.find(key.stem), report)
        return max((try_number(folder.tried.asked) for folder in folders), default=0) or 1

    async def while_queued(
        self, key: JobKey, work: Callable[[], Awaitable[Value]], report: Callable[[str], None]
    ) -> Value:
        """Do what a person must mend where it fails, and do it again where a job of the key waits or runs meanwhile.

        A file system that is full, read-only or away is waited for then: nobody takes its job for failed.
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
        """Why a job of a key is to be waited for: it has not ended, or nobody can tell; empty where it has."""
        try:
            queue = await self.client.unfinished()
        except LoginRequired:
            raise
        except ClusterError as error:
            return "" if "failed with status 127" in str(error) else "nobody can tell whether the job is in the queue"
        return "the job is in the queue" if any(f".{key.stem}-" in name for name in queue) else ""

    async def cancel_unseen(self, key: JobKey, report: Callable[[str], None]) -> None:
        """Cancel what the queue has of a key's epoch and older ones, where its folders cannot be looked at."""
        while jobs := self._up_to(key, await self._persist(self._queue, report)):
            with contextlib.suppress(ConnectionLost, UnreadableAnswer):  # nor can it be noted there
                await self.client.cancel(jobs)
            await asyncio.sleep(FIRST_PAUSE)

    def _up_to(self, key: JobKey, queue: Mapping[str, bool]) -> list[tuple[str, str]]:
        """The digests and names of those jobs that can be cancelled."""
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

        There is no job of a sweep whose elements all have been brought to an end before.
        """
        request = await self._settled_key(request, asked, report)
        if request.array is not None and not request.array.wanted:
            return request, None
        return await self._submit_what_fits(request, asked, report)

    async def _submit_what_fits(
        self, request: JobRequest, asked: str, report: Callable[[str], None]
    ) -> tuple[JobRequest, Submission]:
        """Submit as much of a sweep as the cluster takes, or wait until it takes a job; tell what was submitted."""
        if not self.turns.is_limited:
            with contextlib.suppress(SubmitLimitReached):
                return await self._submit_part(request, _fitting(request), asked, report)
        while True:
            async with self.turns.turn(request.key.run.workflow, report):
                part, found = await self._probe(request, asked, report)
            if not found.is_outdated:
                return part, found
            await self._stand_back(report)  # not while it is our turn

    async def _probe(
        self, request: JobRequest, asked: str, report: Callable[[str], None]
    ) -> tuple[JobRequest, Submission]:
        """Submit as soon as the cluster takes something; less of a sweep where it does not take so much."""
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
        """A sweep with the elements that its array has, which may have been submitted by somebody else before."""
        if found.is_new or found.job_id is None or request.array is None:
            return part
        digest = request.key.digest
        members = await self._persist(lambda: self.client.members([digest]), report)
        found_with = members[digest]
        return replace(request, array=request.array.only(found_with.elements, found_with.base))

    async def _settled_key(self, request: JobRequest, asked: str, report: Callable[[str], None]) -> JobRequest:
        """Cancel what older epochs left, and choose the generation to find or submit.

        A job that a person gave back to its task is taken up under its own epoch.
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
        """Of a sweep only the elements that no earlier try has brought to an end."""
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
        """The lines of values that the elements of a try wrote; asked only where some are declared."""
        if not request.has_values:
            return {}
        return await self._persist(lambda: self.client.element_values(digest), report)

    async def _cancel_older(self, key: JobKey, others: Sequence[Folder], report: Callable[[str], None]) -> None:
        """Also what was cancelled before: the controller may have been away then."""
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
        """Find the job or submit it; never twice. An end that is not known is looked up until it is.

        A try that was left behind by a later one ``stands_back`` here, or is told that it is outdated. Nodes that broke
        down under earlier tries are left out, unless the cluster has no others.
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
        """The jobs of a name, the newest last; none where all sources say so, None where one gave no answer."""
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
        """Ask until there is an answer; a lost connection or a garbled answer is waited out."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await ask()
            except (ConnectionLost, UnreadableAnswer) as error:
                if pause == FIRST_PAUSE:
                    report(f"waiting for {self.client.name}: {error}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
