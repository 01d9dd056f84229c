"""One poll: the queue, requested once, and the folders of jobs, each read by the identity that owns it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from hotswap_airflow.cluster.remote.framing import in_slices
from hotswap_airflow.errors import ClusterError, ConnectionLost
from hotswap_airflow.slurm.array import indices_in
from hotswap_airflow.slurm.states import REVOKED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.watch.watched_job import WatchedJob
    from hotswap_airflow.slurm.history.notes import FolderNote
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.states import JobStatus

OTHERS_LIMIT = 10.0
"""Seconds in which a further cluster must return its queue."""
Item = TypeVar("Item")
Found = TypeVar("Found")


class Owned(Protocol):
    """A job: one identity reads its folder, and one cluster has it."""

    @property
    def client(self) -> ClusterClient:
        """The identity that reads the folder."""

    @property
    def cluster(self) -> str:
        """Slurm's name of the cluster, empty if it is the own cluster of ``asker``."""


@dataclass
class PollResult:
    """The rows of the queue, what each job's folder shows, and which identities and further clusters gave no answer.

    ``home`` is Slurm's name of the own cluster of ``asker``; it is set only if some folder names a cluster.
    """

    queue: list[QueuedJob]
    glimpses: dict[str, FolderNote]
    troubles: dict[ClusterClient | str, ClusterError] = field(default_factory=dict)
    home: str = ""


async def poll_once(asker: ClusterClient, jobs: Mapping[str, Owned]) -> PollResult:
    """Read the queue and the folders of jobs, in one round trip if all jobs belong to ``asker``.

    Each further cluster that has some of the jobs is polled separately. Raises ``ClusterError`` if the queue of
    ``asker`` itself cannot be read.
    """
    clusters = sorted({job.cluster for job in jobs.values()} - {"", asker.slurm_cluster})
    is_monitor = any(job.client.transport is not asker.transport for job in jobs.values())
    polls = (_tried(_queue(asker.on(cluster), of_all=is_monitor)) for cluster in clusters)
    seen, elsewhere = await asyncio.gather(_look_here(asker, jobs), asyncio.gather(*polls))
    for cluster, rows in zip(clusters, elsewhere, strict=True):
        if isinstance(rows, ClusterError):
            seen.troubles[cluster] = rows
        else:
            seen.queue += rows
    if any(glimpse.cluster for glimpse in seen.glimpses.values()):
        seen.home = await asker.home()
    return seen


async def _queue(client: ClusterClient, *, of_all: bool) -> list[QueuedJob]:
    """The queue of a further cluster, with a time limit so that it does not delay the others."""
    try:
        async with asyncio.timeout(OTHERS_LIMIT):
            return await client.queue_of_all() if of_all else (await client.status([]))[0]
    except TimeoutError:
        words = f"cluster {client.slurm_cluster} gave no answer within {OTHERS_LIMIT:.0f} s"
        raise ConnectionLost(f"{client.name}: {words}") from None


async def _look_here(asker: ClusterClient, jobs: Mapping[str, Owned]) -> PollResult:
    others = [digest for digest, job in jobs.items() if job.client is not asker]
    if not others:
        return PollResult(*await asker.status(jobs))
    own = [digest for digest, job in jobs.items() if job.client is asker]
    notes = of_each(jobs, zip(others, others, strict=True), lambda client, items: client.glimpses(items))
    if all(job.client.transport is asker.transport for job in jobs.values()):  # one account, several work folders
        (queue, glimpses), (found, troubles) = await asyncio.gather(asker.status(own), notes)
        return PollResult(queue, glimpses | found, troubles)
    queue, glimpses, (found, troubles) = await asyncio.gather(asker.queue_of_all(), asker.glimpses(own), notes)
    return PollResult(queue, glimpses | found, troubles)


async def of_each(
    jobs: Mapping[str, Owned],
    items: Iterable[tuple[str, Item]],
    ask: Callable[[ClusterClient, list[Item]], Awaitable[dict[str, Found]]],
) -> tuple[dict[str, Found], dict[ClusterClient | str, ClusterError]]:
    """Call ``ask`` for each identity with the items of its own jobs; ``items`` are given with digests of jobs.

    Gives what was found, and errors by identity.
    """
    groups: dict[ClusterClient, list[Item]] = defaultdict(list)
    for digest, item in items:
        groups[jobs[digest].client].append(item)
    answers = await asyncio.gather(*(_tried(ask(client, group)) for client, group in groups.items()))
    found: dict[str, Found] = {}
    troubles: dict[ClusterClient | str, ClusterError] = {}
    for client, answer in zip(groups, answers, strict=True):
        if isinstance(answer, ClusterError):
            troubles[client] = answer
        else:
            found |= answer
    return found, troubles


async def by_job(
    rows: Iterable[QueuedJob], wanted: Collection[tuple[int, str]]
) -> dict[tuple[int, str], list[QueuedJob]]:
    """The rows of the wanted jobs by id and name; all rows of an array are together.

    Slurm reuses an id after all ids are used up, after a new installation of the cluster, and after a controller died
    before it wrote down the job with that id: two watched jobs may have the same id. A different name means a different
    job. If several clusters of a federation know a job, the rows of the cluster that has it count.
    """
    names = {name for _, name in wanted}
    found: dict[tuple[int, str], list[QueuedJob]] = {}
    revoked: dict[tuple[int, str], list[QueuedJob]] = {}
    async for row in in_slices(rows):
        # Compare the name first: most rows may belong to other users, and it takes long to read an id.
        if row.name in names and (job := (row.base_id, row.name)) in wanted:
            (revoked if row.status.state == REVOKED else found).setdefault(job, []).append(row)
    return revoked | found


async def by_index(rows: Iterable[QueuedJob], open_indices: Iterable[int], base: int = 0) -> dict[int, JobStatus]:
    """The statuses of an array's indices by its rows; Slurm's index 0 is index ``base``.

    A row without an index stands for all other open indices, which never began.
    """
    found: dict[int, JobStatus] = {}
    rest: JobStatus | None = None
    async for row in in_slices(rows):
        found.update((base + index, row.status) for index in indices_in(row.job_id))
        rest = row.status if row.job_id.isdecimal() else rest
    return found if rest is None else dict.fromkeys(open_indices, rest) | found


async def _tried(request: Awaitable[Found]) -> Found | ClusterError:
    try:
        return await request
    except ClusterError as error:
        return error


def unsure_ids(jobs: Mapping[str, WatchedJob], queued: Mapping[str, JobStatus]) -> dict[str, list[int | str]]:
    """The ids to request from accounting, by cluster: of jobs that the queue does not know, or shows as ended.

    Also of jobs that, by the queue, are with another cluster of a federation (``REVOKED``).
    """
    wanted: dict[str, list[int | str]] = {}
    for digest, job in jobs.items():
        if job.elements is not None:
            ids: Sequence[int | str] = job.elements.asked_of_accounting(job.job_id)
        else:
            status = queued.get(digest)
            ids = [job.job_id] if status is None or status.phase.is_final or status.state == REVOKED else []
        if ids:
            wanted.setdefault(job.cluster, []).extend(ids)
    return wanted


def single_statuses(
    queue: Mapping[tuple[int, str], Sequence[QueuedJob]], jobs: Mapping[str, WatchedJob]
) -> dict[str, JobStatus]:
    """The status of each single job by its digest: if several jobs have one name, of the job whose id counts."""
    return {
        digest: rows[-1].status
        for digest, job in jobs.items()
        if job.elements is None and (rows := queue.get(job.named))
    }
