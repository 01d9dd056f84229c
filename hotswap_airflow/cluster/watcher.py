"""One watcher answers for all jobs of a connection: one squeue, and one sacct for the missing, an interval."""

from __future__ import annotations

import asyncio
import codecs
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.errors import ClusterError, CommandFailed, LoginRequired
from hotswap_airflow.slurm.array import ArrayState, Tally, by_index
from hotswap_airflow.slurm.judgement import Evidence, judge
from hotswap_airflow.slurm.states import UNREACHABLE, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hotswap_airflow.cluster.client import ClusterClient, Glimpse
    from hotswap_airflow.slurm.parsing import QueuedJob

LOG_CHUNK = 64 * 1024
_MOST_LOGS = 64
_SACCT_PAUSE = 600.0
_SINCE_EVER = "1970-01-01"
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled|failed with status 127|not found", re.IGNORECASE)


@dataclass(frozen=True)
class Interval:
    """Seconds between polls: after a change, and at most in silence."""

    shortest: float = 2.0
    longest: float = 15.0
    growth: float = 1.5


@dataclass(frozen=True)
class Observation:
    """News of one job: its status, new text of its log, and how many bytes of it were left out."""

    status: JobStatus
    text: str = ""
    skipped: int = 0
    trouble: str = ""
    tally: Tally | None = None


@dataclass
class WatchedJob:
    """A job that somebody waits for; ``news`` are observations in order, or what ended the watch.

    ``elements`` is what is known of an array's.
    """

    digest: str
    name: str
    job_id: int
    submitted_at: float
    offset: int = 0
    elements: ArrayState | None = None
    missing_since: float | None = None
    status: JobStatus | None = None
    tally: Tally | None = None
    news: asyncio.Queue[Observation | BaseException] = field(default_factory=asyncio.Queue)
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    async def observe(self) -> Observation:
        """Wait for news. Raises ``LoginRequired`` where only a person can go on, and what ended the watcher."""
        found = await self.news.get()
        if isinstance(found, BaseException):
            raise found
        return found


class JobWatcher:
    """Polls while anybody waits. Belongs to one event loop."""

    def __init__(
        self, client: ClusterClient, interval: Interval | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.client = client
        self.clock = clock
        self._interval = interval or Interval()
        self._delay = self._interval.shortest
        self._jobs: dict[str, WatchedJob] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._no_accounting_until = 0.0
        self._is_unsure = False

    def watch(
        self, digest: str, name: str, job_id: int, submitted_at: float, elements: ArrayState | None = None
    ) -> WatchedJob:
        """Begin to watch a job; news come by ``observe``."""
        job = WatchedJob(digest, name, job_id, submitted_at, elements=elements)
        self._jobs[digest] = job
        self._delay = self._interval.shortest
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="hotswap watcher")
            self._task.add_done_callback(self._tell_end)
        return job

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

    async def _run(self) -> None:
        while self._jobs:
            try:
                changed = await self._poll()
                self._delay = self._interval.shortest if changed else self._delay * self._interval.growth
            except LoginRequired as error:
                self._give_up(error)
                return
            except ClusterError as error:
                self._tell_trouble(error)
                self._delay *= self._interval.growth
            self._delay = min(self._delay, self._interval.longest)
            await self._rest()

    async def _rest(self) -> None:
        """Wait for the next poll, or for a new job; but never ask more often than the shortest interval."""
        self._wake.clear()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._delay):
                await self._wake.wait()
        except TimeoutError:
            return
        if self._jobs:
            await asyncio.sleep(max(0.0, self._interval.shortest - (time.monotonic() - began)))

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        """Nobody may wait for a watcher that has died of a defect; each task fails, and is tried again."""
        error = None if task.cancelled() else task.exception()
        if error is not None and task is self._task:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        for job in self._jobs.values():
            job.news.put_nowait(error)
        self._jobs.clear()

    def _tell_trouble(self, error: ClusterError) -> None:
        for job in self._jobs.values():
            if job.status != UNREACHABLE:
                job.status = UNREACHABLE
                job.news.put_nowait(Observation(UNREACHABLE, trouble=str(error)))

    async def _poll(self) -> bool:
        jobs = dict(self._jobs)
        queue, glimpses = await self.client.status(jobs)
        for digest, glimpse in glimpses.items():
            # The note in the folder says which of two jobs of one key does the work.
            jobs[digest].job_id = glimpse.job_id or jobs[digest].job_id
        plain = {digest: job for digest, job in jobs.items() if job.elements is None}
        queued = _statuses(queue, plain)
        arrays = {digest: job for digest, job in jobs.items() if job.elements is not None}
        await self._look_at_elements(arrays, queue)
        asked: list[int | str] = [job.job_id for d, job in plain.items() if d not in queued or queued[d].phase.is_final]
        rows = await self._accounting([*asked, *(i for job in arrays.values() for i in _asked_of(job))])
        accounted = None if rows is None else {row.base_id: row.status for row in rows}
        found = {d: self._judged(job, queued.get(d), accounted, glimpses.get(d)) for d, job in plain.items()}
        found |= {digest: self._concluded(job, rows) for digest, job in arrays.items()}
        return await self._tell_all(jobs, found, glimpses)

    async def _tell_all(
        self, jobs: dict[str, WatchedJob], found: dict[str, JobStatus], glimpses: dict[str, Glimpse]
    ) -> bool:
        tails, error = await self._tails(jobs, found, glimpses)
        told = jobs if error is None else {d: job for d, job in jobs.items() if not found[d].phase.is_final}
        changes = [self._tell(job, found[digest], *tails.get(digest, (b"", 0))) for digest, job in told.items()]
        if error is not None:  # an end is told with the last of its log
            raise error
        return any(changes)

    async def _look_at_elements(self, arrays: Mapping[str, WatchedJob], queue: Sequence[QueuedJob]) -> None:
        """What the queue says of arrays, and the notes of elements where some have left it."""
        ended = []
        for digest, job in arrays.items():
            if job.elements is not None:
                job.elements.queued = by_index(queue, job.job_id, job.elements.open_indices)
                ended += [digest] if job.elements.unsure or job.elements.array.chunk > 1 else []
        if ended:
            for digest, noted in (await self.client.ends(ended)).items():
                elements = arrays[digest].elements
                if elements is not None:
                    elements.noted = noted

    def _concluded(self, job: WatchedJob, rows: Sequence[QueuedJob] | None) -> JobStatus:
        elements = job.elements
        if elements is None:
            raise ValueError(f"{job.name} is no array")
        accounted = None if rows is None else by_index(rows, job.job_id, elements.open_indices)
        elements.conclude(self.clock(), job.submitted_at, accounted, is_sure=not self._is_unsure)
        return elements.status

    async def _accounting(self, asked: Sequence[int | str]) -> list[QueuedJob] | None:
        """What sacct says of jobs that the queue does not know, or knows as ended; None without sacct."""
        self._is_unsure = False
        if self.clock() < self._no_accounting_until:
            return None
        if not asked:
            return []
        try:
            return await self.client.accounting(_SINCE_EVER, asked)
        except CommandFailed as error:
            if _NO_ACCOUNTING.search(str(error)):
                self._no_accounting_until = self.clock() + _SACCT_PAUSE
            else:
                self._is_unsure = True
            return None

    def _judged(
        self, job: WatchedJob, queued: JobStatus | None, accounted: dict[int, JobStatus] | None, glimpse: Glimpse | None
    ) -> JobStatus:
        now = self.clock()
        if queued is not None:
            job.missing_since = None
        elif job.missing_since is None or self._is_unsure:
            job.missing_since = now  # accounting that is away tells nothing
        return judge(
            Evidence(
                now=now,
                submitted_at=job.submitted_at,
                missing_since=now if job.missing_since is None else job.missing_since,
                queued=queued,
                accounted=(accounted or {}).get(job.job_id),
                sentinel=glimpse.exit_status if glimpse else None,
                has_accounting=accounted is not None,
            )
        )

    async def _tails(
        self, jobs: dict[str, WatchedJob], found: dict[str, JobStatus], glimpses: dict[str, Glimpse]
    ) -> tuple[dict[str, tuple[bytes, int]], ClusterError | None]:
        """New bytes of each log, and how many before them are left out because a poll may take only so many.

        Of what all logs together have, a poll takes so much and leaves the rest to the next; ends go first.
        """
        pieces: list[tuple[str, int, int]] = []
        skipped = {}
        for digest, job in sorted(jobs.items(), key=lambda item: not found[item[0]].phase.is_final):
            if job.elements is not None:
                continue
            size = glimpses[digest].log_size if digest in glimpses else 0
            is_final = found[digest].phase.is_final
            if is_final or (size > job.offset and len(pieces) < _MOST_LOGS):
                skipped[digest] = max(0, size - job.offset - LOG_CHUNK)
                pieces.append((digest, job.offset + skipped[digest], LOG_CHUNK))
        if not pieces:
            return {}, None
        try:
            read = await self.client.tails(pieces)
        except ClusterError as error:
            return {}, error
        return {digest: (piece, skipped[digest]) for digest, piece in read.items()}, None

    def _tell(self, job: WatchedJob, status: JobStatus, piece: bytes, skipped: int) -> bool:
        tally = job.elements.tally if job.elements is not None else None
        is_new = status != job.status or tally != job.tally
        if piece or is_new:
            job.offset += skipped + len(piece)
            text = job.decoder.decode(piece, final=status.phase.is_final)
            job.status, job.tally = status, tally
            job.news.put_nowait(Observation(status, text, skipped, tally=tally))
        if status.phase.is_final:
            self.forget(job)
        return is_new


def _asked_of(job: WatchedJob) -> list[str]:
    return job.elements.asked_of_accounting(job.job_id) if job.elements is not None else []


def _statuses(queue: Iterable[QueuedJob], jobs: Mapping[str, WatchedJob]) -> dict[str, JobStatus]:
    """The status of each job by its digest: of several jobs of one name, that of the id which counts."""
    found: dict[str, dict[str, JobStatus]] = {}
    for row in queue:
        found.setdefault(row.name, {})[row.job_id] = row.status
    return {
        digest: rows.get(str(job.job_id), next(iter(rows.values())))
        for digest, job in jobs.items()
        if (rows := found.get(job.name))
    }
