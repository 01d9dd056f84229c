"""One job of a task from its request to its end: found or submitted once, watched, and its end recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs import job_end
from hotswap_airflow.cluster.jobs.job_end import as_recorded
from hotswap_airflow.cluster.jobs.outcome import JobListeners, Outcome
from hotswap_airflow.errors import JobCancelled, JobError, JobFailed
from hotswap_airflow.slurm import array_result
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import ArrayState, ElementEnds
from hotswap_airflow.slurm.history.notes import Result
from hotswap_airflow.slurm.history.past import End, try_number
from hotswap_airflow.slurm.retry import SAVED, WAVE
from hotswap_airflow.slurm.states import JobStatus, Phase, error_of, no_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotswap_airflow.cluster.jobs.outcome import JobListener
    from hotswap_airflow.cluster.jobs.submitter import Submitter
    from hotswap_airflow.cluster.remote.submission import Submission
    from hotswap_airflow.cluster.watch.watched_job import Observation
    from hotswap_airflow.cluster.watch.watcher import JobWatcher
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest

_GOES_ON = {
    SAVED: "the script saved its state and continues in another job",
    WAVE: "the next elements are submitted, as many as the cluster takes",
}
_NO_ELEMENTS = Array((), ())
_FAILED_SHOWN, _FAILED_TAIL = 5, 2_000


class JobRun:
    """Brings the job of one task to its end. The submitter knows the task's attempt and its log."""

    def __init__(self, submitter: Submitter, watcher: JobWatcher, *listeners: JobListener) -> None:
        self.client = submitter.client
        self.watcher = watcher
        self._submitter = submitter
        self._asked, self._report, self._ask = submitter.asked, submitter.report, submitter.ask
        self._listener = JobListeners(*listeners)

    async def conduct(self, request: JobRequest) -> Outcome:
        """Find or submit the job of a request, and the jobs in which it continues, and wait for the end.

        Raises ``LoginRequired`` and ``CommandFailed`` if a person must act; lost connections are waited out.
        """
        while True:
            outcome = await self._conduct(request)
            if outcome.continuation and await self._was_cancelled(outcome.key):
                error = JobCancelled(
                    f"job {request.key.job} was cancelled; its results so far are kept for a later try"
                )
                outcome = replace(outcome, values={}, error=error, continuation="")
            self._listener.ended(outcome)
            if not outcome.continuation:
                return outcome
            self._report(_GOES_ON[outcome.continuation])

    async def _was_cancelled(self, key: JobKey) -> bool:
        """Whether somebody cancelled the job that was to continue: its task was ended, or its run stopped."""
        folders = await self._ask(self.client.find, key.stem)
        return any(folder.digest == key.digest and folder.tried.is_cancelled for folder in folders)

    async def _conduct(self, request: JobRequest) -> Outcome:
        request, submission = await self._submitter.find_or_submit(request)
        if submission is None:
            return await self._finish_elements(request, None, ArrayState(request.array or _NO_ELEMENTS))
        if try_number(self._asked) > 1:  # a try that was left behind may have been about to submit when we looked
            folders = await self._ask(self.client.find, request.key.stem)
            others = [f for f in folders if f.tried.epoch != request.key.epoch and not f.tried.is_cancelled]
            # Not the jobs of a later try: then this try itself was left behind.
            late = [f for f in others if try_number(f.tried.asked) < try_number(self._asked)]
            await self._submitter.cancel_older(request.key, late)
        recorded_end = request.past.recorded_end
        if recorded_end is not None and recorded_end.errors and request.array is None:
            return await self._report_recorded(request, recorded_end, submission.job_id)
        if submission.job_id is None:
            error = as_recorded(request, JobCancelled(f"job {request.key.job} was cancelled before it was submitted"))
            status = JobStatus("CANCELLED")
            return Outcome(request.key, None, status, {}, error, failed_before=request.past.failed)
        verb = "submitted" if submission.is_new else "found"
        where = f", cluster {submission.cluster}" if submission.cluster else ""
        self._report(f"{verb} Slurm job {submission.job_id} on {self.client.name}{where}")
        self._listener.placed(submission.job_id, submission.is_new)
        if request.array is not None:
            state = ArrayState(request.array)
            logs = f"{self.client.name}:{self.client.key_dir(request.key.digest)}/logs/INDEX"
            counts = f"{len(request.array.wanted):,} of {len(request.array.rows):,}"
            self._report(f"{counts} elements are to be run; logs: {logs}")
            self._listener.seen(state.status, state.tally)
            await self._watch(request, submission, state)
            outcome = await self._finish_elements(request, submission.job_id, state)
            self._listener.seen(outcome.status, outcome.tally)
            return outcome
        status = await self._watch(request, submission)
        return await self._finish(request, submission.job_id, status)

    async def _watch(self, request: JobRequest, submission: Submission, state: ArrayState | None = None) -> JobStatus:
        key, job_id = request.key, submission.job_id or 0
        job = self.watcher.watch(key.digest, key.job_name, job_id, self.watcher.clock(), state, self.client)
        job.cluster = submission.cluster
        try:
            while True:
                news = await job.observe()
                self._report_news(news, key, job.job_id)
                self._listener.seen(news.status, news.tally)
                if news.status.phase.is_final or news.status.never_starts:
                    return news.status
        finally:
            self.watcher.forget(job)

    def _report_news(self, news: Observation, key: JobKey, job_id: int) -> None:
        if news.skipped:
            log = f"{self.client.name}:{self.client.key_dir(key.digest)}/job.log"
            self._report(f"[{news.skipped} bytes left out here; the whole log: {log}]")
        if news.text:
            self._report(news.text.rstrip("\n"))
        if news.trouble:
            self._report(f"waiting for {self.client.name}: {news.trouble}")
        elif news.tally is not None and news.status.phase.is_final:
            pass  # the end is reported with the numbers of all tries
        elif news.tally is not None:
            status = news.hold or (None if news.tally.running else news.status)
            self._report(f"{news.tally} ({status.told_of(job_id)})" if status is not None else str(news.tally))
        elif news.is_change:
            self._report(news.status.told_of(job_id))

    async def _finish(self, request: JobRequest, job_id: int, status: JobStatus) -> Outcome:
        key = request.key
        error = await self._explained(error_of(status, key.job), [status])
        result = await self._result(request, error)
        outcome = job_end.end_of(request, job_id, status, result, await self._run_dir(request), error)
        await self._record(request, job_end.recorded(self._asked, outcome))
        if status.never_starts:
            await self._ask(self.client.cancel, [(key.digest, key.job_name)])
        return outcome

    async def _explained(self, error: JobError | None, statuses: Iterable[JobStatus]) -> JobError | None:
        """The error of a job; if Slurm could not start it (or an element), with the nodes, folder and user to check."""
        lost = next((status for status in statuses if status.lost_log), None)
        if not isinstance(error, JobFailed) or lost is None:
            return error
        user, folder = await self._ask(self.client.who)
        generic, named = no_log(lost.nodes), no_log(lost.nodes, folder, user)
        return JobFailed(str(error).replace(generic, named) if generic in str(error) else f"{error}; {named}")

    async def _report_recorded(self, request: JobRequest, recorded_end: End, job_id: int | None) -> Outcome:
        """The failure of a job as it was recorded before, with the exit status that its script noted.

        Slurm may not know the job any more.
        """
        key = request.key
        noted = await self._ask(self.client.result, key.digest)
        status = JobStatus(recorded_end.state, exit_status=noted.exit_status)
        self._report(f"Slurm job {job_id or ''} ended as {status.state}; this end was recorded before")
        if not status.phase.is_final:  # it could never start, and a worker may have died before it cancelled the job
            await self._ask(self.client.cancel, [(key.digest, key.job_name)])
        error = as_recorded(request, error_of(status, key.job))
        return Outcome(key, job_id, status, {}, error, failed_before=request.past.failed)

    async def _result(self, request: JobRequest, error: JobError | None) -> Result:
        """What a job left: its values, or details of a failure. Empty if it succeeded and declares no values."""
        if error is None and not request.has_values:
            return Result(None, "", "")
        return await self._ask(self.client.result, request.key.digest)

    async def _record(self, request: JobRequest, end: End) -> None:
        """Record the end on the cluster, once; the names of its errors decide whether and how the job is retried."""
        if request.past.recorded_end is None:
            await self._ask(self.client.record_end, request.key.digest, end.words)

    async def _finish_elements(self, request: JobRequest, job_id: int | None, state: ArrayState) -> Outcome:
        """The end of a sweep; ``job_id`` is None if earlier tries have brought every element to an end."""
        key = request.key
        if not state.status.phase.is_final:
            return await self._never_started(request, job_id, state)
        await self._show_failed(key, state)
        wrote = await self._values(request)
        run_dir = await self._run_dir(request)
        ending = await asyncio.to_thread(array_result.conclude, request, state, run_dir, wrote)
        error = await self._explained(as_recorded(request, ending.error), state.elements.values())
        submitted = len(state.array.indices) if job_id is not None else 0
        outcome = job_end.sweep_outcome(request, job_id, submitted, ending, error)
        if job_id is not None:
            await self._record(request, job_end.recorded_sweep(self._asked, outcome.status, ending))
        self._report(str(ending.tally))
        return outcome

    async def _never_started(self, request: JobRequest, job_id: int | None, state: ArrayState) -> Outcome:
        """The end of a sweep of which some elements can never start."""
        key = request.key
        error = as_recorded(request, error_of(state.status, key.job))
        await self._record(request, End(self._asked, state.status.state, ("JobNeverStarts",)))
        await self._ask(self.client.cancel, [(key.digest, key.job_name)])
        table = await asyncio.to_thread(array_result.unfinished, request, state, await self._values(request))
        failed = request.past.failed
        return Outcome(key, job_id, state.status, {}, error, state.tally, failed_before=failed, table=table)

    async def _values(self, request: JobRequest) -> dict[int, str]:
        """The lines of values that elements wrote, in this try and in earlier tries."""
        if not request.has_values:
            return {}
        key = request.key
        folders = await self._ask(self.client.find, key.stem)
        before = array_result.earlier_tries(folders, key, request.rows)
        earlier = [folder.digest for folder in before]
        failed = {folder.digest: folder.tried.end.again for folder in before if folder.tried.end is not None}
        own = [key.digest] if any(folder.digest == key.digest for folder in folders) else []
        wrote: dict[int, str] = {}
        ends = await self._ask(self.client.ends, [*earlier, *own])
        for digest in (*earlier, *own):
            found = await self._submitter.wrote(request, digest)
            # What a failed attempt wrote does not count.
            assumed = 0 if digest == key.digest else None
            noted = ends.get(digest, ElementEnds()).statuses
            good = {e for e in found if noted.get(e, assumed) == 0} - failed.get(digest, frozenset())
            wrote |= {e: text for e, text in found.items() if e in good}
        return wrote

    async def _show_failed(self, key: JobKey, state: ArrayState) -> None:
        """Report the ends of the logs of the first elements that failed."""
        failed = [element for element, status in state.elements.items() if status.phase is Phase.FAILED]
        indices = list(dict.fromkeys(element // state.array.chunk for element in failed))[:_FAILED_SHOWN]
        if not indices:
            return
        shown = [index - state.array.base for index in indices]
        tails = await self._ask(self.client.element_tails, key.digest, shown, _FAILED_TAIL)
        for index in shown:
            text = tails.get(index, b"").decode("utf-8", "replace").strip("\n")
            self._report(f"the end of the log of array index {index}:\n{text}")

    async def _run_dir(self, request: JobRequest) -> str:
        """The run's folder on the cluster; requested only if an output has a path, otherwise empty."""
        if not any(output.path for output in request.outputs):
            return ""
        folder = request.key.run.folder
        return await self._ask(self.client.lay_out, folder, "") or ""
