"""Decides which jobs of a run may start, which jobs are skipped, and how the run ends. Without side effects."""

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
    """Whether a job may start, from the ends of the jobs that it needs."""
    if any(need not in states for need in job.needs):
        return "wait"
    fits = all(states[need] in _ACCEPTED[when] for need, when in job.needs.items())
    return "start" if fits else "skip"


def unhandled(plan: Plan, states: Mapping[str, JobState]) -> list[str]:
    """Failed jobs of a finished run for which no job that waited for the failure succeeded."""
    return [job.name for job in plan.jobs if states[job.name] == "failed" and not _is_handled(plan, job.name, states)]


def run_state(plan: Plan, states: Mapping[str, JobState]) -> Literal["success", "failed"]:
    """How a finished run ended: it failed if one of its failed jobs is unhandled."""
    return "failed" if unhandled(plan, states) else "success"


def _is_handled(plan: Plan, failed: str, states: Mapping[str, JobState]) -> bool:
    return any(states[job.name] == "success" and job.needs.get(failed) in {"failed", "done"} for job in plan.jobs)
