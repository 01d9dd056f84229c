"""How the job of a request comes to be: found if it is there already, or submitted once, as much of it as fits."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs import patient
from hotswap_airflow.cluster.jobs.patient import FIRST_PAUSE, PatientClient
from hotswap_airflow.cluster.remote.framing import lacks_accounting
from hotswap_airflow.cluster.remote.secret_files import keep_secrets
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotswap_airflow.cluster.jobs.submit_queue import Turns
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.remote.submission import Submission
    from hotswap_airflow.slurm.history.notes import Folder
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.request import JobRequest

PATIENCE = 60.0
"""Seconds before a submission whose end is not known may be tried again; longer than sbatch may take."""
_RECENTLY = "now-7days"
SMALL_WAVE, _REFUSALS = 50, 5
"""A part of a sweep no smaller than so many is waited for, until it was refused so many times."""


def _once(report: Callable[[str], None]) -> Callable[[str], None]:
    """Report each line once, however often it comes."""
    reported: set[str] = set()

    def report_once(line: str) -> None:
        if line not in reported:
            reported.add(line)
            report(line)

    return report_once


def _fitting(request: JobRequest) -> int:
    """How many indices of a sweep one array may have; 1 for a single job."""
    return request.array.fitting if request.array is not None else 1


class Submitter:
    """Submits the jobs of one task. ``asked`` is its attempt, ``<try number> <epoch>``.

    ``report`` takes lines for the task's log, ``turns`` is shared by all tasks of the account, ``patience`` are the
    seconds before a submission whose end is not known is tried again.
    """

    def __init__(
        self, client: ClusterClient, turns: Turns, patience: float, asked: str, report: Callable[[str], None]
    ) -> None:
        self.client = client
        self.turns = turns
        self.patience = patience
        self.asked = asked
        self.report = report
        self.ask = PatientClient(client, report).ask

    async def find_or_submit(self, request: JobRequest) -> tuple[JobRequest, Submission | None]:
        """Find the job of a request or submit it; give the request as it was submitted.

        The submission is None for a sweep of which earlier tries have brought all elements to an end.
        """
        request = await self._settled_key(request)
        if request.array is not None and not request.array.wanted:
            return request, None
        return await self._submit_what_fits(request)

    async def _submit_what_fits(self, request: JobRequest) -> tuple[JobRequest, Submission]:
        """Submit as much of a sweep as the cluster takes, or wait until it takes a job; give what was submitted."""
        if not self.turns.is_limited:
            with contextlib.suppress(SubmitLimitReached):
                return await self._submit_part(request, _fitting(request))
        while True:
            async with self.turns.turn(request.key.run.workflow, self.report):
                part, found = await self._probe(request)
            if not found.is_outdated:
                return part, found
            await self._stand_back()  # not while it is our turn

    async def _probe(self, request: JobRequest) -> tuple[JobRequest, Submission]:
        """Submit as soon as the cluster takes a job; submit a smaller part of a sweep if it refuses a larger one."""
        count, refused = _fitting(request), 0
        while True:
            try:
                found = await self._submit_part(request, count, stands_back=False)
            except SubmitLimitReached as error:
                if count > SMALL_WAVE or (count > 1 and refused >= _REFUSALS):
                    count //= 2
                    continue
                if not refused:
                    self.report(f"waiting: {error}")
                refused += 1
                await self.turns.refused()
            else:
                self.turns.accepted()
                return found

    async def _submit_part(
        self, request: JobRequest, count: int, *, stands_back: bool = True
    ) -> tuple[JobRequest, Submission]:
        part = request if request.array is None else replace(request, array=request.array.first(count))
        found = await self.submit_once(part, stands_back=stands_back)
        return await self._as_submitted(request, part, found), found

    async def _as_submitted(self, request: JobRequest, part: JobRequest, found: Submission) -> JobRequest:
        """The request of a sweep with the elements of its array; an earlier try may have submitted that array."""
        if found.is_new or found.job_id is None or request.array is None:
            return part
        digest = request.key.digest
        members = await self.ask(self.client.members, [digest])
        found_with = members[digest]
        return replace(request, array=request.array.only(found_with.elements, found_with.base))

    async def _settled_key(self, request: JobRequest) -> JobRequest:
        """Cancel the jobs that older epochs left, and choose the generation to find or submit.

        A job that a person gave back to its task is adopted under its own epoch.
        """
        key = request.key
        while True:
            folders = await self.ask(self.client.find, key.stem)
            others = [folder for folder in folders if folder.tried.epoch != key.epoch]
            if not any(try_number(folder.tried.asked) > try_number(self.asked) for folder in others):
                break
            await self._stand_back()
        tries = {folder.digest: folder.tried for folder in folders}
        epoch = adopting_epoch(list(tries.values()), key.epoch, self.asked, request.rows)
        await self.cancel_older(key, [folder for folder in others if folder.tried.epoch != epoch])
        generation = choose_generation(list(tries.values()), epoch, self.asked, request.retry)
        key = replace(key, epoch=epoch, generation=generation)
        past = past_of(tries, key.epoch, key.generation)
        options = request.retry.escalated(request.options, past.failures)
        for what in request.retry.idle(request.options, past.failures):
            self.report(f"retry.escalate.{what} changes nothing: the job has no slurm.{what} that could grow")
        request = replace(request, key=key, past=past, options=options)
        return request if request.array is None else await self._continued(request, folders)

    async def _continued(self, request: JobRequest, folders: Sequence[Folder]) -> JobRequest:
        """The request of a sweep with only the elements that no earlier try has brought to an end."""
        earlier = array_result.earlier_tries(folders, request.key, request.rows)
        if not earlier:
            return request
        digests = [folder.digest for folder in earlier]
        parts = [folder.digest for folder in earlier if folder.tried.is_part]
        ends = await self.ask(self.client.ends, digests)
        members = await self.ask(self.client.members, parts) if parts else {}
        unrecorded = [folder.digest for folder in earlier if folder.tried.end is None]
        wrote = {digest: await self.wrote(request, digest) for digest in unrecorded}
        return array_result.continued(request, earlier, ends, members, wrote)

    async def wrote(self, request: JobRequest, digest: str) -> dict[int, str]:
        """The lines of values that the elements of a try wrote; requested only if the job declares values."""
        if not request.has_values:
            return {}
        return await self.ask(self.client.element_values, digest)

    async def cancel_older(self, key: JobKey, others: Sequence[Folder]) -> None:
        """Cancel jobs without a recorded end, even if cancelled before: the controller may have been away then."""
        older = [(folder.digest, key.name_of(folder.digest)) for folder in others if folder.tried.end is None]
        if older:
            self.report(f"cancelling {len(older)} job(s) of earlier runs of this task")
            await self.ask(self.client.cancel, older)

    async def _stand_back(self) -> None:
        self.report("a later try of this task, after a clear, has the job; this try waits")
        await asyncio.sleep(patient.LONGEST_PAUSE)

    async def _submitted(self, request: JobRequest, *, again: bool) -> Submission:
        if request.secrets:
            await self.ask(keep_secrets, self.client, request)
        return await self.ask(partial(self.client.submit, request, self.asked, again=again))

    async def submit_once(self, request: JobRequest, *, stands_back: bool = True) -> Submission:
        """Find the job or submit it, never twice. If the result is not known, look the job up until it is.

        If a later try has requested the job, this try waits here (``stands_back``) or gives a submission that is
        outdated. Nodes that broke down under earlier tries are excluded, unless Slurm refuses the job without them.
        """
        again, pause = False, FIRST_PAUSE
        report_once = _once(self.report)
        while True:
            try:
                found = await self._submitted(request, again=again)
            except SubmissionRefused as error:
                if not request.past.nodes:
                    raise
                self.report(f"{error}; trying again with the nodes that broke down: {', '.join(request.past.nodes)}")
                request = replace(request, past=replace(request.past, nodes=()))
                continue
            if found.is_outdated and stands_back:
                await self._stand_back()
                continue
            if found.job_id is not None or found.is_cancelled or found.is_outdated:
                return found
            known = await self._look_up(request.key.job_name, found, report_once)
            if known:
                return await self._adopt(found, request.key.digest, known[-1])
            again = known is not None and (found.age or 0) >= self.patience
            if not again:
                await asyncio.sleep(pause)
                pause = min(pause * 2, patient.LONGEST_PAUSE)

    async def _adopt(self, found: Submission, digest: str, job: QueuedJob) -> Submission:
        adopt = partial(self.client.adopt, digest, job.base_id, job.cluster)
        return replace(found, job_id=await self.ask(adopt), cluster=job.cluster)

    async def _look_up(
        self, name: str, submission: Submission, report: Callable[[str], None]
    ) -> list[QueuedJob] | None:
        """The jobs of a name, the newest last; empty if no source knows one, None if a source gave no answer."""
        if submission.words:
            report(f"it is not known whether {self.client.name} took the job ({submission.words}); looking for it")
        try:
            queue = await self.client.queue()
        except LoginRequired:
            raise
        except ClusterError as error:
            report(f"it is not known yet whether the job was submitted: {error}")
            return None
        if found := [row for row in queue if row.name == name]:
            return found
        try:
            return await self.client.accounting(_RECENTLY, name=name)
        except CommandFailed as error:  # on a site without accounting the key's folder is the second source
            return [] if lacks_accounting(error) else None
        except (ConnectionLost, UnreadableAnswer):
            return None
