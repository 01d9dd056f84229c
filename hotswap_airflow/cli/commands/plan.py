"""``hotswap plan``: shows the plan of a workflow, with everything resolved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading
from hotswap_airflow.cli.showing import shown_reference
from hotswap_airflow.units import format_duration
from hotswap_airflow.workflow.checks.sweep import count_points
from hotswap_airflow.workflow.kept import kept_only, refused_at_start
from hotswap_airflow.workflow.plan import as_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hotswap_airflow.slurm.retry import Retry
    from hotswap_airflow.workflow.plan import Plan, PlannedJob, PlannedSweep


def add_command(commands: Any) -> None:
    """Add the command."""
    plan = commands.add_parser("plan", help="show what will happen, everything resolved")
    plan.add_argument("file", metavar="FILE")
    loading.add_site_arguments(plan)
    plan.add_argument("--json", action="store_true")
    plan.set_defaults(action=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    plan, _ = loading.plan_file(arguments.file, arguments.site, arguments.environment)
    if arguments.json:
        print(json.dumps(_plan_data(plan), indent=2, ensure_ascii=False, default=as_json))
    else:
        print("\n".join(_plan_lines(plan)))
    return 0


def _plan_data(plan: Plan) -> dict[str, Any]:
    return {
        "workflow": plan.workflow,
        "environment": plan.environment,
        "digest": plan.digest,
        "schedule": plan.schedule.model_dump() if plan.schedule else None,
        "params": {name: param.model_dump(mode="json") for name, param in plan.params.items()},
        "jobs": [job.to_json() for job in plan.jobs],
        "files": [file.path for file in plan.pack.files],
        "version": plan.version,
        "project": plan.project,
        "timeout": plan.timeout,
        "max_active_runs": plan.max_active_runs,
        "start_date": plan.start_date.isoformat(),
        "catchup": plan.catchup,
        "secrets": {name: secret.model_dump() for name, secret in plan.secrets.items()},
        "notify": [notice.model_dump() for notice in plan.notify],
        "deploy": plan.deploy.model_dump(mode="json") if plan.deploy is not None else None,
        "budget": plan.budget.model_dump(mode="json") if plan.budget is not None else None,
        "kept_only": list(kept_only(plan)),
    }


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield from _head_lines(plan)
    for name, param in plan.params.items():
        default = f"= {param.default}" if param.has_default else "(must be filled in)"
        yield f"param   {name}: {param.type} {default}"
    yield from (f"file    {file.path}" for file in plan.pack.files)
    for job in plan.jobs:
        yield from _job_lines(job)
    yield from (f"{key}: kept, this version does not act on it" for key in kept_only(plan))


def _head_lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.workflow}  {plan.version}, environment {plan.environment}"
    if plan.project is not None:
        yield f"project {plan.project}"
    if plan.schedule is not None:
        yield f"starts  {plan.schedule.cron or ', '.join(plan.schedule.assets or [])} ({plan.schedule.timezone})"
    if plan.timeout is not None:
        yield f"timeout {format_duration(plan.timeout)}, then the run is cancelled"
    for name, secret in plan.secrets.items():
        source = f"connection {secret.connection}" if secret.connection is not None else f"variable {secret.variable}"
        yield f"secret  {name} from {source}"
    yield from (f"notify  {notice.to} on {', '.join(notice.on)}" for notice in plan.notify)


def _job_lines(job: PlannedJob) -> Iterator[str]:
    yield f"job     {job.name}  on {job.cluster}{_needs(job)}"
    yield from (f"        {line}" for line in _body(job))
    if job.sweep is not None:
        yield f"        {_elements(job.sweep)}"
    for item in job.inputs:
        yield f"        input {item.name} = {item.path or shown_reference(item.reference)}"
    for planned in job.outputs:
        where = f" = {planned.output.path}" if planned.output.path else ""
        where += f", published in {planned.publish}" if planned.publish else ""
        yield f"        output {planned.output.name} ({planned.output.type}){where}"


def _body(job: PlannedJob) -> Iterator[str]:
    """What a job runs, when, and in what."""
    if reason := refused_at_start(job):
        yield f"fails before it is submitted: {reason}"
    if job.condition is not None:
        yield f"if {job.condition}"
    if job.uses is not None:
        yield f"uses {job.uses}"
        return
    yield " ".join(_option(job)) or "no Slurm options"
    yield _tried_again(job.retry)
    if job.modules:
        yield f"module load {' '.join(job.modules)}"
    if job.container is not None:
        yield f"in the container {job.container.image}"
    if job.launch == "srun":
        yield "srun starts it once for each task"
    if job.shell:
        yield f"run by {' '.join(job.shell)}"


def _tried_again(retry: Retry) -> str:
    grows = [f"{name} x {growth.factor}" for name, growth in (("mem", retry.mem), ("time", retry.time)) if growth]
    more = f", {' and '.join(grows)}" if grows else ""
    if not retry.max_retries:
        return "never tried again"
    return f"tried again {retry.max_retries} times after {' '.join(sorted(retry.on))}{more}"


def _elements(sweep: PlannedSweep) -> str:
    axes = [
        f"{a.name} ({len(a.values)})" if a.reference is None else f"{a.name} ({shown_reference(a.reference)})"
        for a in sweep.axes
    ]
    known = all(axis.reference is None for axis in sweep.axes)
    count = f"{count_points([len(axis.values) for axis in sweep.axes], sweep.mode):,} elements" if known else "elements"
    limit = f", {sweep.max_parallel} at a time" if sweep.max_parallel is not None else ""
    return f"sweep of {count} over {', '.join(axes)}{limit}"


def _needs(job: PlannedJob) -> str:
    after = [need if when == "success" else f"{need} ({when})" for need, when in job.needs.items()]
    return f", after {', '.join(after)}" if after else ""


def _option(job: PlannedJob) -> Iterator[str]:
    for option in job.options:
        yield f"--{option.name}={option.text if option.reference is None else shown_reference(option.reference)}"
