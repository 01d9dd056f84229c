"""How a job is that somebody else submitted: by its id, its name, or the key of one of ours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm.array import indices_in
from hotswap_airflow.slurm.judgement import GONE_AFTER, Evidence, is_missing, judge
from hotswap_airflow.slurm.states import REVOKED, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.remote.foreign_rows import QueueAndAccounting
    from hotswap_airflow.slurm.history.notes import FolderNote
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.states import JobStatus


@dataclass(frozen=True)
class SoughtJob:
    """Exactly one of: a Slurm job id, a job name (the newest of the last 7 days counts), the digest of a key."""

    job_id: int | None = None
    name: str | None = None
    key: str | None = None

    def check(self) -> None:
        """Raise ``SetupError`` if there is not exactly one, or if the name or key is malformed."""
        if sum(part is not None for part in (self.job_id, self.name, self.key)) != 1:
            raise SetupError("give exactly one of job_id, job_name and key")
        if self.name is not None and (not self.name or "," in self.name or not self.name.isprintable()):
            raise SetupError(f"{self.name!r} is not a job name that Slurm can look up")
        if self.key is not None and not all(char.isalnum() or char == "-" for char in self.key):
            raise SetupError(f"{self.key!r} is not a key; a key looks like 0123456789abcdef0123-e0-g0")

    def __str__(self) -> str:
        """Give ``job`` and the id, name or key."""
        return f"job {self.job_id or self.name or self.key}"


class ForeignJobWatch:
    """Polls one job repeatedly. ``clock`` gives seconds.

    It keeps the names with which the job was seen, because Slurm may reuse its id. It keeps how parts of the job (by
    Slurm's ids of array elements) have ended, because Slurm forgets them. It also keeps since when the queue shows no
    part as active: a job that no source knows any more counts as gone after a while.
    """

    def __init__(self, client: ClusterClient, sought: SoughtJob, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._sought = sought
        self._clock = clock
        self._names: frozenset[str] = frozenset()
        self._job_id = 0
        self._active: set[str] = set()
        self._ended: dict[str, JobStatus] = {}
        self._missing_since: float | None = None

    async def poll_once(self) -> list[JobStatus]:
        """The state of the job, one status for each array element; empty if unknown yet. Raises ``ClusterError``."""
        job_id, glimpse, client = self._sought.job_id, None, self._client
        if self._sought.key is not None:
            glimpse = (await self._client.glimpses([self._sought.key]))[self._sought.key]
            job_id = glimpse.job_id
            if glimpse.cluster and glimpse.cluster != await client.home():
                client = client.on(glimpse.cluster)
            if job_id is None:
                return []
        if job_id is not None:
            seen = await client.foreign_rows.ask("jobs", str(job_id))
        else:
            seen = await client.foreign_rows.ask("name", self._sought.name or "")
        self._recognize(seen.queue)
        if not self._job_id:
            self._recognize(seen.accounted or ())
        return self._judged(seen, glimpse)

    def _recognize(self, rows: Sequence[QueuedJob]) -> None:
        """Choose the rows that count: for a name, the rows of the newest job; for an id, the rows with its first names.

        The queue comes first: a greater id in accounting may belong to a job that ended before Slurm restarted its ids.
        """
        rows = [row for row in rows if self._is_it(row)]
        newest = max((row.base_id for row in rows), default=self._job_id)
        if newest > self._job_id:
            self._names = frozenset(row.name for row in rows if row.base_id == newest)
            self._job_id, self._active, self._ended, self._missing_since = newest, set(), {}, None

    def _is_it(self, row: QueuedJob) -> bool:
        if self._sought.key is not None:  # which is the last part of the job's name
            return row.name.endswith(f".{self._sought.key}")
        return not self._names or row.name in self._names

    def _own(self, rows: Iterable[QueuedJob]) -> dict[str, JobStatus]:
        own = [row for row in rows if row.base_id == self._job_id and row.name in self._names]
        # If several clusters of a federation know a job, the row of the cluster that has it counts.
        own.sort(key=lambda row: row.status.state != REVOKED)
        return {row.job_id: row.status for row in own}

    def _judged(self, seen: QueueAndAccounting, glimpse: FolderNote | None) -> list[JobStatus]:
        now, queued, accounted = self._clock(), self._own(seen.queue), self._own(seen.accounted or ())
        note, signalled = (glimpse.exit_status, glimpse.signalled) if glimpse else (None, False)
        active = {part for part, status in queued.items() if not status.phase.is_final}
        for part in active:  # Slurm may have started it again
            self._ended.pop(part, None)
        # A part whose end accounting has, even in one row for all parts that never began, need not be remembered.
        over = {part for part, status in accounted.items() if status.phase.is_final}
        accounted_parts = {f"{self._job_id}_{index}" for part in over for index in indices_in(part)}
        self._active = active | (set() if str(self._job_id) in over else self._active - accounted_parts)
        if not seen.is_sure or any(not is_missing(queued[part], note, signalled=signalled) for part in active):
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        known = queued.keys() | accounted.keys() | (self._active - self._ended.keys())
        if not known and not self._ended and (glimpse or self._names):
            known = {""}
        evidence = partial(
            Evidence,
            now=now,
            submitted_at=now - GONE_AFTER,
            missing_since=now if self._missing_since is None else self._missing_since,
            noted_status=note,
            signalled=signalled,
            has_accounting=seen.accounted is not None,
            has_notes=glimpse is not None and not any("_" in part for part in known),
        )
        judged = {p: judge(evidence(queued=queued.get(p), accounted=accounted.get(p))) for p in sorted(known)}
        self._ended |= {p: s for p, s in judged.items() if s.phase in {Phase.SUCCEEDED, Phase.FAILED}}
        merged = {**self._ended, **judged}
        return [merged[part] for part in sorted(merged)]
