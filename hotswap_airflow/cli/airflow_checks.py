"""What `hotswap doctor` checks in Airflow's database: its components are alive, and our own Dags are not paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.finding import Finding
from hotswap_airflow.dag_builder.maintenance_dags import MAINTENANCE_DAG_IDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPONENTS = {"SchedulerJob": "scheduler", "DagProcessorJob": "dag-processor", "TriggererJob": "triggerer"}
_PART = "airflow"


def components() -> Iterator[Finding]:
    """The state, by Airflow's database, of the components that jobs need, and of the maintenance Dags."""
    from airflow.jobs.job import most_recent_job
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            found = [_component(kind, most_recent_job(kind, session=session)) for kind in _COMPONENTS]
            ours = DagModel.dag_id.in_(MAINTENANCE_DAG_IDS)
            paused = session.scalars(select(DagModel.dag_id).where(ours, DagModel.is_paused)).all()
    except SQLAlchemyError as error:
        words = f"Airflow's database gives no answer from here: {str(error).split(chr(10))[0]}"
        yield Finding(_PART, "warning", words, "run `hotswap doctor` where Airflow's components run")
        return
    yield from found
    for dag_id in paused:
        yield Finding(_PART, "problem", f"Dag {dag_id} is paused", f"run `airflow dags unpause {dag_id}`")


def _component(kind: str, job: Any) -> Finding:
    name = _COMPONENTS[kind]
    if job is not None and job.is_alive():
        return Finding(_PART, "ok", f"{name} runs on {job.hostname}")
    words = f"no {name} runs" if job is None else f"no {name} runs: the last heartbeat was at {job.latest_heartbeat}"
    return Finding(_PART, "problem", words, f"start `airflow {name}`")
