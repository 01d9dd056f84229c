"""``hotswap orphans`` and ``hotswap adopt``: show jobs that no task waits for, cancel them or give them back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.airflow_login import add_airflow_arguments, log_in
from hotswap_airflow.cli.clusters import clusters_of, own_installation, reached
from hotswap_airflow.cli.loading import add_site_argument
from hotswap_airflow.cluster.upkeep.ownership import mark_tries
from hotswap_airflow.cluster.upkeep.reconciliation import owned_jobs
from hotswap_airflow.dag_builder.maintenance_dags import MAINTENANCE_DAG_IDS
from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm.history.past import ADOPT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from hotswap_airflow.airflow_client import RestClient
    from hotswap_airflow.cluster.upkeep.reconciliation import OwnedJob
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.workflow.site import ClusterConfig

_OVER = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", ""})


@dataclass(frozen=True)
class Orphan:
    """An active job that no task waits for. ``state`` is the state of its task, empty if Airflow has no such task."""

    cluster: ClusterConfig
    job: OwnedJob
    state: str

    def __str__(self) -> str:
        """The orphan as one line for a person."""
        key, why = self.job.key, f"its task is {self.state}" if self.state else "Airflow has no such task any more"
        task = f"{key.job}[{key.index}]" if key.index >= 0 else key.job
        return f"{self.job.job_id} on {self.cluster.name}: {key.run.workflow} {key.run.run} {task}: {why}"


def add_command(commands: Any) -> None:
    """Add ``orphans`` and ``adopt``."""
    orphans = commands.add_parser("orphans", help="show active jobs of this installation that no task waits for")
    orphans.add_argument("--cancel", action="store_true", help="and cancel them")
    orphans.set_defaults(action=_orphans)
    adopt = commands.add_parser("adopt", help="give an orphan back to its task, which is cleared and waits for it")
    adopt.add_argument("job_id", type=int, metavar="JOBID")
    adopt.add_argument("--cluster", metavar="C", help="needed if more than one cluster has a job of this id")
    adopt.set_defaults(action=_adopt)
    for parser in (orphans, adopt):
        add_site_argument(parser)
        add_airflow_arguments(parser)


def _orphans(arguments: argparse.Namespace) -> int:
    airflow = log_in(arguments.airflow)
    found = _find(airflow, arguments.site)
    for orphan in found:
        print(orphan)
    if found and arguments.cancel:
        _check_airflow(airflow, found)
        still = {orphan.job.name for orphan in _find(airflow, arguments.site)}
        found = [orphan for orphan in found if orphan.job.name in still]
        asyncio.run(_cancel(found))
    print(f"{len(found)} orphan(s){', cancelled' if arguments.cancel and found else ''}")
    return 0


def _check_airflow(airflow: RestClient, orphans: Sequence[Orphan]) -> None:
    """Raise ``SetupError`` if Airflow has none of the Dags: it may not be the Airflow that the jobs belong to."""
    own = {*MAINTENANCE_DAG_IDS, *(orphan.job.key.run.workflow for orphan in orphans)}
    if not any(map(airflow.has_dag, sorted(own))):
        raise SetupError(
            f"Airflow at {airflow.url} knows none of the workflows, so the jobs may belong to another Airflow; nothing "
            "was cancelled. Give the address of the right one with --airflow"
        )


def _adopt(arguments: argparse.Namespace) -> int:
    airflow = log_in(arguments.airflow)
    found = [one for one in _find(airflow, arguments.site) if one.job.job_id == arguments.job_id]
    found = [one for one in found if arguments.cluster in {None, one.cluster.name}]
    if len(found) > 1:
        names = ", ".join(one.cluster.name for one in found)
        raise SetupError(f"there is such a job on each of {names}; give --cluster")
    if not found:
        raise SetupError(f"job {arguments.job_id} is no orphan; `hotswap orphans` shows them")
    (orphan,) = found
    if orphan.state in {"", "removed"}:
        raise SetupError(f"{orphan}, so nothing can wait for it: let it end, or `hotswap orphans --cancel`")
    asyncio.run(_give_back(orphan))
    try:
        airflow.clear_task(*_task(orphan.job.key))
    except SetupError:
        asyncio.run(_give_back(orphan, is_on=False))
        raise
    print(f"job {arguments.job_id} is given back to {orphan.job.key.job} of {orphan.job.key.run.run}")
    return 0


def _find(airflow: RestClient, site_file: str | None) -> list[Orphan]:
    """The active jobs of the installation whose task has ended or does not exist."""
    jobs = asyncio.run(_active(site_file))
    states = ((cluster, job, airflow.task_state(*_task(job.key))) for cluster, job in jobs)
    return [Orphan(cluster, job, state) for cluster, job, state in states if state in _OVER]


async def _active(site_file: str | None) -> list[tuple[ClusterConfig, OwnedJob]]:
    found: list[tuple[ClusterConfig, OwnedJob]] = []
    for cluster in clusters_of(site_file):
        async with reached(cluster) as client:
            found += [(cluster, job) for job in await owned_jobs(client, own_installation())]
    return found


def _task(key: JobKey) -> tuple[str, str, str, int]:
    return key.run.workflow, key.run.run, key.job, key.index


async def _cancel(orphans: Sequence[Orphan]) -> None:
    for cluster in {orphan.cluster.name: orphan.cluster for orphan in orphans}.values():
        jobs = [orphan.job for orphan in orphans if orphan.cluster.name == cluster.name]
        async with reached(cluster) as client:
            await client.cancel((job.key.digest, job.name) for job in jobs)


async def _give_back(orphan: Orphan, *, is_on: bool = True) -> None:
    key = orphan.job.key
    async with reached(orphan.cluster) as client:
        tries = {folder.digest: folder.tried for folder in await client.find(key.stem)}
        if tries[key.digest].end is not None or tries[key.digest].is_cancelled:
            words = "its end was recorded, or it was cancelled: `hotswap orphans --cancel` ends it"
            raise SetupError(f"{orphan}, and {words}")
        await mark_tries(client, [key.digest], ADOPT, is_on=is_on)
