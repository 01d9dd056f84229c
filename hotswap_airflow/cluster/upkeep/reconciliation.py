"""The jobs in a cluster's queue that an installation has submitted, by the notes in their folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.programs import PROLOGUE
from hotswap_airflow.slurm.identity import JobKey, digest_of, is_named_by
from hotswap_airflow.slurm.parsing import lines
from hotswap_airflow.slurm.states import REVOKED

if TYPE_CHECKING:
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.parsing import QueuedJob


@dataclass(frozen=True)
class OwnedJob:
    """A job in the queue and its job key; an array is one job."""

    name: str
    key: JobKey
    job_id: int


CLUSTERS = (
    PROLOGUE
    + """\
# The clusters that have, or had, jobs whose folders are here.
begin
find .hotswap/jobs/ -mindepth 3 -maxdepth 3 -name cluster -exec cat {} + 2> /dev/null | sort -u
end
"""
)


async def _queues(client: ClusterClient) -> list[QueuedJob]:
    """The queue of the own cluster, and of each other cluster to which one of our jobs was sent."""
    queue, _ = await client.status([])
    noted = set(filter(None, lines(await client.run_program(CLUSTERS))))
    others = noted - {await client.home()} if noted else noted
    for cluster in sorted(others):
        rows, _ = await client.on(cluster).status([])
        there = {row.name for row in rows}
        queue = [row for row in queue if row.status.state != REVOKED or row.name not in there] + rows
    return queue


async def owned_jobs(client: ClusterClient, installation: str) -> list[OwnedJob]:
    """The active jobs of an installation; jobs without a readable note are left out. Raises ``ClusterError``."""
    queue = await _queues(client)
    active = (row for row in queue if is_named_by(row.name, installation) and row.status.is_active)
    rows = {digest_of(row.name): row for row in active}
    keys = await client.keys(rows) if rows else []
    own = (key for key in keys if key.run.installation == installation and key.digest in rows)
    return [OwnedJob(rows[key.digest].name, key, rows[key.digest].base_id) for key in own]
