"""The Airflow plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SlurmJobLink(BaseOperatorLink):
    """A link to what a task's job reported. The web server makes it; an operator's own link costs each task a call."""

    name = "Slurm job"

    @property
    def operators(self) -> list[type[BaseOperator]]:  # type: ignore[override]
        """The operators whose tasks have the link; imported late, because every Airflow process imports this module."""
        from hotswap_airflow.operators.slurm import SlurmJobOperator
        from hotswap_airflow.operators.workflow import WorkflowJobOperator

        return [SlurmJobOperator, WorkflowJobOperator]

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """The page with what the job has reported to Airflow so far: a sweep's progress, and the values in the end."""
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        dag_id, run_id, task_id = (quote(name, safe="") for name in (ti_key.dag_id, ti_key.run_id, ti_key.task_id))
        mapped = f"/mapped/{ti_key.map_index}" if ti_key.map_index >= 0 else ""
        return f"{base}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/xcom"


class HotswapPlugin(AirflowPlugin):
    """What hotswap adds to Airflow's web server."""

    name = "hotswap"

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The apps of the api-server, which alone reads this: it also begins to listen to what people do there."""
        from hotswap_airflow.web import manual_ends

        manual_ends.listen()
        return []

    operator_extra_links = [SlurmJobLink()]  # noqa: RUF012 - Airflow's own form
