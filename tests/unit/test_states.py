"""States, errors and their words."""

from __future__ import annotations

import pytest

from hotswap_airflow import errors
from hotswap_airflow.slurm import states
from hotswap_airflow.slurm.states import GONE, JobStatus, Phase


@pytest.mark.parametrize(
    ("state", "phase"),
    [("COMPLETED", Phase.SUCCEEDED), ("RUNNING", Phase.RUNNING), ("COMPLETING", Phase.RUNNING), ("PENDING", Phase.WAITING),
     ("REQUEUE_HOLD", Phase.WAITING), ("NEW_IN_SLURM_99", Phase.WAITING), ("TIMEOUT", Phase.FAILED), ("GONE", Phase.GONE),
     ("UNREACHABLE", Phase.UNREACHABLE), ("BOOT_FAIL", Phase.FAILED)],
)  # fmt: skip
def test_phases(state: str, phase: Phase) -> None:
    assert JobStatus(state).phase is phase


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (JobStatus("FAILED", exit_status=3), errors.JobFailed), (JobStatus("FAILED", exit_status=0, signal=125), errors.JobOutOfMemory),
        (JobStatus("OUT_OF_MEMORY"), errors.JobOutOfMemory), (JobStatus("TIMEOUT"), errors.JobTimedOut),
        (JobStatus("DEADLINE"), errors.JobPastDeadline), (JobStatus("CANCELLED", by="1000"), errors.JobCancelled),
        (JobStatus("PREEMPTED"), errors.JobPreempted), (JobStatus("NODE_FAIL", nodes="n1"), errors.JobNodeFailed),
        (GONE, errors.JobNodeFailed), (JobStatus("PENDING", "BadConstraints"), errors.JobNeverStarts),
        (JobStatus("FAILED"), errors.JobFailed), (JobStatus("FAILED", signal=9), errors.JobFailed),
    ],
)  # fmt: skip
def test_each_failure_has_its_class(status: JobStatus, kind: type[errors.JobError]) -> None:
    assert type(states.error_of(status, "fit")) is kind


@pytest.mark.parametrize("state", ["COMPLETED", "RUNNING", "PENDING", "UNREACHABLE", "SOMETHING"])
def test_no_error_without_a_failure(state: str) -> None:
    assert states.error_of(JobStatus(state), "fit") is None


def test_a_status_in_words() -> None:
    assert JobStatus("PENDING", "Priority").sentence == "PENDING (Priority: jobs of higher priority come first)"
    assert JobStatus("PENDING", "Odd").sentence == "PENDING (Odd)"
    assert JobStatus("RUNNING", nodes="n[1-2]").sentence == "RUNNING on n[1-2]"
    assert JobStatus("PENDING").sentence == "PENDING"


def test_the_sentinel_counts_where_the_cluster_said_nothing_better() -> None:
    assert GONE.with_sentinel(0).phase is Phase.SUCCEEDED
    assert GONE.with_sentinel(3).phase is Phase.FAILED
    assert JobStatus("TIMEOUT").with_sentinel(0).phase is Phase.FAILED
    assert JobStatus("FAILED", exit_status=4).with_sentinel(1).exit_status == 4
