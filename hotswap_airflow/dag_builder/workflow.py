"""Builds an Airflow Dag from a plan: one task for each job, with the job's name."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param

from hotswap_airflow.dag_builder.tasks import add_tasks
from hotswap_airflow.hooks.notices import RunNotice

if TYPE_CHECKING:
    from hotswap_airflow.workflow.plan import Plan
    from hotswap_airflow.workflow.spec.param_spec import ParamSpec

BROKEN = "newest text is broken"
"""The tag of a Dag whose file holds a newer text that is not used."""
_BROKEN_PAGE = "**The newest text of this file is broken. Runs use the last valid one.**\n\n```\n{}\n```"
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}


def build_dag(plan: Plan, *, is_deleted: bool = False, fault: str = "") -> DAG:
    """The Dag of a plan. The Dag of a deleted workflow keeps its tasks for begun runs, and no schedule starts new runs.

    ``fault`` is why a newer text of the workflow is not used; the Dag and the logs of its tasks show it.
    """
    tags = ["deleted"] if is_deleted else [*plan.tags, *([BROKEN] if fault else [])]
    dag = DAG(
        dag_id=plan.workflow,
        description=plan.description or None,
        schedule=None if is_deleted else _schedule(plan),
        start_date=plan.start_date,
        catchup=plan.catchup and not is_deleted,
        max_active_runs=plan.max_active_runs,
        dagrun_timeout=dt.timedelta(seconds=plan.timeout) if plan.timeout is not None else None,
        tags=tags,
        doc_md=_BROKEN_PAGE.format(fault.replace("`", "'")) if fault else None,
        params={name: make_param(param) for name, param in plan.params.items()},
        default_args={"owner": plan.owner} if plan.owner else {},
        rerun_with_latest_version=False,
        on_success_callback=_notices(plan, "success"),
        on_failure_callback=_notices(plan, "failed"),
        render_template_as_native_obj=False,
    )
    add_tasks(plan, fault, dag=dag)
    return dag


def _notices(plan: Plan, event: Literal["success", "failed"]) -> Any:
    """The Dag's callbacks for an end of its runs; a callback of a task would make the task end in a worker."""
    targets = dict.fromkeys(entry.to for entry in plan.notify if event in entry.on)
    if not targets:
        return None
    where = (plan.workflow, plan.version, plan.environment, plan.project or "")
    return [RunNotice(event, target, *where) for target in targets]


def _schedule(plan: Plan) -> Any:
    schedule = plan.schedule
    if schedule is None:
        return None
    if schedule.assets is not None:
        return [Asset(uri) for uri in schedule.assets]
    presets = {"@quarterly": "0 0 1 */3 *"}
    cron = schedule.cron or ""
    return CronTriggerTimetable(presets.get(cron, cron), timezone=schedule.timezone, interval=dt.timedelta(0))


def make_param(param: ParamSpec) -> Param:
    """A parameter of a workflow as one of a Dag, with what Airflow's form needs to check it."""
    schema: dict[str, Any] = dict(_JSON_TYPES.get(param.type, {"type": param.type}))
    for name in ("minimum", "maximum", "enum", "pattern"):
        value = getattr(param, name)
        if value is not None:
            schema[name] = value
    if param.item_type is not None:  # otherwise Airflow's form turns the items into texts
        schema["items"] = {"type": param.item_type}
    if param.has_default:
        return Param(param.default, description=param.description or None, **schema)
    return Param(description=param.description or None, **schema)
