"""What several sources together say about a job. Unknown is active; no answer is no answer."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap_airflow.slurm.states import GONE, JobStatus

GONE_AFTER = 60.0
"""Seconds after its submission, and of being seen by nobody, before a job may count as gone."""
SETTLING = 15.0
"""Seconds that accounting and shared file systems may lag behind the queue."""


@dataclass(frozen=True)
class Evidence:
    """What was seen of one job at one time; times in seconds of one clock.

    ``queued`` and ``accounted`` are None where the source does not know the job, ``sentinel`` is the
    exit status that the script itself noted. ``has_accounting`` tells whether sacct answered at all.
    """

    now: float
    submitted_at: float
    missing_since: float
    queued: JobStatus | None = None
    accounted: JobStatus | None = None
    sentinel: int | None = None
    has_accounting: bool = True


def judge(evidence: Evidence) -> JobStatus:
    """Give the status that follows from the evidence.

    The queue is right about active jobs. About ended ones accounting knows more; where it is silent,
    the script's own note counts. A job is gone only when queue and accounting (or, without it, the
    note) have both missed it for a while, and not soon after its submission.
    """
    queued, accounted = evidence.queued, evidence.accounted
    if queued is not None and not queued.phase.is_final:
        return queued
    if accounted is not None and accounted.phase.is_final:
        return accounted
    if queued is not None:
        return queued if evidence.sentinel is None else queued.with_sentinel(evidence.sentinel)
    missing_for = evidence.now - evidence.missing_since
    if evidence.sentinel is not None and (not evidence.has_accounting or missing_for >= SETTLING):
        return GONE.with_sentinel(evidence.sentinel)
    if accounted is not None and missing_for < GONE_AFTER:
        return accounted
    if missing_for >= GONE_AFTER and evidence.now - evidence.submitted_at >= GONE_AFTER:
        return GONE
    return JobStatus("COMPLETING", reason="not in the queue any more")
