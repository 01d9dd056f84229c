"""The task of a job that a workflow file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.xcom import XCom

from hotswap_airflow.errors import JobError
from hotswap_airflow.operators.slurm import SlurmJobOperator
from hotswap_airflow.workflow.binding import RunValues, bind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from hotswap_airflow.settings import Settings
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.workflow.plan import Plan

_STATES = {"success": "success", "skipped": "skipped"}


class WorkflowJobOperator(SlurmJobOperator):
    """A planned job. Jinja is off: values come by reference, and arrive as they are."""

    template_fields: Sequence[str] = ()

    def __init__(self, *, plan: Plan, job: str, **kwargs: Any) -> None:
        super().__init__(task_id=job, **kwargs)
        self.plan = plan
        self.job = plan.job(job)

    def environment(self, settings: Settings) -> str:  # noqa: ARG002
        """The environment the plan was made for."""
        return self.plan.environment

    def pack_digest(self) -> str:
        """The workflow's own files, as of the run's version."""
        return self.plan.pack.digest

    def make_request(self, context: Context, key: JobKey) -> JobRequest:
        """Fill in what is only known now."""
        try:
            return bind(self.plan, self.job, key, self._values(context), context["ti"].try_number)
        except JobError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None

    def _values(self, context: Context) -> RunValues:
        run = context["dag_run"]
        wanted = {reference.job for reference in self.job.references() if reference.kind == "output"}
        asked = {reference.job for reference in self.job.references() if reference.kind == "state"}
        states = self._states(context, asked)
        ids = {"dag_id": run.dag_id, "run_id": run.run_id}
        found: dict[str, Any] = {job: XCom.get_one(key="return_value", task_id=job, **ids) for job in wanted if job}
        return RunValues(
            run_id=run.run_id,
            params=dict(context["params"]),
            outputs={job: values for job, values in found.items() if isinstance(values, dict)},
            states=states,
            date=_utc(run.logical_date or run.run_after),
            interval_start=_utc(run.data_interval_start),
            interval_end=_utc(run.data_interval_end),
        )

    def _states(self, context: Context, jobs: set[str | None]) -> dict[str, str]:
        names = [job for job in jobs if job]
        if not names:
            return {}
        run = context["dag_run"]
        ti: Any = context["ti"]
        states = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id], task_ids=names)
        return {job: _STATES.get(state or "", "failed") for job, state in (states.get(run.run_id) or {}).items()}


def _utc(moment: datetime | None) -> str:
    from datetime import UTC

    return moment.astimezone(UTC).isoformat() if moment else ""
