"""The task of a job that a workflow file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from hotswap_airflow.errors import JobError, StoreError
from hotswap_airflow.operators.run_context import job_states, read_run_values, skipped, why_not_ready
from hotswap_airflow.operators.slurm import SlurmJobOperator
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.run_state import unhandled
from hotswap_airflow.workflow.run_values import why_skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from hotswap_airflow.settings import Settings
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.workflow.plan import Plan

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
        if reason := why_not_ready(context, self.job):
            raise skipped(self.log, reason)
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
            values = read_run_values(context, self.job, key.run.folder)
            if reason := why_skipped(self.plan, self.job, values):
                raise skipped(self.log, reason)
            return make_job_request(self.plan, self.job, key, values)
        except (JobError, StoreError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None


class RunVerdictOperator(BaseOperator):
    """The last task of a workflow in which jobs may wait for the failure of another job. It ends as the run ends.

    Airflow judges a run only by its last tasks. A workflow's run fails if a failure was not handled.
    """

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(task_id=VERDICT, trigger_rule=TriggerRule.ALL_DONE, doc_md=type(self).__doc__, **kwargs)
        self.plan = plan

    def execute(self, context: Context) -> None:
        """Fail if the failure of a job was not handled."""
        failed = unhandled(self.plan, job_states(context, [job.name for job in self.plan.jobs]))
        if failed:
            message = f"the run failed: no job handled the failure of {', '.join(failed)}"
            self.log.error("%s", message)
            raise AirflowFailException(message)
