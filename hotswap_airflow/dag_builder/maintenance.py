"""Builds a maintenance Dag of clusters."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from airflow.sdk import DAG, CronTriggerTimetable

from hotswap_airflow.workflow.plan import START

if TYPE_CHECKING:
    from hotswap_airflow.dag_builder.maintenance_dags import MaintenanceDag
    from hotswap_airflow.workflow.site import Site


def build_maintenance_dag(entry: MaintenanceDag, site: Site, schedule: str) -> DAG | None:
    """The Dag of an entry, with a task for each cluster of a site that needs one; None if no cluster needs one."""
    tasks = {name: entry.arguments(cluster) for name, cluster in site.clusters.items()}
    if not any(arguments is not None for arguments in tasks.values()):
        return None
    dag = DAG(
        dag_id=entry.dag_id,
        description=entry.description,
        schedule=CronTriggerTimetable(schedule, timezone="UTC"),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        # By default Airflow pauses new Dags, and people would not look for these.
        is_paused_upon_creation=False,
        tags=["hotswap"],
        rerun_with_latest_version=False,
    )
    operator = pkgutil.resolve_name(entry.operator)
    for name, arguments in tasks.items():
        if arguments is not None:
            operator(task_id=name, dag=dag, target=site.clusters[name].target, **arguments)
    return dag
