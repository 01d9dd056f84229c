"""The task of a job that a workflow file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.xcom import XCom

from hotswap_airflow.errors import JobError, StoreError
from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.operators.slurm import SlurmJobOperator
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.run_state import JobState, readiness, unhandled
from hotswap_airflow.workflow.run_values import RunValues, why_skipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from hotswap_airflow.settings import Settings
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.workflow.plan import Plan

# If Airflow did not start a task because of an earlier task, its job counts as skipped.
_STATES: dict[str | None, JobState] = {"success": "success", "skipped": "skipped", "upstream_failed": "skipped"}
VERDICT = "_verdict"
"""No job can have this name."""


class WorkflowJobOperator(SlurmJobOperator):
    """A planned job. Jinja is off: values come by reference and are not changed.

    ``fault`` is the reason why this run does not use a newer text of the workflow.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, plan: Plan, job: str, fault: str = "", **kwargs: Any) -> None:
        self.job = plan.job(job)
        target = self.job.target
        super().__init__(
            task_id=job,
            slurm_conn_id=target.connection,
            workdir=target.workdir,
            slurm_cluster=target.slurm_cluster,
            monitor=target.monitor,
            poll=target.poll,
            **target.placement,
            **kwargs,
        )
        self.fault = fault
        self.plan = plan

    def execute(self, context: Context) -> NoReturn:
        """Start the job, or skip it if a job that it needs did not end as required."""
        if self.fault:
            self.log.warning(
                "the newest text of %s is broken; this run uses the last valid one: %s", self.plan.file, self.fault
            )
        if not self.job.needs_success:
            states = _states(context, self.job.needs)
            if readiness(self.job, states) == "skip":
                wanted = ", ".join(f"{need} {when}" for need, when in self.job.needs.items())
                ended = ", ".join(f"{need} {states[need]}" for need in self.job.needs)
                raise AirflowSkipException(f"this job needs {wanted}; they ended as {ended}")
        super().execute(context)

    def is_retried(self, error: str, failed_before: int) -> bool:
        """Whether the task is tried again: after a lost connection, or as the workflow file's retry rule states."""
        return error == "ConnectionLost" or self.job.retry.covers(error, failed_before)

    def environment(self, settings: Settings) -> str:  # noqa: ARG002
        """The environment that the plan was made for."""
        return self.plan.environment

    def pack_digest(self) -> str:
        """The digest of the pack of the workflow's files, in the version of this run."""
        return self.plan.pack.digest

    def make_request(self, context: Context, key: JobKey) -> JobRequest:
        """The job of this task, with the values that are known only at its start; skips it if its ``if`` is false."""
        try:
            values = self._values(context, key.run.folder)
            if reason := why_skipped(self.plan, self.job, values):
                raise AirflowSkipException(reason)
            return make_job_request(self.plan, self.job, key, values)
        except (JobError, StoreError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None

    def _values(self, context: Context, folder: str) -> RunValues:
        run = context["dag_run"]
        wanted = {r.job for r in self.job.references() if r.kind == "output" and r.job}
        if not self.job.needs_success:  # if a person marked a job as failed after its end, nobody may use its values
            wanted = {job for job, state in _states(context, wanted).items() if state == "success"}
        watched = [r.job for r in self.job.references() if r.kind == "state" and r.job]
        ids = {"dag_id": run.dag_id, "run_id": run.run_id}
        results = ResultStore(airflow_settings().store_path)
        found: dict[str, Any] = {job: XCom.get_one(key="return_value", task_id=job, **ids) for job in wanted}
        return RunValues(
            run_id=run.run_id,
            params=dict(context["params"]),
            outputs={job: results.whole(values, folder) for job, values in found.items() if isinstance(values, dict)},
            states=dict(_states(context, watched)),
            date=_utc(run.logical_date or run.run_after),
            interval_start=_utc(run.data_interval_start),
            interval_end=_utc(run.data_interval_end),
        )


class RunVerdictOperator(BaseOperator):
    """The last task of a workflow in which jobs may wait for the failure of another job. It ends as the run ends.

    Airflow judges a run only by its last tasks. A workflow's run fails if a failure was not handled.
    """

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(task_id=VERDICT, trigger_rule=TriggerRule.ALL_DONE, doc_md=type(self).__doc__, **kwargs)
        self.plan = plan

    def execute(self, context: Context) -> None:
        """Fail if the failure of a job was not handled."""
        failed = unhandled(self.plan, _states(context, [job.name for job in self.plan.jobs]))
        if failed:
            message = f"the run failed: no job handled the failure of {', '.join(failed)}"
            self.log.error("%s", message)
            raise AirflowFailException(message)


def _states(context: Context, jobs: Iterable[str]) -> dict[str, JobState]:
    """The states in which jobs of this run ended."""
    names = list(jobs)
    if not names:
        return {}
    run = context["dag_run"]
    ti: Any = context["ti"]
    found = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id], task_ids=names).get(run.run_id) or {}
    return {job: _STATES.get(found.get(job), "failed") for job in names}


def _utc(moment: datetime | None) -> str:
    from datetime import UTC

    return moment.astimezone(UTC).isoformat() if moment else ""
