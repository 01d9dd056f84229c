"""One job from its request to its end: found or submitted once, watched, read. The waiting task may die at any time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs.outcome import JobListener, JobListeners, Outcome
from hotswap_airflow.cluster.jobs.submitter import LONGEST_PAUSE, PATIENCE, Submitter
from hotswap_airflow.cluster.remote.client import OUTPUT_LIMIT
from hotswap_airflow.errors import (
    CommandFailed,
    ConnectionLost,
    JobCancelled,
    JobError,
    JobFailed,
    JobTimedOut,
    OutputMissing,
)
from hotswap_airflow.slurm import array_result
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import ArrayState, ElementEnds
from hotswap_airflow.slurm.causes import MAY_GO_ON, error_class
from hotswap_airflow.slurm.history.notes import Result
from hotswap_airflow.slurm.history.past import End, past_of, try_number
from hotswap_airflow.slurm.identity import digest_of
from hotswap_airflow.slurm.request import read_outputs
from hotswap_airflow.slurm.retry import SAVED, SAVED_STATUS, WAVE
from hotswap_airflow.slurm.script.render import CANCELLED
from hotswap_airflow.slurm.states import JobStatus, Phase, error_of, no_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.remote.submission import Submission
    from hotswap_airflow.cluster.watch.watched_job import Observation
    from hotswap_airflow.cluster.watch.watcher import JobWatcher
    from hotswap_airflow.slurm.history.notes import Folder
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest

_GOES_ON = {
    SAVED: "the script saved its state; it goes on in another job",
    WAVE: "the next elements are submitted, as many as the cluster takes",
}
_NO_ELEMENTS = Array((), ())
_FAILED_SHOWN, _FAILED_TAIL = 5, 2_000
READY_FOR = 10.0
"""Seconds for which a run's folder that was found is assumed to exist, also for the other jobs of the run."""


class JobConductor(Submitter):
    """Follows the jobs of one connection, each from its request to its end."""

    def __init__(self, client: ClusterClient, watcher: JobWatcher, patience: float = PATIENCE) -> None:
        super().__init__(client, patience)
        self.watcher = watcher
        self._ready: dict[tuple[str, str], float] = {}
        self._sending: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def conduct(
        self,
        request: JobRequest,
        asked: str,
        report: Callable[[str], None],
        *listeners: JobListener,
    ) -> Outcome:
        """Find or submit the job of a request and wait for its end. ``asked`` is the attempt: ``<try number> <epoch>``.

        Raises ``LoginRequired`` and ``CommandFailed`` if a person must act. It waits out lost connections.
        """
        listener = JobListeners(*listeners)
        while True:
            outcome = await self._conduct(request, asked, report, listener)
            if outcome.continuation and await self._was_cancelled(outcome.key, report):
                error = JobCancelled(f"job {request.key.job} was cancelled; what it has done is kept for a later try")
                outcome = replace(outcome, values={}, error=error, continuation="")
            listener.ended(outcome)
            if not outcome.continuation:
                return outcome
            report(_GOES_ON[outcome.continuation])

    async def _was_cancelled(self, key: JobKey, report: Callable[[str], None]) -> bool:
        """Whether the job that should continue was cancelled: its task was ended, or its run was stopped."""
        folders = await self._persist(lambda: self.client.find(key.stem), report)
        return any(folder.digest == key.digest and folder.tried.is_cancelled for folder in folders)

    async def _conduct(
        self, request: JobRequest, asked: str, report: Callable[[str], None], listener: JobListener
    ) -> Outcome:
        request, submission = await self.find_or_submit(request, asked, report)
        if submission is None:
            return await self._finish_elements(request, None, ArrayState(request.array or _NO_ELEMENTS), asked, report)
        if try_number(asked) > 1:  # an outdated try may have been about to submit when the folders were read
            folders = await self._persist(lambda: self.client.find(request.key.stem), report)
            others = [f for f in folders if f.tried.epoch != request.key.epoch and not f.tried.is_cancelled]
            # Only tries with a smaller number: this try itself may be the outdated one.
            late = [f for f in others if try_number(f.tried.asked) < try_number(asked)]
            await self._cancel_older(request.key, late, report)
        recorded_end = request.past.recorded_end
        if recorded_end is not None and recorded_end.errors and request.array is None:
            return await self._report_recorded(request, recorded_end, submission.job_id, report)
        if submission.job_id is None:
            error = _as_recorded(request, JobCancelled(f"job {request.key.job} was cancelled before it was submitted"))
            status = JobStatus("CANCELLED")
            return Outcome(request.key, None, status, {}, error, failed_before=request.past.failed)
        verb = "submitted" if submission.is_new else "found"
        where = f", cluster {submission.cluster}" if submission.cluster else ""
        report(f"{verb} Slurm job {submission.job_id} on {self.client.name}{where}")
        listener.placed(submission.job_id, submission.is_new)
        if request.array is not None:
            state = ArrayState(request.array)
            logs = f"{self.client.name}:{self.client.key_dir(request.key.digest)}/logs/INDEX"
            report(f"{len(request.array.wanted):,} of {len(request.array.rows):,} elements are to be run; logs: {logs}")
            listener.seen(state.status, state.tally)
            await self._watch(request, submission, report, listener, state)
            outcome = await self._finish_elements(request, submission.job_id, state, asked, report)
            listener.seen(outcome.status, outcome.tally)
            return outcome
        status = await self._watch(request, submission, report, listener)
        return await self._finish(request, submission.job_id, status, asked, report)

    async def _watch(
        self,
        request: JobRequest,
        submission: Submission,
        report: Callable[[str], None],
        listener: JobListener,
        state: ArrayState | None = None,
    ) -> JobStatus:
        key, job_id = request.key, submission.job_id or 0
        job = self.watcher.watch(key.digest, key.job_name, job_id, self.watcher.clock(), state, self.client)
        job.cluster = submission.cluster
        try:
            while True:
                news = await job.observe()
                self._report(news, key, job.job_id, report)
                listener.seen(news.status, news.tally)
                if news.status.phase.is_final or news.status.never_starts:
                    return news.status
        finally:
            self.watcher.forget(job)

    def _report(self, news: Observation, key: JobKey, job_id: int, report: Callable[[str], None]) -> None:
        if news.skipped:
            log = f"{self.client.name}:{self.client.key_dir(key.digest)}/job.log"
            report(f"[{news.skipped} bytes left out here; the whole log: {log}]")
        if news.text:
            report(news.text.rstrip("\n"))
        if news.trouble:
            report(f"waiting for {self.client.name}: {news.trouble}")
        elif news.tally is not None and news.status.phase.is_final:
            pass  # the end is reported later, with the numbers of all tries
        elif news.tally is not None:
            status = news.hold or (None if news.tally.running else news.status)
            report(f"{news.tally} ({status.told_of(job_id)})" if status is not None else str(news.tally))
        elif news.is_change:
            report(news.status.told_of(job_id))

    async def _finish(
        self, request: JobRequest, job_id: int, status: JobStatus, asked: str, report: Callable[[str], None]
    ) -> Outcome:
        key = request.key
        error = await self._explained(error_of(status, key.job), [status], report)
        result = await self._result(request, error, report)
        run_dir = await self._run_dir(request, report)
        values, complaints = read_outputs(request.outputs, run_dir, result.output)
        if request.outputs and len(result.output.encode()) >= OUTPUT_LIMIT:
            complaints = [f"it wrote more than {OUTPUT_LIMIT:,} bytes to $HOTSWAP_OUTPUT; let it write a file instead"]
        if isinstance(error, JobFailed) and result.reason == CANCELLED:
            error = JobCancelled(f"job {key.job} was cancelled as it began")
        elif isinstance(error, JobFailed) and result.reason:
            error = OutputMissing(f"job {key.job}: {result.reason.removeprefix('hotswap: ')}")
        if error is None and complaints:
            error = OutputMissing(f"job {key.job}: {'; '.join(complaints)}")
        state = status.state if error is None or status.phase is not Phase.SUCCEEDED else "FAILED"
        is_saved = request.saves and isinstance(error, MAY_GO_ON) and result.exit_status == SAVED_STATUS
        continuation = SAVED if is_saved else ""
        names = (type(error).__name__,) if error is not None and not continuation else ()
        nodes = (status.broken_node,) if status.broken_node else ()
        await self._settle(request, End(asked, continuation or state, names, nodes=nodes), report)
        if status.never_starts:
            await self._persist(lambda: self.client.cancel([(key.digest, key.job_name)]), report)
        failed = request.past.failed
        return Outcome(
            key, job_id, status, {} if error else values, error, failed_before=failed, continuation=continuation
        )

    async def _explained(
        self, error: JobError | None, statuses: Iterable[JobStatus], report: Callable[[str], None]
    ) -> JobError | None:
        """The error of a job; if Slurm could not start it (or an element), with the nodes, folder and user to check."""
        lost = next((status for status in statuses if status.lost_log), None)
        if not isinstance(error, JobFailed) or lost is None:
            return error
        user, folder = await self._persist(self.client.who, report)
        generic, named = no_log(lost.nodes), no_log(lost.nodes, folder, user)
        return JobFailed(str(error).replace(generic, named) if generic in str(error) else f"{error}; {named}")

    async def _report_recorded(
        self, request: JobRequest, recorded_end: End, job_id: int | None, report: Callable[[str], None]
    ) -> Outcome:
        """The failure of a job as it was recorded before, with the exit status that its script noted.

        Slurm may not know the job any more.
        """
        key = request.key
        noted = await self._persist(lambda: self.client.result(key.digest), report)
        status = JobStatus(recorded_end.state, exit_status=noted.exit_status)
        report(f"Slurm job {job_id or ''} had ended as {status.state}, which was recorded before")
        if not status.phase.is_final:  # it could never start; the try that recorded its end may not have cancelled it
            await self._persist(lambda: self.client.cancel([(key.digest, key.job_name)]), report)
        error = _as_recorded(request, error_of(status, key.job))
        return Outcome(key, job_id, status, {}, error, failed_before=request.past.failed)

    async def _result(self, request: JobRequest, error: JobError | None, report: Callable[[str], None]) -> Result:
        """What a job left: its values, or details of a failure. Empty if it succeeded and declares no values."""
        if error is None and not request.has_values:
            return Result(None, "", "")
        return await self._persist(lambda: self.client.result(request.key.digest), report)

    async def _settle(self, request: JobRequest, end: End, report: Callable[[str], None]) -> None:
        """Record the end on the cluster, once; the names of its errors decide whether and how the job is retried."""
        if request.past.recorded_end is None:
            await self._persist(lambda: self.client.record_end(request.key.digest, end.words), report)

    async def _finish_elements(
        self, request: JobRequest, job_id: int | None, state: ArrayState, asked: str, report: Callable[[str], None]
    ) -> Outcome:
        """The end of a sweep; ``job_id`` is None if earlier tries have brought every element to an end."""
        key = request.key
        if not state.status.phase.is_final:
            return await self._never_started(request, job_id, state, asked, report)
        await self._show_failed(key, state, report)
        wrote = await self._values(request, report)
        run_dir = await self._run_dir(request, report)
        ending = await asyncio.to_thread(array_result.conclude, request, state, run_dir, wrote)
        error = await self._explained(_as_recorded(request, ending.error), state.elements.values(), report)
        status = JobStatus("FAILED" if error else "COMPLETED")
        if job_id is not None:
            found = (ending.errors, ending.lost, ending.again, ending.nodes, ending.given_up)
            await self._settle(request, End(asked, ending.continuation or status.state, *found), report)
        report(str(ending.tally))
        submitted = len(state.array.indices) if job_id is not None else 0
        return Outcome(
            key,
            job_id,
            status,
            {} if error else ending.values,
            error,
            tally=ending.tally,
            submitted=submitted,
            failed_before=request.past.failed,
            continuation=ending.continuation if request.past.recorded_end is None else "",
            table=ending.table,
        )

    async def _never_started(
        self, request: JobRequest, job_id: int | None, state: ArrayState, asked: str, report: Callable[[str], None]
    ) -> Outcome:
        """The end of a sweep of which some elements can never start."""
        key = request.key
        error = _as_recorded(request, error_of(state.status, key.job))
        await self._settle(request, End(asked, state.status.state, ("JobNeverStarts",)), report)
        await self._persist(lambda: self.client.cancel([(key.digest, key.job_name)]), report)
        table = await asyncio.to_thread(array_result.unfinished, request, state, await self._values(request, report))
        failed = request.past.failed
        return Outcome(key, job_id, state.status, {}, error, state.tally, failed_before=failed, table=table)

    async def _values(self, request: JobRequest, report: Callable[[str], None]) -> dict[int, str]:
        """The lines of values that elements wrote, in this try and in earlier tries."""
        if not request.has_values:
            return {}
        key = request.key
        folders = await self._persist(lambda: self.client.find(key.stem), report)
        before = array_result.earlier_tries(folders, key, request.rows)
        earlier = [folder.digest for folder in before]
        failed = {folder.digest: folder.tried.end.again for folder in before if folder.tried.end is not None}
        own = [key.digest] if any(folder.digest == key.digest for folder in folders) else []
        wrote: dict[int, str] = {}
        ends = await self._persist(lambda: self.client.ends([*earlier, *own]), report)
        for digest in (*earlier, *own):
            found = await self._wrote(request, digest, report)
            # Values of an element that did not succeed in that try do not count.
            assumed = 0 if digest == key.digest else None
            noted = ends.get(digest, ElementEnds()).statuses
            good = {e for e in found if noted.get(e, assumed) == 0} - failed.get(digest, frozenset())
            wrote |= {e: text for e, text in found.items() if e in good}
        return wrote

    async def _show_failed(self, key: JobKey, state: ArrayState, report: Callable[[str], None]) -> None:
        """Report the ends of the logs of the first elements that failed."""
        failed = [element for element, status in state.elements.items() if status.phase is Phase.FAILED]
        indices = list(dict.fromkeys(element // state.array.chunk for element in failed))[:_FAILED_SHOWN]
        if not indices:
            return
        shown = [index - state.array.base for index in indices]
        tails = await self._persist(lambda: self.client.element_tails(key.digest, shown, _FAILED_TAIL), report)
        for index in shown:
            text = tails.get(index, b"").decode("utf-8", "replace").strip("\n")
            report(f"the end of the log of array index {index}:\n{text}")

    async def _run_dir(self, request: JobRequest, report: Callable[[str], None]) -> str:
        """The run's folder on the cluster; requested only if an output has a path, otherwise empty."""
        if not any(output.path for output in request.outputs):
            return ""
        folder = request.key.run.folder
        return await self._persist(lambda: self.client.lay_out(folder, ""), report) or ""

    async def lay_out(
        self, folder: str, pack: str, archive: Callable[[], AsyncIterator[bytes]], report: Callable[[str], None]
    ) -> None:
        """Find or make the run's folder; send the workflow's files if the cluster lacks them."""
        now = time.monotonic()
        self._ready = {laid_out: until for laid_out, until in self._ready.items() if until > now}
        if (folder, pack) in self._ready:
            return
        if await self._persist(lambda: self.client.lay_out(folder, pack), report) is None:
            async with self._sending[pack]:  # the jobs of a run start together, and one archive is enough
                while await self._persist(lambda: self.client.lay_out(folder, pack), report) is None:
                    report(f"sending the workflow's files to {self.client.name}")
                    await self._persist(lambda: self.client.send_pack(pack, archive()), report)
        self._ready[folder, pack] = now + READY_FOR

    async def time_out(self, key: JobKey, asked: str, error: JobTimedOut, report: Callable[[str], None]) -> Outcome:
        """Cancel the job of a task whose time is over, and record its end."""
        end = End(asked, "TIMEOUT", (type(error).__name__,))
        folders = await self._found(key, report)
        if folders is None:
            return Outcome(key, None, JobStatus(end.state), {}, error)
        names = await self._cancel(key, folders, report)
        tries = {folder.digest: folder.tried for folder in folders if folder.tried.epoch == key.epoch}
        failed = 0
        if tries:
            digest, last = max(tries.items(), key=lambda item: item[1].generation)
            await self._persist(lambda: self.client.record_end(digest, end.words), report)
            failed = past_of(tries, key.epoch, last.generation + (last.end is not None)).failed
        await self._leave_queue(names, folders, report)
        return Outcome(key, None, JobStatus(end.state), {}, error, failed_before=failed)

    async def cancel(self, key: JobKey, report: Callable[[str], None]) -> None:
        """Cancel every job of a key's epoch, and the jobs that older epochs left; wait until none is in the queue."""
        folders = await self._found(key, report)
        if folders is not None:
            await self._leave_queue(await self._cancel(key, folders, report), folders, report)

    async def _found(self, key: JobKey, report: Callable[[str], None]) -> list[Folder] | None:
        """The folders of a job that is to be cancelled. If they cannot be read, cancel its jobs here and give None."""
        try:
            return await self._persist(lambda: self.client.find(key.stem), report)
        except CommandFailed as error:
            report(f"cancelling what the queue has: {error}")
            await self.cancel_unseen(key, report)
            return None

    async def _cancel(self, key: JobKey, folders: Sequence[Folder], report: Callable[[str], None]) -> set[str]:
        """Cancel the jobs that ``cancel`` describes; give their names."""
        mine = [folder.digest for folder in folders if folder.tried.epoch == key.epoch] or [key.digest]
        older = [f.digest for f in folders if f.tried.epoch < key.epoch and f.tried.end is None]
        names = {digest: key.name_of(digest) for digest in (*mine, *older)}
        await self._persist(lambda: self.client.cancel(names.items()), report)
        return set(names.values())

    async def _leave_queue(self, names: set[str], folders: Sequence[Folder], report: Callable[[str], None]) -> None:
        digests = set(map(digest_of, names))
        going = (folder for folder in folders if folder.tried.end is None and folder.digest in digests)
        pause, clusters = 0.2, {"", *(folder.cluster for folder in going)}
        while await self._persist(lambda: self._is_queued(names, clusters), report):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _is_queued(self, names: set[str], clusters: set[str]) -> bool:
        if clusters - {""}:
            if not (home := await self.client.home()):
                raise ConnectionLost(f"{self.client.name} does not say what its own cluster is called")
            clusters = {"" if cluster == home else cluster for cluster in clusters}
        for cluster in clusters:
            queue = await self._queue(cluster)
            if any(queue.get(name) for name in names):
                return True
        return False


def _as_recorded(request: JobRequest, error: JobError | None) -> JobError | None:
    """The error of a job as it was recorded before, if it was: with time, Slurm knows less about a job."""
    recorded_end = request.past.recorded_end
    if recorded_end is None or not recorded_end.errors or type(error).__name__ == recorded_end.errors[0]:
        return error
    return error_class(recorded_end.errors[0])(
        f"job {request.key.job} had ended as {recorded_end.state}, as was recorded before"
    )
