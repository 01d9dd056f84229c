"""How a job ended, and the listeners that follow a job until then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotswap_airflow.errors import JobError
    from hotswap_airflow.slurm.array_state import Tally
    from hotswap_airflow.slurm.history.table import ElementResult
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.states import JobStatus


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its values by output name, or the error that names the remedy.

    For a sweep, ``tally`` counts its elements by state, ``submitted`` is the number of array indices that were
    submitted, and ``table`` has the results of its elements. ``failed_before`` counts earlier tries of the same epoch
    that failed. ``continuation`` says why another job follows; it is empty if none does.
    """

    key: JobKey
    job_id: int | None
    status: JobStatus
    values: dict[str, Any]
    error: JobError | None = None
    tally: Tally | None = None
    submitted: int = 0
    failed_before: int = 0
    continuation: str = ""
    table: tuple[ElementResult, ...] = ()


class JobListener:
    """Follows a job; each method does nothing unless a subclass overrides it."""

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: FBT001 - one fact of a job
        """Note that a job was submitted (``is_new``), or that an earlier submission of it was found."""

    def seen(self, status: JobStatus, tally: Tally | None) -> None:
        """Note news of the job; ``tally`` is given for a sweep."""

    def ended(self, outcome: Outcome) -> None:
        """Note that the job ended; if ``outcome.continuation`` is set, another job follows."""


class JobListeners(JobListener):
    """Several listeners as one."""

    def __init__(self, *listeners: JobListener) -> None:
        self._listeners = listeners

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: FBT001 - one fact of a job
        """Notify all."""
        for listener in self._listeners:
            listener.placed(job_id, is_new)

    def seen(self, status: JobStatus, tally: Tally | None) -> None:
        """Notify all."""
        for listener in self._listeners:
            listener.seen(status, tally)

    def ended(self, outcome: Outcome) -> None:
        """Notify all."""
        for listener in self._listeners:
            listener.ended(outcome)
