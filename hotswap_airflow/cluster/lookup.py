"""How a job is that somebody else submitted: by its id, its name, or the key of one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm.judgement import Evidence, judge

if TYPE_CHECKING:
    from hotswap_airflow.cluster.client import ClusterClient
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.states import JobStatus

_SINCE_EVER, _RECENTLY = "1970-01-01", "now-7days"


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


async def look_up(client: ClusterClient, sought: SoughtJob) -> list[JobStatus]:
    """How the job is, one status an array element; none where nobody knows it (yet). Raises ``ClusterError``."""
    job_id, sentinel = sought.job_id, None
    if sought.key is not None:
        _, glimpses = await client.status([sought.key])
        glimpse = glimpses[sought.key]
        job_id, sentinel = glimpse.job_id, glimpse.exit_status
        if job_id is None:
            return []
    which, since = (f"--jobs={job_id}", _SINCE_EVER) if job_id is not None else (f"--name={sought.name}", _RECENTLY)
    queue, accounting = await client.look_up(which, since)
    if sought.key is not None:  # its id may be another job's meanwhile
        queue, accounting = _named(sought.key, queue), None if accounting is None else _named(sought.key, accounting)
    newest = max((row.base_id for row in (*queue, *(accounting or ()))), default=0)
    queued, accounted = _of(newest, queue), _of(newest, accounting or [])
    ids = sorted(queued.keys() | accounted.keys()) or ([""] if sentinel is not None else [])
    known = partial(Evidence, 0.0, 0.0, 0.0, sentinel=sentinel, has_accounting=accounting is not None, has_notes=False)
    return [judge(known(queued=queued.get(i), accounted=accounted.get(i))) for i in ids]


def _named(key: str, rows: list[QueuedJob]) -> list[QueuedJob]:
    """The rows of the job of a key, which is the last part of the job's name."""
    return [row for row in rows if row.name.endswith(f".{key}")]


def _of(job_id: int, rows: list[QueuedJob]) -> dict[str, JobStatus]:
    """The statuses of a job, by its elements' ids."""
    return {row.job_id: row.status for row in rows if row.base_id == job_id}
