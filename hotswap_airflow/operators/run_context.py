"""What a worker knows of the other jobs of its run: their states and values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.xcom import XCom

from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.workflow.run_state import JobState, readiness
from hotswap_airflow.workflow.run_values import RunValues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Context

    from hotswap_airflow.workflow.plan import PlannedJob

# If Airflow did not start a task because of an earlier task, its job counts as skipped.
_STATES: dict[str | None, JobState] = {"success": "success", "skipped": "skipped", "upstream_failed": "skipped"}


def task_id_of(context: Context, job: str) -> str:
    """The id of the task of another job of this workflow, which may stand in a group of tasks."""
    group, dot, _ = context["ti"].task_id.rpartition(".")
    return f"{group}{dot}{job}"


def job_states(context: Context, jobs: Iterable[str]) -> dict[str, JobState]:
    """The states in which jobs of this run ended."""
    ids = {job: task_id_of(context, job) for job in jobs}
    if not ids:
        return {}
    run = context["dag_run"]
    ti: Any = context["ti"]
    tasks = list(ids.values())
    found = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id], task_ids=tasks).get(run.run_id) or {}
    return {job: _STATES.get(found.get(task), "failed") for job, task in ids.items()}


def why_not_ready(context: Context, job: PlannedJob) -> str:
    """Why a job may not start after the ends of the jobs that it needs; an empty text if it may."""
    if job.needs_success:  # Airflow's own rule decided already
        return ""
    states = job_states(context, job.needs)
    if readiness(job, states) != "skip":
        return ""
    wanted = ", ".join(f"{need} {when}" for need, when in job.needs.items())
    ended = ", ".join(f"{need} {states[need]}" for need in job.needs)
    return f"this job needs {wanted}; they ended as {ended}"


def skipped(log: Any, reason: str) -> AirflowSkipException:
    """The exception that skips a task. Its reason is logged, since Airflow logs only that the task is skipped."""
    log.info("skipped: %s", reason)
    return AirflowSkipException(reason)


def read_run_values(context: Context, job: PlannedJob, folder: str) -> RunValues:
    """The values that a job refers to. ``folder`` is that of the run. Raises ``StoreError``."""
    run = context["dag_run"]
    wanted = {r.job for r in job.references() if r.kind == "output" and r.job}
    if not job.needs_success:  # if a person marked a job as failed after its end, nobody may use its values
        wanted = {name for name, state in job_states(context, wanted).items() if state == "success"}
    judged = [r.job for r in job.references() if r.kind == "state" and r.job]
    ids = {"dag_id": run.dag_id, "run_id": run.run_id}
    results = ResultStore(airflow_settings().store_path)
    found: dict[str, Any] = {
        name: XCom.get_one(key="return_value", task_id=task_id_of(context, name), **ids) for name in wanted
    }
    return RunValues(
        run_id=run.run_id,
        params=dict(context["params"]),
        outputs={name: results.whole(values, folder) for name, values in found.items() if isinstance(values, dict)},
        states=dict(job_states(context, judged)),
        date=_utc(run.logical_date or run.run_after),
        interval_start=_utc(run.data_interval_start),
        interval_end=_utc(run.data_interval_end),
    )


def _utc(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else ""
