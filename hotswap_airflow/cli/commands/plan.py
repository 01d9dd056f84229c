"""``hotswap plan``: shows the plan of a workflow, with everything resolved."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading
from hotswap_airflow.cli.showing import shown_reference
from hotswap_airflow.workflow.checks.sweep import count_points
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
        "jobs": [{**asdict(job), "needs": dict(job.needs)} for job in plan.jobs],
        "files": [file.path for file in plan.pack.files],
    }


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.workflow}  {plan.digest}, environment {plan.environment}"
    if plan.schedule is not None:
        yield f"starts  {plan.schedule.cron or ', '.join(plan.schedule.assets or [])} ({plan.schedule.timezone})"
    for name, param in plan.params.items():
        default = f"= {param.default}" if param.has_default else "(must be filled in)"
        yield f"param   {name}: {param.type} {default}"
    for file in plan.pack.files:
        yield f"file    {file.path}"
    for job in plan.jobs:
        yield f"job     {job.name}  on {job.cluster}{_needs(job)}"
        yield f"        {' '.join(_option(job)) or 'no Slurm options'}"
        yield f"        {_tried_again(job.retry)}"
        if job.sweep is not None:
            yield f"        {_elements(job.sweep)}"
        for item in job.inputs:
            yield f"        input {item.name} = {item.path or shown_reference(item.reference)}"
        for planned in job.outputs:
            where = f" = {planned.output.path}" if planned.output.path else ""
            yield f"        output {planned.output.name} ({planned.output.type}){where}"


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
