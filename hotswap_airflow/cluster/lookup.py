"""How a job is that somebody else submitted: by its id, its name, or the key of one of ours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.cluster import scripts
from hotswap_airflow.cluster.answers import answered, lacks_accounting
from hotswap_airflow.errors import CommandFailed, SetupError
from hotswap_airflow.slurm import parsing
from hotswap_airflow.slurm.array import by_index
from hotswap_airflow.slurm.judgement import GONE_AFTER, Evidence, is_missing, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hotswap_airflow.cluster.client import ClusterClient, Glimpse
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.states import JobStatus

_SINCE_EVER, _RECENTLY = "1970-01-01", "now-7days"
_NO_SUCH_JOB = "Invalid job id specified"


@dataclass(frozen=True)
class Sighting:
    """Rows of a job in the queue and in accounting, None without it; ``is_sure``: nobody who may know it is away."""

    queue: list[QueuedJob]
    accounted: list[QueuedJob] | None
    is_sure: bool = True


@dataclass(frozen=True)
class SoughtJob:
    """Exactly one of: a Slurm job id, a job name (the newest of the last 7 days counts), the digest of a key."""

    job_id: int | None = None
    name: str | None = None
    key: str | None = None

    def check(self) -> None:
        """Raise ``SetupError`` where it says no job, or several."""
        if sum(part is not None for part in (self.job_id, self.name, self.key)) != 1:
            raise SetupError("give exactly one of job_id, job_name and key")
        if self.name is not None and (not self.name or "," in self.name or not self.name.isprintable()):
            raise SetupError(f"{self.name!r} is no job name that Slurm can be asked for")
        if self.key is not None and not all(char.isalnum() or char == "-" for char in self.key):
            raise SetupError(f"{self.key!r} is no key; it looks like 0123456789abcdef0123-e0-g0")

    def __str__(self) -> str:
        """How a person would call it."""
        return f"job {self.job_id or self.name or self.key}"


async def sight(client: ClusterClient, which: str, since: str) -> Sighting:
    """What squeue and sacct say of anybody's job. ``which`` is ``--jobs=ID`` or ``--name=NAME``.

    Raises ``CommandFailed`` where squeue fails.
    """
    said = await client.words(scripts.LOOK_UP, which, parsing.SQUEUE_FORMAT, since, parsing.SACCT_FIELDS)
    try:
        queue, rest = answered(said, "squeue", client.name)
    except CommandFailed as error:
        if _NO_SUCH_JOB not in str(error):
            raise
        queue, rest = "", said.partition("hotswap-answered ")[2].partition("\n")[2]
    try:
        accounted = parsing.parse_sacct(answered(rest, "sacct", client.name)[0])
    except CommandFailed as error:
        return Sighting(parsing.parse_squeue(queue), None, is_sure=lacks_accounting(error))
    return Sighting(parsing.parse_squeue(queue), accounted)


class Search:
    """Looks for a job again and again. ``clock`` gives seconds.

    Of a job that was seen it keeps the name, since its id may be given again, and when each part (an array's index, or
    None for the whole) was last known to go on: what nobody knows any more counts as gone after a while.
    """

    def __init__(self, client: ClusterClient, sought: SoughtJob, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._sought = sought
        self._clock = clock
        self._name = ""
        self._job_id = 0
        self._last_seen: dict[int | None, float] = {}

    async def look(self) -> list[JobStatus]:
        """How the job is, one status an array element; none where nobody knows it yet. Raises ``ClusterError``."""
        job_id, glimpse = self._sought.job_id, None
        if self._sought.key is not None:
            glimpse = (await self._client.glimpses([self._sought.key]))[self._sought.key]
            job_id = glimpse.job_id
            if job_id is None:
                return []
        by_id = job_id is not None
        which, since = (f"--jobs={job_id}", _SINCE_EVER) if by_id else (f"--name={self._sought.name}", _RECENTLY)
        seen = await sight(self._client, which, since)
        rows = [row for row in (*seen.queue, *(seen.accounted or ())) if self._is_it(row)]
        if rows:
            # A key and a name say which name it is; an id is whose it was when it was first looked for.
            self._name = rows[0].name
            newest = max(row.base_id for row in rows)
            if newest != self._job_id:
                self._job_id, self._last_seen = newest, {}
        return self._judged(seen, glimpse)

    def _is_it(self, row: QueuedJob) -> bool:
        if self._sought.key is not None:  # which is the last part of the job's name
            return row.name.endswith(f".{self._sought.key}")
        return not self._name or row.name == self._name

    def _judged(self, seen: Sighting, glimpse: Glimpse | None) -> list[JobStatus]:
        now, note = self._clock(), glimpse.exit_status if glimpse else None
        queued, accounted = (self._parts(rows or ()) for rows in (seen.queue, seen.accounted))
        parts = {*queued, *accounted, *self._last_seen}
        if glimpse is not None and not parts:  # it was submitted: its folder has an id
            parts = {None}
        if parts != {None}:  # it has turned out to be an array
            parts.discard(None)
            self._last_seen.pop(None, None)
        statuses = []
        for part in sorted(parts, key=lambda part: part or 0):
            status = queued.get(part)
            if part not in self._last_seen or not seen.is_sure or not is_missing(status, note):
                self._last_seen[part] = now
            evidence = Evidence(
                now=now,
                submitted_at=now - GONE_AFTER,
                missing_since=self._last_seen[part],
                queued=status,
                accounted=accounted.get(part),
                sentinel=note,
                signalled=glimpse is not None and glimpse.signalled,
                has_accounting=seen.accounted is not None,
                has_notes=glimpse is not None and part is None,
            )
            statuses.append(judge(evidence))
        return statuses

    def _parts(self, rows: Iterable[QueuedJob]) -> dict[int | None, JobStatus]:
        """The statuses of a job's parts; a row without an index stands for those of an array that never began."""
        own = [row for row in rows if row.base_id == self._job_id and row.name == self._name]
        open_indices = [part for part in self._last_seen if part is not None]
        if found := by_index(own, self._job_id, open_indices):
            return dict(found.items())
        return {None: own[-1].status} if own else {}
