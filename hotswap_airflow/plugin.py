"""The Airflow plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SlurmJobLink(BaseOperatorLink):
    """Where a task's job is. The web server makes it: a link of the operator's own costs every task a call."""

    name = "Slurm job"

    @property
    def operators(self) -> list[type[BaseOperator]]:  # type: ignore[override]
        """Whose tasks have it; looked up late, since this module is imported by every process of Airflow's."""
        from hotswap_airflow.operators.slurm import SlurmJobOperator
        from hotswap_airflow.operators.workflow import WorkflowJobOperator

        return [SlurmJobOperator, WorkflowJobOperator]

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """The job's page; the key is enough to find it while its id is not known."""
        ids = {"dag": ti_key.dag_id, "run": ti_key.run_id, "task": ti_key.task_id, "map": ti_key.map_index}
        return f"/hotswap/jobs?{urlencode(ids)}"


class HotswapPlugin(AirflowPlugin):
    """What hotswap adds to Airflow's web server."""

    name = "hotswap"
    operator_extra_links = [SlurmJobLink()]  # noqa: RUF012 - Airflow's own form
