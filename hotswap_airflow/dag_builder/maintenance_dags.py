"""The Dags that we schedule ourselves, one entry each. Airflow is not imported, because the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hotswap_airflow.settings import Settings
    from hotswap_airflow.workflow.site import ClusterConfig


@dataclass(frozen=True)
class MaintenanceDag:
    """A Dag with one task for each cluster.

    ``operator`` is the path of the task's class. ``schedule`` gives a cron expression, or None to leave the Dag out.
    ``arguments`` gives what the operator takes besides the cluster's target, or None for a cluster without such a task.
    """

    dag_id: str
    description: str
    operator: str
    schedule: Callable[[Settings], str | None]
    arguments: Callable[[ClusterConfig], Mapping[str, Any] | None]


MAINTENANCE_DAGS = (
    MaintenanceDag(
        "hotswap-reconcile",
        "Cancels jobs whose tasks have ended, if an earlier cancellation failed",
        "hotswap_airflow.operators.maintenance.ReconcileOperator",
        schedule=lambda settings: settings.reconcile,
        arguments=lambda _: {},
    ),
    MaintenanceDag(
        "hotswap-retention",
        "Removes the folders of finished runs after the time that the site sets",
        "hotswap_airflow.operators.maintenance.RetentionOperator",
        schedule=lambda _: "17 3 * * *",
        arguments=lambda cluster: {"retention": cluster.retention} if cluster.retention else None,
    ),
)
MAINTENANCE_DAG_IDS = tuple(entry.dag_id for entry in MAINTENANCE_DAGS)
