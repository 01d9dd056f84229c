"""The tasks of a plan: one for each job, in a Dag or in a group of tasks."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, TriggerRule

from hotswap_airflow.operators.airflow_operator import make_operator
from hotswap_airflow.operators.workflow import RunVerdictOperator, WorkflowJobOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from hotswap_airflow.workflow.plan import Plan, PlannedJob

RETRIES = 15
"""The most retries that a file may set, plus five for failures that no job caused, such as a killed worker.

One number for all tasks: how a task's clears are counted must not change with a newer version of the file.
"""
RETRY_DELAY = dt.timedelta(seconds=5)


def add_tasks(plan: Plan, fault: str = "", **place: Any) -> None:
    """Add the tasks of a plan where ``place`` says: ``dag``, or ``dag`` and ``task_group``.

    ``fault`` is why a newer text of the workflow is not used; the logs of the tasks show it.
    """
    tasks = {job.name: _task(plan, job, fault, place) for job in plan.jobs}
    for job in plan.jobs:
        for need in job.needs:
            tasks[need] >> tasks[job.name]
    if any(not job.needs_success for job in plan.jobs):
        verdict = RunVerdictOperator(plan=plan, retries=RETRIES, retry_delay=RETRY_DELAY, **place)
        [tasks[leaf] for leaf in plan.leaves] >> verdict


def _task(plan: Plan, job: PlannedJob, fault: str, place: dict[str, Any]) -> BaseOperator:
    task: dict[str, Any] = {
        **place,
        "doc_md": job.description or None,
        # Airflow's rules count a task that never ran as failed, so the task itself judges any need but a success.
        "trigger_rule": TriggerRule.ALL_SUCCESS if job.needs_success else TriggerRule.ALL_DONE,
        "inlets": [Asset(item.asset) for item in job.inputs if item.asset],
        "outlets": [Asset(planned.asset) for planned in job.outputs if planned.asset],
        "retry_delay": RETRY_DELAY,
    }
    if job.uses is not None:
        retries = job.retry.max_retries if "failed" in job.retry.on else 0
        return make_operator(plan, job, retries=retries, **task)
    return WorkflowJobOperator(plan=plan, job=job.name, fault=fault, retries=RETRIES, **task)
