"""A watched job, the news of it, and how often the cluster is polled."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.domain.cluster_target import POLL

if TYPE_CHECKING:
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.array_state import ArrayState, Tally
    from hotswap_airflow.slurm.states import JobStatus


@dataclass(frozen=True)
class Interval:
    """Seconds between polls: after a change, usually, after a long silence, and after a job noted its end."""

    shortest: float = POLL[0]
    usual: float = POLL[1]
    longest: float = POLL[2]
    hinted: float = 0.7
    growth: float = 1.5
    patience: int = 20
    """The number of polls without news that make a long silence."""

    def after(self, delay: float, silent: int) -> float:
        """The next pause after a pause of ``delay`` seconds, if ``silent`` polls in a row had no news."""
        most = self.usual if silent < self.patience else self.longest
        return self.shortest if silent == 0 else min(delay * self.growth, most)


@dataclass(frozen=True)
class Observation:
    """News of one job: its status, new text of its log, and how many bytes of it were left out.

    ``is_change``: the status, the numbers of a sweep or ``hold`` differ from the last observation. ``hold`` is the
    status of an array index that waits until a person releases it.
    """

    status: JobStatus
    text: str = ""
    skipped: int = 0
    trouble: str = ""
    tally: Tally | None = None
    is_change: bool = True
    hold: JobStatus | None = None


@dataclass
class WatchedJob:
    """A watched job; ``news`` holds observations in order, or the error that ended the watch.

    ``elements`` is the state of an array, None for a single job. ``cluster`` is Slurm's name of the cluster that has
    the job, empty if that is the cluster to which it was submitted.
    """

    digest: str
    name: str
    job_id: int
    submitted_at: float
    client: ClusterClient
    offset: int = 0
    cluster: str = ""
    read_at: float = 0.0
    elements: ArrayState | None = None
    missing_since: float | None = None
    notes_due: float = 0.0
    status: JobStatus | None = None
    tally: Tally | None = None
    hold: JobStatus | None = None
    news: asyncio.Queue[Observation | BaseException] = field(default_factory=asyncio.Queue)
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    @property
    def named(self) -> tuple[int, str]:
        """The id and name in Slurm: the id alone may also belong to another job."""
        return self.job_id, self.name

    async def observe(self) -> Observation:
        """Wait for news. Raises ``LoginRequired`` if a person must act, or the error that ended the watcher."""
        found = await self.news.get()
        if isinstance(found, BaseException):
            raise found
        return found
