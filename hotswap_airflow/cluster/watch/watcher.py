"""One watcher answers for all jobs of a cluster: one squeue, and one sacct for the missing, an interval.

Without a connection that may see all jobs there is one for each identity.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from itertools import accumulate
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.framing import in_slices, lacks_accounting
from hotswap_airflow.cluster.watch.poll import by_index, by_job, of_each, poll_once
from hotswap_airflow.cluster.watch.push import Listeners
from hotswap_airflow.cluster.watch.watched_job import Interval, Observation, WatchedJob
from hotswap_airflow.errors import ClusterError, CommandFailed, LoginRequired
from hotswap_airflow.slurm.judgement import Evidence, is_missing, judge
from hotswap_airflow.slurm.states import REVOKED, UNREACHABLE, JobStatus

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
"""Characters of ids that one question to accounting may have; Linux takes no argument above 128 KiB."""
_SACCT_PAUSE = 600.0
_NOTES_PAUSE = 60.0
"""Seconds after which the notes of a sweep's elements are read also where its queue looks as it should."""
_SINCE_EVER = "1970-01-01"


class JobWatcher:
    """Polls while anybody waits. Belongs to one event loop.

    ``client`` asks Slurm for all jobs; each job's own identity reads its folder. ``polled`` hears of every look: how
    many seconds it took, how many jobs are watched, and whether there was an answer.
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
        self._listeners = Listeners(self._hear)
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
        """Begin to watch a job; news come by ``observe``. ``client`` is its identity, if it is not the asking one."""
        job = WatchedJob(digest, name, job_id, submitted_at, client or self.client, elements=elements)
        self._jobs[digest] = job
        self._delay, self._silent, self._is_new = self.interval.shortest, 0, True
        self._wake.set()
        if self._task is None or self._task.done():
            self._begin()
        return job

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="hotswap watcher")
        self._task.add_done_callback(self._tell_end)

    def forget(self, job: WatchedJob) -> None:
        """Watch a job no more, unless somebody else watches it by now; the watcher rests when it was the last."""
        if self._jobs.get(job.digest) is job:
            del self._jobs[job.digest]
        if not self._jobs:
            self._wake.set()

    async def close(self) -> None:
        """Stop watching; nobody hears any more of these jobs."""
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

    def _hear(self) -> None:
        """A job has noted its end: Slurm will know it now, or in a moment."""
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
                self._tell_trouble(error, self._jobs.values())
                self._silent += 1
            finally:
                self._polled_at = time.monotonic()
                self._polled(self._polled_at - began, watched, answered)
            self._soon = max(0, self._soon - 1)
            self._delay = self.interval.after(self._delay, self._silent)

    async def _rest(self) -> None:
        """Wait until a poll is due; a new job, or the end of one that was told, makes that sooner."""
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

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        """Nobody may wait for a watcher that has died of a defect; each task fails, and is tried again."""
        error = None if task.cancelled() else task.exception()
        if error is not None and task is self._task:
            self._give_up(error)
        elif self._jobs and task is self._task and not task.cancelled():
            self._begin()  # somebody came while it was ending

    def _give_up(self, error: BaseException) -> None:
        for job in self._jobs.values():
            job.news.put_nowait(error)
        self._jobs.clear()

    def _tell_trouble(self, error: ClusterError, jobs: Iterable[WatchedJob]) -> None:
        for job in jobs:
            if job.status != UNREACHABLE:
                job.status = UNREACHABLE
                job.news.put_nowait(Observation(UNREACHABLE, trouble=str(error)))

    async def _poll(self) -> bool:
        seen = await poll_once(self.client, jobs := dict(self._jobs))
        for digest, glimpse in seen.glimpses.items():
            # The note in the folder says which of two jobs of one key does the work, and where.
            jobs[digest].job_id = glimpse.job_id or jobs[digest].job_id
            if glimpse.cluster and seen.home:
                jobs[digest].cluster = "" if glimpse.cluster == seen.home else glimpse.cluster
        await asyncio.sleep(0)
        wanted = {job.named for job in jobs.values()}
        jobs = self._without(seen.troubles, jobs)
        await asyncio.sleep(0)
        rows_of = await by_job(seen.queue, wanted)
        jobs = self._without(await self._look_at_elements(jobs, rows_of), jobs)
        queued = _statuses(rows_of, jobs)
        await asyncio.sleep(0)
        unsure = _unsure(jobs, queued)
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
        return await self._tell_all(jobs, found, seen.glimpses)

    def _without(
        self, troubles: Mapping[ClusterClient | str, ClusterError], jobs: dict[str, WatchedJob]
    ) -> dict[str, WatchedJob]:
        """The jobs whose identities and clusters gave an answer; the others are told why there is no news."""
        if not troubles:
            return jobs
        for silent, error in troubles.items():
            self._tell_trouble(error, [job for job in jobs.values() if silent in {job.client, job.cluster}])
        return {digest: job for digest, job in jobs.items() if not {job.client, job.cluster} & troubles.keys()}

    async def _tell_all(
        self, jobs: dict[str, WatchedJob], found: dict[str, JobStatus], glimpses: dict[str, FolderNote]
    ) -> bool:
        ends = [digest async for digest in in_slices(jobs) if found[digest].phase.is_final]
        later = set(ends[_MOST_ENDS:])  # of thousands at once, the logs would not come within the limit of a command
        jobs = {digest: job for digest, job in jobs.items() if digest not in later}
        tails, troubles = await self._tails(jobs, found, glimpses)
        # An end is told with the last of its log.
        untold = {digest for digest in ends if digest in jobs and jobs[digest].client in troubles}
        told = {digest: job for digest, job in jobs.items() if digest not in untold}
        changes = [
            self._tell(job, found[digest], *tails.get(digest, (b"", 0)))
            async for digest, job in in_slices(told.items())
        ]
        self._without(troubles, {digest: job for digest, job in jobs.items() if digest not in told})
        return any(changes) or bool(later)

    async def _look_at_elements(
        self, jobs: Mapping[str, WatchedJob], queue: Mapping[tuple[int, str], Sequence[QueuedJob]]
    ) -> dict[ClusterClient | str, ClusterError]:
        """What the queue says of arrays, and the notes of elements where some have left it."""
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
        self, asked: Mapping[str, Sequence[int | str]], jobs: Collection[WatchedJob]
    ) -> list[QueuedJob] | None:
        """What sacct says of jobs that the queue does not know, or knows as ended, by cluster; None without sacct."""
        self._is_unsure = False
        if self.clock() < self._no_accounting_until:
            return None
        found: list[QueuedJob] = []
        for cluster, ids in asked.items():
            rows = await self._accounted(self.client.on(cluster), ids, jobs)
            if rows is None:
                return None
            found += rows
        return found

    async def _accounted(
        self, asker: ClusterClient, asked: Sequence[int | str], jobs: Iterable[WatchedJob]
    ) -> list[QueuedJob] | None:
        everybody = any(job.client.transport is not self.client.transport for job in jobs)
        lengths = accumulate(len(f"{one},") for one in asked)
        askable = [one for one, length in zip(asked, lengths, strict=True) if length <= _LONGEST_QUESTION]
        self._is_unsure |= len(askable) < len(asked)  # whoever was not asked for is not missing
        try:
            return await asker.accounting(_SINCE_EVER, askable, everybody=everybody)
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
            job.missing_since = now  # accounting that is away tells nothing
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
        """New bytes of each log, and how many before them are left out because a poll may take only so many.

        Of what all logs together have, a poll takes so much and leaves the rest to the next; ends go first, then those
        that were read longest ago.
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

    def _tell(self, job: WatchedJob, status: JobStatus, piece: bytes, skipped: int) -> bool:
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


def _unsure(jobs: Mapping[str, WatchedJob], queued: Mapping[str, JobStatus]) -> dict[str, list[int | str]]:
    """The ids that accounting must be asked for, by cluster: of jobs that the queue does not know, or knows as ended.

    Or knows to be with another cluster of a federation.
    """
    asked: dict[str, list[int | str]] = {}
    for digest, job in jobs.items():
        if job.elements is not None:
            ids: Sequence[int | str] = job.elements.asked_of_accounting(job.job_id)
        else:
            status = queued.get(digest)
            ids = [job.job_id] if status is None or status.phase.is_final or status.state == REVOKED else []
        if ids:
            asked.setdefault(job.cluster, []).extend(ids)
    return asked


def _statuses(
    queue: Mapping[tuple[int, str], Sequence[QueuedJob]], jobs: Mapping[str, WatchedJob]
) -> dict[str, JobStatus]:
    """The status of each single job by its digest: of several of one name, that of the id which counts."""
    return {
        digest: rows[-1].status
        for digest, job in jobs.items()
        if job.elements is None and (rows := queue.get(job.named))
    }
