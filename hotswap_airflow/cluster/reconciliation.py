"""Which jobs in a cluster's queue an installation has submitted, by the notes in their folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.identity import JobKey, digest_of, is_named_by

if TYPE_CHECKING:
    from hotswap_airflow.cluster.client import ClusterClient


@dataclass(frozen=True)
class OwnedJob:
    """A job in the queue, and whose it is; an array is one."""

    name: str
    key: JobKey
    job_id: int


async def owned_jobs(client: ClusterClient, installation: str) -> list[OwnedJob]:
    """The active jobs of an installation; jobs without a readable note are nobody's. Raises ``ClusterError``."""
    queue, _ = await client.status([])
    active = (row for row in queue if is_named_by(row.name, installation) and row.status.is_active)
    rows = {digest_of(row.name): row for row in active}
    keys = await client.keys(rows) if rows else []
    own = (key for key in keys if key.run.installation == installation and key.digest in rows)
    return [OwnedJob(rows[key.digest].name, key, rows[key.digest].base_id) for key in own]
