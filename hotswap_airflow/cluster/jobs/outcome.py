"""How a job ended, and who hears how it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hotswap_airflow.errors import JobError
    from hotswap_airflow.slurm.array_state import Tally
    from hotswap_airflow.slurm.history.table import ElementResult
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.states import JobStatus


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its values by output name, or the error that names the remedy.

    ``tally`` and ``submitted`` tell of a sweep's elements how they did, and how many array indices were submitted.
    ``failed_before`` counts earlier tries of the same epoch that failed; ``continuation`` says why another job follows.
    ``table`` are a sweep's elements.
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


class Listener(Protocol):
    """Hears how a job goes on."""

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: FBT001 - one fact of a job
        """A job was submitted, or found where it was already."""

    def seen(self, status: JobStatus, tally: Tally | None) -> None:
        """There is news of it; ``tally`` of a sweep."""


class Unheard:
    """Nobody wants to know."""

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: FBT001 - as it is asked for
        """Do nothing."""

    def seen(self, status: JobStatus, tally: Tally | None) -> None:
        """Do nothing."""
