"""What a plan keeps but this version of hotswap does not act on. Each entry goes when its part is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.workflow.plan import Plan, PlannedJob

_LATER_EVENTS = ("rollback", "approval", "budget")


def kept_only(plan: Plan) -> Iterator[str]:
    """The keys of a workflow that are checked and kept only, as a person would write them."""
    if plan.deploy is not None:
        yield "deploy"
    if plan.budget is not None:
        yield "budget"
    events = [event for event in _LATER_EVENTS if any(event in notice.on for notice in plan.notify)]
    if events:
        yield f"notify on {', '.join(events)}"
    for job in plan.jobs:
        yield from (f"jobs.{job.name}.{key}" for key in _of_job(job))


def _of_job(job: PlannedJob) -> Iterator[str]:
    if job.is_routed:
        yield "cluster: auto"
    if job.burst is not None:
        yield "burst"
    if job.software is not None:
        yield "software"
    if job.is_local:
        yield "cluster of kind local"


def refused_at_start(job: PlannedJob) -> str:
    """Why a job fails before anything is submitted, and what to do; an empty text if it runs."""
    if job.software is not None:
        return (
            f"job {job.name} asks for the software `{job.software}`, and this version of hotswap builds none; "
            "install it on the cluster, and use `modules:` or a path in `run:`"
        )
    if job.is_local:
        return (
            f"job {job.name} is for cluster {job.cluster} of kind local, where this version of hotswap runs no job; "
            "name a cluster of kind slurm, for example that of `hotswap sandbox up`"
        )
    return ""
