"""What several sources together say about a job. Unknown is active; no answer is no answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hotswap_airflow.slurm.states import GONE, REVOKED, SIGNALS, JobStatus, Phase

GONE_AFTER = 60.0
"""Seconds after its submission, and of being seen by nobody, before a job may count as gone."""
SETTLING = 15.0
"""Seconds that accounting and shared file systems may lag behind the queue."""
_BLIND = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED"})
"""Ends of which Slurm does not know what became of the script."""
_UNNOTED = "Slurm says that it ended well, but its script has noted no end"


@dataclass(frozen=True)
class Evidence:
    """What was seen of one job at one time; times in seconds of one clock.

    ``queued`` and ``accounted`` are None where the source does not know the job, ``noted_status`` is the
    exit status that the script itself noted, ``signalled`` whether it was sent a signal before.
    ``missing_since`` is since when ``is_missing`` has held. ``has_accounting`` tells whether sacct answered at all,
    ``has_notes`` whether its script is ours, which notes its end.
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
        """Whether the script has ended well by itself: begun once more it would do nothing."""
        return self.noted_status == 0 and not self.signalled

    @property
    def queue_is_stale(self) -> bool:
        """Whether the queue calls a job active that is not: Slurm would begin it again, or has not heard of its end."""
        queued = self.queued
        if queued is None or queued.phase.is_final or not self.ended_well_by_itself:
            return False
        return queued.phase is Phase.WAITING or (queued.state == "RUNNING" and self.missing_for >= SETTLING)

    @property
    def missing_for(self) -> float:
        """Seconds."""
        return self.now - self.missing_since


def is_missing(queued: JobStatus | None, noted_status: int | None, *, signalled: bool = False) -> bool:
    """Whether the queue does not show a job, or what it shows is not what its script has noted."""
    return (
        queued is None
        or lacks_note(queued, noted_status)
        or (noted_status == 0 and not signalled and not queued.phase.is_final)
    )


def lacks_note(status: JobStatus | None, noted_status: int | None) -> bool:
    """Whether Slurm alone says that a job ended well, as it does where somebody tidied up what a controller lost."""
    return noted_status is None and status is not None and status.phase is Phase.SUCCEEDED


def judge(evidence: Evidence) -> JobStatus:
    """Give the status that follows from the evidence.

    The queue is right about active jobs, but for one that Slurm would begin again after its script ended well, or of
    whose good end it has not heard for a while. About ended ones accounting knows more; where it is silent, the
    script's own note counts, and a good end needs it. A job is gone only when queue and accounting (or, without it,
    the note) have both missed it for a while, and not soon after its submission.
    """
    queued, accounted, note = evidence.queued, evidence.accounted, evidence.noted_status
    if queued is not None and queued.state == REVOKED and accounted is not None:
        queued = accounted
    if queued is not None and not queued.phase.is_final:
        return GONE.with_sentinel(0) if evidence.queue_is_stale else queued
    ended = next((status for status in (accounted, queued) if status is not None and status.phase.is_final), None)
    if ended is not None:
        return _believed(ended, evidence)
    # Of a signal there is no knowing whether the job was ended, or what was left of one that the controller lost.
    if note is not None and (not evidence.has_accounting or (evidence.missing_for >= SETTLING and note <= SIGNALS)):
        return GONE.with_sentinel(note)
    if accounted is not None and evidence.missing_for < GONE_AFTER:
        return accounted
    if evidence.missing_for >= GONE_AFTER and evidence.now - evidence.submitted_at >= GONE_AFTER:
        return GONE
    return JobStatus("COMPLETING", reason="not in the queue any more")


def _believed(ended: JobStatus, evidence: Evidence) -> JobStatus:
    """The end that Slurm tells, held against the script's own note."""
    note = evidence.noted_status
    if evidence.has_notes and lacks_note(ended, note):
        is_late = evidence.missing_for < GONE_AFTER
        return replace(ended, state="COMPLETING" if is_late else "GONE", reason=_UNNOTED)
    knows_less = ended.phase is Phase.SUCCEEDED or (evidence.ended_well_by_itself and ended.state in _BLIND)
    if note is not None and knows_less:
        return replace(GONE.with_sentinel(note), nodes=ended.nodes)
    return ended if note is None else ended.with_sentinel(note)
