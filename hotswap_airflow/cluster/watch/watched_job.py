"""What is watched: a job that somebody waits for, and the news of it; and how often the cluster is asked."""

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
    """Seconds between polls: after a change, as a rule, after a long silence, and when a job told of its end."""

    shortest: float = POLL[0]
    usual: float = POLL[1]
    longest: float = POLL[2]
    hinted: float = 0.7
    growth: float = 1.5
    patience: int = 20
    """So many polls without news make a long silence."""

    def after(self, delay: float, silent: int) -> float:
        """The pause after one of ``delay``, when ``silent`` polls in a row had no news."""
        most = self.usual if silent < self.patience else self.longest
        return self.shortest if silent == 0 else min(delay * self.growth, most)


@dataclass(frozen=True)
class Observation:
    """News of one job: its status, new text of its log, and how many bytes of it were left out.

    ``is_change``: the status, or the numbers of a sweep, are not what was heard before. ``hold`` is how an element of a
    sweep is that waits until somebody lets it go on.
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
    """A job that somebody waits for; ``news`` are observations in order, or what ended the watch.

    ``elements`` is what is known of an array's. ``cluster`` is Slurm's name of the cluster that has the job, empty
    where that is the one which was asked to run it.
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
        """What Slurm knows it by: the id alone may be another job's, too."""
        return self.job_id, self.name

    async def observe(self) -> Observation:
        """Wait for news. Raises ``LoginRequired`` where only a person can go on, and what ended the watcher."""
        found = await self.news.get()
        if isinstance(found, BaseException):
            raise found
        return found
