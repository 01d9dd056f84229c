"""From a plan to an Airflow Dag: one task a job, of the job's name."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, TriggerRule

from hotswap_airflow.operators.workflow import WorkflowJobOperator

if TYPE_CHECKING:
    from hotswap_airflow.workflow.plan import Plan, PlannedJob
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.spec import ParamSpec

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
MAX_ACTIVE_RUNS = 16
RETRIES = 5
"""For what is not the user's doing: a killed worker, a lost node. A job that failed by itself is never retried."""
RETRY_DELAY = dt.timedelta(seconds=5)
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}


def build_dag(plan: Plan, site: Site, *, is_deleted: bool = False) -> DAG:
    """The Dag of a plan. A deleted workflow's keeps its tasks for the runs that have begun, and starts no more."""
    dag = DAG(
        dag_id=plan.workflow,
        description=plan.description or None,
        schedule=None if is_deleted else _schedule(plan),
        start_date=START,
        catchup=False,
        max_active_runs=MAX_ACTIVE_RUNS,
        tags=["deleted"] if is_deleted else list(plan.tags),
        params={name: _param(param) for name, param in plan.params.items()},
        default_args={"owner": plan.owner} if plan.owner else {},
        rerun_with_latest_version=False,
        render_template_as_native_obj=False,
    )
    tasks = {job.name: _task(plan, job, site, dag) for job in plan.jobs}
    for job in plan.jobs:
        for need in job.needs:
            tasks[need] >> tasks[job.name]
    return dag


def _task(plan: Plan, job: PlannedJob, site: Site, dag: DAG) -> WorkflowJobOperator:
    cluster = site.clusters[job.cluster]
    optional: dict[str, Any] = {"queue": cluster.queue} if cluster.queue else {}
    return WorkflowJobOperator(
        plan=plan,
        job=job.name,
        dag=dag,
        slurm_conn_id=cluster.connection,
        workdir=cluster.workdir,
        doc_md=job.description or None,
        trigger_rule=_trigger_rule(job),
        inlets=[Asset(item.asset) for item in job.inputs if item.asset],
        outlets=[Asset(planned.asset) for planned in job.outputs if planned.asset],
        retries=RETRIES,
        retry_delay=RETRY_DELAY,
        **optional,
    )


def _trigger_rule(job: PlannedJob) -> TriggerRule:
    """All needs of one kind have a rule of Airflow's; mixed kinds are judged when the task starts."""
    kinds = set(job.needs.values())
    if kinds <= {"success"}:
        return TriggerRule.ALL_SUCCESS
    return TriggerRule.ALL_FAILED if kinds == {"failed"} else TriggerRule.ALL_DONE


def _schedule(plan: Plan) -> Any:
    schedule = plan.schedule
    if schedule is None:
        return None
    if schedule.assets is not None:
        return [Asset(uri) for uri in schedule.assets]
    presets = {"@quarterly": "0 0 1 */3 *"}
    cron = schedule.cron or ""
    return CronTriggerTimetable(presets.get(cron, cron), timezone=schedule.timezone, interval=dt.timedelta(0))


def _param(param: ParamSpec) -> Param:
    schema: dict[str, Any] = dict(_JSON_TYPES.get(param.type, {"type": param.type}))
    for name in ("minimum", "maximum", "enum", "pattern"):
        value = getattr(param, name)
        if value is not None:
            schema[name] = value
    if param.has_default:
        return Param(param.default, description=param.description or None, **schema)
    return Param(description=param.description or None, **schema)
