"""``hotswap render``: the exact script and sbatch command of each job."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading
from hotswap_airflow.cli.showing import shown_reference
from hotswap_airflow.cluster.remote.submission import sbatch_argv
from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm import parsing
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.slurm.script.render import render_script, render_table
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.plan import PlannedAxis
from hotswap_airflow.workflow.run_values import RunValues

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.workflow.plan import Plan, PlannedJob, PlannedSweep
    from hotswap_airflow.workflow.site import Site

_TABLE_SHOWN = 5


def add_command(commands: Any) -> None:
    """Add the command."""
    render = commands.add_parser("render", help="print the exact script and sbatch command of each job")
    render.add_argument("file", metavar="FILE")
    loading.add_site_arguments(render)
    render.add_argument("--job", metavar="J", help="only this job")
    render.add_argument("--json", action="store_true")
    render.set_defaults(action=_render)


def _render(arguments: argparse.Namespace) -> int:
    plan, site = loading.plan_file(arguments.file, arguments.site, arguments.environment)
    names = [job.name for job in plan.jobs]
    if arguments.job is not None and arguments.job not in names:
        raise SetupError(f"there is no job {arguments.job!r}; use one of: {', '.join(names)}")
    wanted = [job for job in plan.jobs if arguments.job in {None, job.name}]
    for job in wanted:
        if job.uses is not None:
            print(f"job {job.name} runs {job.uses} in Airflow, not on Slurm", file=sys.stderr)
    requests = [_example(plan, job) for job in wanted if job.uses is None]
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
    """The request of a first try with the parameters' defaults. Values known only later are shown as ``<jobs.A.B>``."""
    options = tuple(
        replace(option, text=shown_reference(option.reference), reference=None) if option.reference else option
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
    """The sweep for an example: an axis that is known only later has one value, its reference."""
    if sweep is None:
        return None
    axes = (a if a.reference is None else PlannedAxis(a.name, (shown_reference(a.reference),)) for a in sweep.axes)
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
