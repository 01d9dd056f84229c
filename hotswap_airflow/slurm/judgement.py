"""Judge a job from several sources together. An unknown state counts as active; a missing answer shows nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hotswap_airflow.slurm.states import GONE, REVOKED, SIGNALS, JobStatus, Phase

GONE_AFTER = 60.0
"""Seconds that must pass after a job's submission, and without any source that shows it, before it counts as gone."""
SETTLING = 15.0
"""Seconds that accounting and shared file systems may lag behind the queue."""
_BLIND = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED"})
"""Ends after which Slurm does not know what happened to the script."""
_UNNOTED = "Slurm reports that it ended well, but its script noted no end"


@dataclass(frozen=True)
class Evidence:
    """What was seen of one job at one time; times in seconds of one clock.

    ``queued`` and ``accounted`` are None if the source does not know the job. ``noted_status`` is the exit status that
    the script itself noted, ``signalled`` whether the script was sent a signal before. ``missing_since`` is the time
    since which ``is_missing`` has been true. ``has_accounting``: whether sacct answered at all. ``has_notes``: whether
    the script is ours, which notes its end.
    """

    now: float
    submitted_at: float
    missing_since: float
    queued: JobStatus | None = None
    accounted: JobStatus | None = None
    noted_status: int | None = None
    signalled: bool = False
    has_accounting: bool = True
    has_notes: bool = True

    @property
    def ended_well_by_itself(self) -> bool:
        """Whether the script has ended well by itself: if it began once more, it would do nothing."""
        return self.noted_status == 0 and not self.signalled

    @property
    def queue_is_stale(self) -> bool:
        """Whether the queue wrongly shows a job as active: Slurm would begin it again, or does not know its end yet."""
        queued = self.queued
        if queued is None or queued.phase.is_final or not self.ended_well_by_itself:
            return False
        return queued.phase is Phase.WAITING or (queued.state == "RUNNING" and self.missing_for >= SETTLING)

    @property
    def missing_for(self) -> float:
        """Seconds since ``missing_since``."""
        return self.now - self.missing_since


def is_missing(queued: JobStatus | None, noted_status: int | None, *, signalled: bool = False) -> bool:
    """Whether the queue does not show a job, or shows a state that does not agree with the script's note."""
    return (
        queued is None
        or lacks_note(queued, noted_status)
        or (noted_status == 0 and not signalled and not queued.phase.is_final)
    )


def lacks_note(status: JobStatus | None, noted_status: int | None) -> bool:
    """Whether only Slurm says that a job ended well, as after a person cleaned up jobs that a controller lost."""
    return noted_status is None and status is not None and status.phase is Phase.SUCCEEDED


def judge(evidence: Evidence) -> JobStatus:
    """Give the status that follows from the evidence.

    The queue is right about active jobs, with two exceptions: a job that Slurm would begin again after its script ended
    well, and a job whose good end Slurm has not known for a while. About ended jobs accounting knows more. If it does
    not know the job, the script's own note counts, and a good end needs this note. A job is gone only if queue and
    accounting (or, without accounting, the note) have both missed it for a while, and not soon after its submission.
    """
    queued, accounted, note = evidence.queued, evidence.accounted, evidence.noted_status
    if queued is not None and queued.state == REVOKED and accounted is not None:
        queued = accounted
    if queued is not None and not queued.phase.is_final:
        return GONE.with_sentinel(0) if evidence.queue_is_stale else queued
    ended = next((status for status in (accounted, queued) if status is not None and status.phase.is_final), None)
    if ended is not None:
        return _believed(ended, evidence)
    # A signal may have ended the job, or only what was left of a job that the controller lost.
    if note is not None and (not evidence.has_accounting or (evidence.missing_for >= SETTLING and note <= SIGNALS)):
        return GONE.with_sentinel(note)
    if accounted is not None and evidence.missing_for < GONE_AFTER:
        return accounted
    if evidence.missing_for >= GONE_AFTER and evidence.now - evidence.submitted_at >= GONE_AFTER:
        return GONE
    return JobStatus("COMPLETING", reason="not in the queue any more")


def _believed(ended: JobStatus, evidence: Evidence) -> JobStatus:
    """The end that Slurm gives, compared with the script's own note."""
    note = evidence.noted_status
    if evidence.has_notes and lacks_note(ended, note):
        is_late = evidence.missing_for < GONE_AFTER
        return replace(ended, state="COMPLETING" if is_late else "GONE", reason=_UNNOTED)
    knows_less = ended.phase is Phase.SUCCEEDED or (evidence.ended_well_by_itself and ended.state in _BLIND)
    if note is not None and knows_less:
        return replace(GONE.with_sentinel(note), nodes=ended.nodes)
    return ended if note is None else ended.with_sentinel(note)
