"""One watcher for all jobs of a cluster: in each interval one squeue, and one sacct for the jobs missing there.

Without a monitor account there is one watcher for each identity.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from itertools import accumulate
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.framing import in_slices, lacks_accounting
from hotswap_airflow.cluster.watch.poll import by_index, by_job, of_each, poll_once, single_statuses, unsure_ids
from hotswap_airflow.cluster.watch.push import Listeners
from hotswap_airflow.cluster.watch.watched_job import Interval, Observation, WatchedJob
from hotswap_airflow.errors import ClusterError, CommandFailed, LoginRequired
from hotswap_airflow.slurm.judgement import Evidence, is_missing, judge
from hotswap_airflow.slurm.states import UNREACHABLE, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.array_state import ArrayState
    from hotswap_airflow.slurm.history.notes import FolderNote
    from hotswap_airflow.slurm.parsing import QueuedJob

LOG_CHUNK = 64 * 1024
_MOST_LOGS = 64
_LOOKS_AFTER_AN_END = 3
_MOST_ENDS = 300
_LONGEST_QUESTION = 100_000
"""Characters of ids in one request to accounting; Linux takes no argument above 128 KiB."""
_SACCT_PAUSE = 600.0
_NOTES_PAUSE = 60.0
"""Seconds after which the notes of a sweep's elements are read even if the queue gives no reason for it."""
_SINCE_EVER = "1970-01-01"


class JobWatcher:
    """Polls as long as any job is watched. Belongs to one event loop.

    ``client`` polls Slurm for all jobs; each job's own identity reads its folder. ``polled`` is called after every poll
    with the seconds it took, the number of watched jobs, and whether there was an answer.
    """

    def __init__(
        self,
        client: ClusterClient,
        interval: Interval | None = None,
        clock: Callable[[], float] = time.time,
        polled: Callable[[float, int, bool], None] | None = None,
    ) -> None:
        self.client = client
        self._polled = polled or (lambda _seconds, _jobs, _answered: None)
        self.clock = clock
        self.interval = interval or Interval()
        self._delay = self.interval.shortest
        self._jobs: dict[str, WatchedJob] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._no_accounting_until = 0.0
        self._is_unsure = False
        self._silent = 0
        self._listeners = Listeners(self._poll_soon)
        self._soon = 0
        self._polled_at = -math.inf
        self._is_new = False

    def watch(
        self,
        digest: str,
        name: str,
        job_id: int,
        submitted_at: float,
        elements: ArrayState | None = None,
        client: ClusterClient | None = None,
    ) -> WatchedJob:
        """Start to watch a job; ``observe`` gives its news. ``client`` is its identity, the watcher's own if None."""
        job = WatchedJob(digest, name, job_id, submitted_at, client or self.client, elements=elements)
        self._jobs[digest] = job
        self._delay, self._silent, self._is_new = self.interval.shortest, 0, True
        self._wake.set()
        if self._task is None or self._task.done():
            self._begin()
        return job

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="hotswap watcher")
        self._task.add_done_callback(self._on_end)

    def forget(self, job: WatchedJob) -> None:
        """Stop watching a job, unless a newer watch has replaced this one; after the last job the watcher stops."""
        if self._jobs.get(job.digest) is job:
            del self._jobs[job.digest]
        if not self._jobs:
            self._wake.set()

    async def close(self) -> None:
        """Stop watching all jobs; there is no further news of them."""
        self._jobs.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._listeners.close()

    async def _run(self) -> None:
        try:
            await self._keep_polling()
        finally:
            await self._listeners.close()

    def _poll_soon(self) -> None:
        """Poll soon after a job noted its end: Slurm knows of the end now, or in a moment."""
        self._soon = _LOOKS_AFTER_AN_END
        self._wake.set()

    async def _keep_polling(self) -> None:
        while self._jobs:
            self._listeners.listen_to({job.client for job in self._jobs.values()})
            await self._rest()
            self._is_new = False
            began, watched, answered = time.monotonic(), len(self._jobs), False
            try:
                self._silent = 0 if await self._poll() else self._silent + 1
                answered = True
            except LoginRequired as error:
                self._give_up(error)
                return
            except ClusterError as error:
                self._report_trouble(error, self._jobs.values())
                self._silent += 1
            finally:
                self._polled_at = time.monotonic()
                self._polled(self._polled_at - began, watched, answered)
            self._soon = max(0, self._soon - 1)
            self._delay = self.interval.after(self._delay, self._silent)

    async def _rest(self) -> None:
        """Wait until a poll is due; a new job, or notice of an end, makes it due sooner."""
        while self._jobs and (left := self._due - time.monotonic()) > 0:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()

    @property
    def _due(self) -> float:
        if self._soon:
            return self._polled_at + self.interval.hinted
        return self._polled_at + (self.interval.shortest if self._is_new else self._delay)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Pass an error that ended the watcher on to all jobs, so that each task fails and is retried."""
        error = None if task.cancelled() else task.exception()
        if error is not None and task is self._task:
            self._give_up(error)
        elif self._jobs and task is self._task and not task.cancelled():
            self._begin()  # a job was added while the watcher was ending

    def _give_up(self, error: BaseException) -> None:
        for job in self._jobs.values():
            job.news.put_nowait(error)
        self._jobs.clear()

    def _report_trouble(self, error: ClusterError, jobs: Iterable[WatchedJob]) -> None:
        for job in jobs:
            if job.status != UNREACHABLE:
                job.status = UNREACHABLE
                job.news.put_nowait(Observation(UNREACHABLE, trouble=str(error)))

    async def _poll(self) -> bool:
        seen = await poll_once(self.client, jobs := dict(self._jobs))
        for digest, glimpse in seen.glimpses.items():
            # If two jobs have the same key, the note in the folder names the one that does the work, and its cluster.
            jobs[digest].job_id = glimpse.job_id or jobs[digest].job_id
            if glimpse.cluster and seen.home:
                jobs[digest].cluster = "" if glimpse.cluster == seen.home else glimpse.cluster
        await asyncio.sleep(0)
        wanted = {job.named for job in jobs.values()}
        jobs = self._without(seen.troubles, jobs)
        await asyncio.sleep(0)
        rows_of = await by_job(seen.queue, wanted)
        jobs = self._without(await self._look_at_elements(jobs, rows_of), jobs)
        queued = single_statuses(rows_of, jobs)
        await asyncio.sleep(0)
        unsure = unsure_ids(jobs, queued)
        await asyncio.sleep(0)
        rows = await self._accounting(unsure, list(jobs.values()))
        accounted = None if rows is None else await by_job(rows, wanted)
        found: dict[str, JobStatus] = {}
        async for digest, job in in_slices(jobs.items()):
            if job.elements is None:
                found[digest] = self._judged(job, queued.get(digest), accounted, seen.glimpses.get(digest))
            else:
                found[digest] = await self._concluded(job, job.elements, accounted)
                await asyncio.sleep(0)
        return await self._report_all(jobs, found, seen.glimpses)

    def _without(
        self, troubles: Mapping[ClusterClient | str, ClusterError], jobs: dict[str, WatchedJob]
    ) -> dict[str, WatchedJob]:
        """The jobs whose identity and cluster gave an answer; the other jobs get the error as their news."""
        if not troubles:
            return jobs
        for silent, error in troubles.items():
            self._report_trouble(error, [job for job in jobs.values() if silent in {job.client, job.cluster}])
        return {digest: job for digest, job in jobs.items() if not {job.client, job.cluster} & troubles.keys()}

    async def _report_all(
        self, jobs: dict[str, WatchedJob], found: dict[str, JobStatus], glimpses: dict[str, FolderNote]
    ) -> bool:
        ends = [digest async for digest in in_slices(jobs) if found[digest].phase.is_final]
        later = set(ends[_MOST_ENDS:])  # the logs of thousands of ended jobs would exceed the time limit of a command
        jobs = {digest: job for digest, job in jobs.items() if digest not in later}
        tails, troubles = await self._tails(jobs, found, glimpses)
        # An end is reported together with the last part of the log.
        unreported = {digest for digest in ends if digest in jobs and jobs[digest].client in troubles}
        reported = {digest: job for digest, job in jobs.items() if digest not in unreported}
        changes = [
            self._report(job, found[digest], *tails.get(digest, (b"", 0)))
            async for digest, job in in_slices(reported.items())
        ]
        self._without(troubles, {digest: job for digest, job in jobs.items() if digest not in reported})
        return any(changes) or bool(later)

    async def _look_at_elements(
        self, jobs: Mapping[str, WatchedJob], queue: Mapping[tuple[int, str], Sequence[QueuedJob]]
    ) -> dict[ClusterClient | str, ClusterError]:
        """Update arrays from the queue, and from the notes of elements if needed or due; give errors by identity."""
        ended = []
        for digest, job in jobs.items():
            if job.elements is not None:
                known, rows = job.elements, queue.get(job.named, ())
                known.queued = await by_index(rows, known.open_indices, known.array.base)
                if known.needs_notes or self.clock() >= job.notes_due:
                    job.notes_due = self.clock() + _NOTES_PAUSE
                    ended.append(digest)
                await asyncio.sleep(0)
        found, troubles = await of_each(jobs, zip(ended, ended, strict=True), lambda c, items: c.ends(items))
        for digest, noted in found.items():
            elements = jobs[digest].elements
            if elements is not None:
                elements.ends = noted
        return troubles

    async def _concluded(
        self, job: WatchedJob, elements: ArrayState, rows: Mapping[tuple[int, str], Sequence[QueuedJob]] | None
    ) -> JobStatus:
        own = None if rows is None else rows.get(job.named, ())
        accounted = None if own is None else await by_index(own, elements.open_indices, elements.array.base)
        each = elements.conclude_each(self.clock(), job.submitted_at, accounted, is_sure=not self._is_unsure)
        async for _ in in_slices(each):
            pass
        return elements.status

    async def _accounting(
        self, wanted: Mapping[str, Sequence[int | str]], jobs: Collection[WatchedJob]
    ) -> list[QueuedJob] | None:
        """The rows of sacct for the ids in ``wanted``, which are given by cluster; None if sacct fails."""
        self._is_unsure = False
        if self.clock() < self._no_accounting_until:
            return None
        found: list[QueuedJob] = []
        for cluster, ids in wanted.items():
            rows = await self._accounted(self.client.on(cluster), ids, jobs)
            if rows is None:
                return None
            found += rows
        return found

    async def _accounted(
        self, client: ClusterClient, ids: Sequence[int | str], jobs: Iterable[WatchedJob]
    ) -> list[QueuedJob] | None:
        everybody = any(job.client.transport is not self.client.transport for job in jobs)
        lengths = accumulate(len(f"{one},") for one in ids)
        fitting = [one for one, length in zip(ids, lengths, strict=True) if length <= _LONGEST_QUESTION]
        self._is_unsure |= len(fitting) < len(ids)  # a job that was not requested is not missing
        try:
            return await client.accounting(_SINCE_EVER, fitting, everybody=everybody)
        except CommandFailed as error:
            if lacks_accounting(error):
                self._no_accounting_until = self.clock() + _SACCT_PAUSE
            else:
                self._is_unsure = True
            return None

    def _judged(
        self,
        job: WatchedJob,
        queued: JobStatus | None,
        accounted: Mapping[tuple[int, str], Sequence[QueuedJob]] | None,
        glimpse: FolderNote | None,
    ) -> JobStatus:
        now, noted_status = self.clock(), glimpse.exit_status if glimpse else None
        signalled = glimpse is not None and glimpse.signalled
        if not is_missing(queued, noted_status, signalled=signalled):
            job.missing_since = None
        elif job.missing_since is None or self._is_unsure:
            job.missing_since = now  # without an answer of accounting, no time counts as missing
        return judge(
            Evidence(
                now=now,
                submitted_at=job.submitted_at,
                missing_since=now if job.missing_since is None else job.missing_since,
                queued=queued,
                accounted=rows[-1].status if (rows := (accounted or {}).get(job.named)) else None,
                noted_status=noted_status,
                signalled=signalled,
                has_accounting=accounted is not None,
            )
        )

    async def _tails(
        self, jobs: dict[str, WatchedJob], found: dict[str, JobStatus], glimpses: dict[str, FolderNote]
    ) -> tuple[dict[str, tuple[bytes, int]], dict[ClusterClient | str, ClusterError]]:
        """New bytes of each log, and how many bytes before them are skipped because a poll reads a limited number.

        Logs of ended jobs are always read. The other logs follow, the log read longest ago first, until ``_MOST_LOGS``
        logs are read in total; the rest is left to the next poll.
        """
        pieces: list[tuple[str, int, int]] = []
        skipped = {}
        turns = []
        async for digest, job in in_slices(jobs.items()):
            size = glimpses[digest].log_size if digest in glimpses else 0
            is_final = found[digest].phase.is_final
            if job.elements is None and (is_final or size > job.offset):
                turns.append((not is_final, job.read_at, digest, size))
        for continuation, _, digest, size in sorted(turns):
            job = jobs[digest]
            if not continuation or len(pieces) < _MOST_LOGS:
                job.read_at = time.monotonic()
                skipped[digest] = max(0, size - job.offset - LOG_CHUNK)
                pieces.append((digest, job.offset + skipped[digest], LOG_CHUNK))
        read, troubles = await of_each(jobs, ((piece[0], piece) for piece in pieces), lambda c, items: c.tails(items))
        return {digest: (piece, skipped[digest]) for digest, piece in read.items()}, troubles

    def _report(self, job: WatchedJob, status: JobStatus, piece: bytes, skipped: int) -> bool:
        tally = job.elements.tally if job.elements is not None else None
        hold = job.elements.hold if job.elements is not None else None
        is_new = status != job.status or tally != job.tally or hold != job.hold
        if piece or is_new:
            job.offset += skipped + len(piece)
            text = job.decoder.decode(piece, final=status.phase.is_final)
            news = Observation(status, text, skipped, tally=tally, is_change=is_new, hold=hold)
            job.status, job.tally, job.hold = status, tally, hold
            job.news.put_nowait(news)
        if status.phase.is_final:
            self.forget(job)
        return is_new
