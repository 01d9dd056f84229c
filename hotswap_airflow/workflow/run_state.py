"""Which jobs of a run may start, which are skipped, and how the run ends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.workflow.plan import Plan, PlannedJob

JobState = Literal["success", "failed", "skipped"]
_ACCEPTED: dict[str, frozenset[str]] = {
    "success": frozenset({"success"}),
    "failed": frozenset({"failed"}),
    "done": frozenset({"success", "failed", "skipped"}),
}


def readiness(job: PlannedJob, states: Mapping[str, JobState]) -> Literal["wait", "start", "skip"]:
    """Whether a job may start, given the ends of the jobs it needs."""
    if any(need not in states for need in job.needs):
        return "wait"
    fits = all(states[need] in _ACCEPTED[when] for need, when in job.needs.items())
    return "start" if fits else "skip"


def unhandled(plan: Plan, states: Mapping[str, JobState]) -> list[str]:
    """Jobs of a finished run that failed, and no job that waited for it succeeded."""
    return [job.name for job in plan.jobs if states[job.name] == "failed" and not _is_handled(plan, job.name, states)]


def run_state(plan: Plan, states: Mapping[str, JobState]) -> Literal["success", "failed"]:
    """How a finished run ended: every failure that nobody handled counts."""
    return "failed" if unhandled(plan, states) else "success"


def _is_handled(plan: Plan, failed: str, states: Mapping[str, JobState]) -> bool:
    return any(states[job.name] == "success" and job.needs.get(failed) in {"failed", "done"} for job in plan.jobs)
