"""``validate``, ``plan`` and ``render``: what can be said without a cluster."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading
from hotswap_airflow.cluster.remote.submission import sbatch_argv
from hotswap_airflow.errors import Problem, SetupError, SpecError
from hotswap_airflow.slurm import parsing
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.slurm.script.render import render_script, render_table
from hotswap_airflow.workflow.checked import taken_names
from hotswap_airflow.workflow.checks.sweep import count_points
from hotswap_airflow.workflow.job_request import RunValues, make_job_request
from hotswap_airflow.workflow.plan import PlannedAxis, as_json
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.slurm.retry import Retry
    from hotswap_airflow.workflow.checked import CheckedWorkflow
    from hotswap_airflow.workflow.plan import Plan, PlannedJob, PlannedSweep
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.spec.references import Reference

_TABLE_SHOWN = 5
_SITE = re.compile(rb"site/v1|^(?:clusters|environments)\s*:", re.MULTILINE)


def add_commands(commands: Any) -> None:
    """Add the three commands."""
    validate = commands.add_parser("validate", help="check workflow files: exit 0 valid, 1 invalid, 2 misuse")
    validate.add_argument("files", nargs="+", metavar="FILE", help="workflow or site files, or folders of them")
    loading.add_site_arguments(validate)
    validate.add_argument("--format", choices=("text", "json", "github"), default="text")
    validate.set_defaults(action=_validate)
    plan = commands.add_parser("plan", help="show what will happen, everything resolved")
    plan.add_argument("file", metavar="FILE")
    loading.add_site_arguments(plan)
    plan.add_argument("--json", action="store_true")
    plan.set_defaults(action=_plan)
    render = commands.add_parser("render", help="print the exact script and sbatch command of each job")
    render.add_argument("file", metavar="FILE")
    loading.add_site_arguments(render)
    render.add_argument("--job", metavar="J", help="only this job")
    render.add_argument("--json", action="store_true")
    render.set_defaults(action=_render)


def _validate(arguments: argparse.Namespace) -> int:
    site = loading.find_site(arguments.site)
    if arguments.environment is not None:
        loading.check_environment(site, arguments.environment)
    checked = []
    problems: list[Problem] = []
    sites = 0
    for path in loading.find_files(arguments.files):
        if _is_site(path):
            problems += _site_problems(path)
            sites += 1
            continue
        found = loading.load(path, site)
        problems += [*found.problems, *_not_served(found)]
        checked.append(found)
    problems += taken_names(checked)
    _report(problems, arguments.format)
    wrong = [problem for problem in problems if not problem.is_note]
    if arguments.format == "text":
        _summary(checked, sites, wrong)
        if site is None and checked:
            print("no site file is known (--site), so no limits of clusters were checked", file=sys.stderr)
    return 1 if wrong else 0


def _is_site(path: str) -> bool:
    if path.endswith(vocabulary.WORKFLOW_SUFFIXES):
        return False
    return _SITE.search(loading.read_bytes(path)) is not None


def _not_served(found: CheckedWorkflow) -> Iterator[Problem]:
    """A workflow that no DAGs folder would serve, by its file's name."""
    if not found.is_ignored and not found.file.endswith(vocabulary.WORKFLOW_SUFFIXES):
        suffix = ".hotswap.json" if found.file.endswith(".json") else ".hotswap.yaml"
        better = Path(found.file).stem.removesuffix(".hotswap") + suffix
        words = "the DAGs folder serves only files that end in .hotswap.yaml or .hotswap.json"
        yield Problem(found.file, 0, 0, "name-invalid", words, f"rename it to {better}")


def _site_problems(path: str) -> tuple[Problem, ...]:
    try:
        read_site(loading.read_bytes(path), path)
    except SpecError as error:
        return error.problems
    return ()


def _report(problems: list[Problem], form: str) -> None:
    if form == "json":
        print(json.dumps([asdict(problem) for problem in problems], indent=2, ensure_ascii=False))
        return
    for problem in problems:
        print(_github(problem) if form == "github" else problem)


def _github(problem: Problem) -> str:
    level = "notice" if problem.is_note else "error"
    text = f"{problem.message}; {problem.remedy}"
    for char, escape in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, escape)
    place = f",line={problem.line},col={problem.column}" if problem.line else ""
    return f"::{level} file={problem.file}{place},title={problem.code}::{text}"


def _summary(checked: list[CheckedWorkflow], sites: int, wrong: list[Problem]) -> None:
    if wrong:
        files = len({problem.file for problem in wrong})
        print(f"{len(wrong)} error(s) in {files} of {max(len(checked) + sites, files)} file(s)", file=sys.stderr)
        return
    valid = sum(found.is_valid for found in checked)
    counted = [f"{valid} workflow(s)"] if checked or not sites else []
    counted += [f"{sites} site file(s)"] if sites else []
    print(f"{' and '.join(counted)} valid", file=sys.stderr)


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
            yield f"        input {item.name} = {item.path or _named(item.reference)}"
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
        f"{a.name} ({len(a.values)})" if a.reference is None else f"{a.name} ({_named(a.reference)})"
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
        yield f"--{option.name}={option.text if option.reference is None else _named(option.reference)}"


def _named(reference: Reference | None) -> str:
    if reference is None:
        return ""
    if reference.job is not None:
        return f"<jobs.{reference.job}.{reference.name}>"
    return f"<params.{reference.name}>" if reference.kind == "param" else f"<{reference.kind}>"


def _render(arguments: argparse.Namespace) -> int:
    plan, site = loading.plan_file(arguments.file, arguments.site, arguments.environment)
    names = [job.name for job in plan.jobs]
    if arguments.job is not None and arguments.job not in names:
        raise SetupError(f"there is no job {arguments.job!r}; use one of: {', '.join(names)}")
    requests = [_example(plan, job) for job in plan.jobs if arguments.job in {None, job.name}]
    if arguments.json:
        rendered = [_rendered(request) for request in requests]
        print(json.dumps(rendered, indent=2, ensure_ascii=False))
    else:
        print("\n".join(_shown(request, plan, site) for request in requests))
    return 0


def _rendered(request: JobRequest) -> dict[str, Any]:
    table = {"table": render_table(request.array)} if request.array is not None else {}
    return {"job": request.key.job, "argv": list(request.argv), "script": render_script(request), **table}


def _example(plan: Plan, job: PlannedJob) -> JobRequest:
    """The request of a first try with the parameters' defaults; later values stand as ``<jobs.A.B>``."""
    options = tuple(
        replace(option, text=_named(option.reference), reference=None) if option.reference else option
        for option in job.options
    )
    outputs = {
        other.name: {planned.output.name: f"<jobs.{other.name}.{planned.output.name}>" for planned in other.outputs}
        for other in plan.jobs
    }
    values = RunValues(
        run_id="RUN", params={name: p.default for name, p in plan.params.items()}, outputs=outputs, date="DATE"
    )
    key = JobKey(RunKey("INSTALLATION", plan.workflow, plan.environment, "RUN", "NONCE"), job.name)
    return make_job_request(plan, replace(job, options=options, sweep=_example_sweep(job.sweep)), key, values)


def _example_sweep(sweep: PlannedSweep | None) -> PlannedSweep | None:
    """Axes that are only known later have one value, their reference."""
    if sweep is None:
        return None
    axes = (a if a.reference is None else PlannedAxis(a.name, (_named(a.reference),)) for a in sweep.axes)
    return replace(sweep, axes=tuple(axes))


def _shown(request: JobRequest, plan: Plan, site: Site) -> str:
    cluster = site.clusters[plan.job(request.key.job).cluster]
    folder = f"{cluster.target.workdir}/{key_folder(request.key.digest)}"
    table = "".join(f"# {line}\n" for line in _table(request))
    command = shlex.join(sbatch_argv(request, cluster.target.slurm_cluster))
    return f"# cd {folder} && {command}\n{render_script(request)}{table}"


def _table(request: JobRequest) -> Iterator[str]:
    if request.array is None:
        return
    lines = parsing.lines(render_table(request.array))
    yield f"the table of {len(lines):,} elements:"
    yield from lines[:_TABLE_SHOWN]
    if len(lines) > _TABLE_SHOWN:
        yield "…"
