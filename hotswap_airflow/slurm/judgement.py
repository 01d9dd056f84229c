"""What several sources together say about a job. Unknown is active; no answer is no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.retry import GOES_ON, SAVED
from hotswap_airflow.slurm.states import GONE, JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


@dataclass(frozen=True)
class Try:
    """A try of a job that has a folder on the cluster.

    ``settled`` is how its end was told, as ``<try number> <clear number> <state> <error>``; empty where it was not.
    ``has_ended`` tells whether its script noted its end, ``asked`` who asked last: ``<try number> <clear number>``.
    """

    epoch: int
    generation: int
    is_cancelled: bool = False
    settled: str = ""
    has_ended: bool = False
    asked: str = ""


def choose_generation(tries: Sequence[Try], epoch: int, asked: str) -> int:
    """Give the generation that a try must find or submit.

    ``asked`` is ``<try number> <clear number>`` of the one who asks. A job that is not settled is
    adopted, and so is an end that was told to the same try, or a success that no clear came after.
    """
    mine = [one for one in tries if one.epoch == epoch]
    if not mine:
        return 0
    last = max(mine, key=lambda one: one.generation)
    if last.is_cancelled:
        return last.generation + 1
    if not last.settled:
        is_of_before = last.has_ended and _clear_number(last.asked) < _clear_number(asked)
        return last.generation + is_of_before
    state, _ = how_settled(last.settled)
    if state in GOES_ON:
        return last.generation + 1
    told_try, told_clear, *_ = [*last.settled.split(), "", ""]
    same_try = [told_try, told_clear] == asked.split()
    kept_success = JobStatus(state).phase is Phase.SUCCEEDED and told_clear == asked.rsplit(maxsplit=1)[-1]
    return last.generation if same_try or kept_success else last.generation + 1


@dataclass(frozen=True)
class Past:
    """What was before a try of a job.

    ``starts`` counts the tries before it, ``failures`` are the names of the errors of those of the same epoch,
    ``saved`` is the digest of the one that saved its state last; empty where none did.
    """

    starts: int = 0
    failures: tuple[str, ...] = ()
    saved: str = ""


def how_settled(settled: str) -> tuple[str, str]:
    """State and error of how the end of a try was told; empty where it was not.

    >>> how_settled("2 0 TIMEOUT JobTimedOut"), how_settled("1 0 COMPLETED"), how_settled("")
    (('TIMEOUT', 'JobTimedOut'), ('COMPLETED', ''), ('', ''))
    """
    _, _, state, error, *_ = [*settled.split(), "", "", "", ""]
    return state, error


def past_of(tries: Mapping[str, Try], epoch: int, generation: int) -> Past:
    """The past of a try, given all tries of its job by digest."""
    before = sorted(
        ((one.epoch, one.generation, digest, one.settled) for digest, one in tries.items()), key=lambda item: item[:2]
    )
    before = [item for item in before if item[:2] < (epoch, generation)]
    ends = [(digest, how_settled(settled)) for e, _, digest, settled in before if e == epoch]
    saved = [digest for digest, (state, _) in ends if state == SAVED]
    failures = tuple(error for _, (_, error) in ends if error)
    return Past(len(before), failures, saved[-1] if saved else "")


def try_number(asked: str) -> int:
    """The try number of ``<try number> <clear number>``; 0 where nobody asked.

    >>> try_number("3 1"), try_number("")
    (3, 0)
    """
    return int(asked.split(maxsplit=1)[0]) if asked.strip() else 0


def _clear_number(asked: str) -> int:
    return int(asked.split()[1]) if asked.strip() else 0
