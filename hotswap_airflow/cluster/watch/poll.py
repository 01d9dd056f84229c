"""What one poll sees: the queue, asked for once, and the folders of jobs, each read by the identity that owns it."""

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
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.history.notes import FolderNote
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.states import JobStatus

OTHERS_LIMIT = 10.0
"""Seconds in which a further cluster must answer."""
Item = TypeVar("Item")
Found = TypeVar("Found")


class Owned(Protocol):
    """A job whose folder one identity reads, and which one cluster has."""

    @property
    def client(self) -> ClusterClient:
        """The identity."""

    @property
    def cluster(self) -> str:
        """Slurm's name of the cluster, empty where that is the asker's own."""


@dataclass
class PollResult:
    """The rows of the queue, what each job's folder shows, and which identities and further clusters gave no answer.

    ``home`` is Slurm's name of the asker's own cluster, where some folder names one.
    """

    queue: list[QueuedJob]
    glimpses: dict[str, FolderNote]
    troubles: dict[ClusterClient | str, ClusterError] = field(default_factory=dict)
    home: str = ""


async def poll_once(asker: ClusterClient, jobs: Mapping[str, Owned]) -> PollResult:
    """Ask for the queue and for the folders of jobs, in one round trip where they are the asker's own.

    Further clusters that have some of the jobs are asked each by itself. Raises ``ClusterError`` where the asker's own
    queue could not be asked for.
    """
    clusters = sorted({job.cluster for job in jobs.values()} - {"", asker.slurm_cluster})
    is_monitor = any(job.client.transport is not asker.transport for job in jobs.values())
    asking = (_tried(_queue(asker.on(cluster), of_all=is_monitor)) for cluster in clusters)
    seen, elsewhere = await asyncio.gather(_look_here(asker, jobs), asyncio.gather(*asking))
    for cluster, rows in zip(clusters, elsewhere, strict=True):
        if isinstance(rows, ClusterError):
            seen.troubles[cluster] = rows
        else:
            seen.queue += rows
    if any(glimpse.cluster for glimpse in seen.glimpses.values()):
        seen.home = await asker.home()
    return seen


async def _queue(client: ClusterClient, *, of_all: bool) -> list[QueuedJob]:
    """The queue of a further cluster, which must not hold up the others."""
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
    asking = of_each(jobs, zip(others, others, strict=True), lambda client, items: client.glimpses(items))
    if all(job.client.transport is asker.transport for job in jobs.values()):  # one account, several work folders
        (queue, glimpses), (found, troubles) = await asyncio.gather(asker.status(own), asking)
        return PollResult(queue, glimpses | found, troubles)
    queue, glimpses, (found, troubles) = await asyncio.gather(asker.queue_of_all(), asker.glimpses(own), asking)
    return PollResult(queue, glimpses | found, troubles)


async def of_each(
    jobs: Mapping[str, Owned],
    items: Iterable[tuple[str, Item]],
    ask: Callable[[ClusterClient, list[Item]], Awaitable[dict[str, Found]]],
) -> tuple[dict[str, Found], dict[ClusterClient | str, ClusterError]]:
    """Ask each identity for the items of its own jobs, given with their digests; errors by identity."""
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
    """The rows of the wanted jobs by id and name, an array's together.

    Slurm gives an id again when all are used up, when the cluster is installed anew, and when a controller died before
    it wrote down the job that had it: two jobs that are waited for may have one id. Another name is another job. Of a
    job that several clusters of a federation know, the rows count of the one that has it.
    """
    names = {name for _, name in wanted}
    found: dict[tuple[int, str], list[QueuedJob]] = {}
    revoked: dict[tuple[int, str], list[QueuedJob]] = {}
    async for row in in_slices(rows):
        # The name first: most rows may be other people's, and it takes long to read an id.
        if row.name in names and (job := (row.base_id, row.name)) in wanted:
            (revoked if row.status.state == REVOKED else found).setdefault(job, []).append(row)
    return revoked | found


async def by_index(rows: Iterable[QueuedJob], open_indices: Iterable[int], base: int = 0) -> dict[int, JobStatus]:
    """The statuses of the indices of an array by its rows; Slurm counts them from ``base``.

    A row without an index stands for the rest, which never began.
    """
    found: dict[int, JobStatus] = {}
    rest: JobStatus | None = None
    async for row in in_slices(rows):
        found.update((base + index, row.status) for index in indices_in(row.job_id))
        rest = row.status if row.job_id.isdecimal() else rest
    return found if rest is None else dict.fromkeys(open_indices, rest) | found


async def _tried(asking: Awaitable[Found]) -> Found | ClusterError:
    try:
        return await asking
    except ClusterError as error:
        return error
