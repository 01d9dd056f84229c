"""What several sources together say."""

from __future__ import annotations

import pytest

from hotswap_airflow.slurm.judgement import Evidence, judge
from hotswap_airflow.slurm.states import JobStatus, Phase, error_of

RUNNING, COMPLETED = JobStatus("RUNNING"), JobStatus("COMPLETED")


def _judge(now: float, **sources: object) -> JobStatus:
    return judge(Evidence(now=now, submitted_at=0.0, missing_since=0.0, **sources))  # type: ignore[arg-type]


def test_the_queue_is_right_about_active_jobs_and_accounting_about_ended_ones() -> None:
    assert _judge(0.0, queued=RUNNING, accounted=COMPLETED, noted_status=0) is RUNNING
    assert _judge(0.0, queued=COMPLETED, accounted=JobStatus("TIMEOUT"), noted_status=0).state == "TIMEOUT"
    assert _judge(0.0, queued=JobStatus("FAILED"), noted_status=3).exit_status == 3
    assert _judge(0.0, accounted=RUNNING) is RUNNING


def test_a_job_is_gone_only_after_a_while_and_by_two_sources() -> None:
    assert _judge(59.0).phase is Phase.RUNNING
    assert _judge(61.0).phase is Phase.GONE
    assert _judge(61.0, noted_status=0).phase is Phase.SUCCEEDED
    assert _judge(1.0, noted_status=4, has_accounting=False).exit_status == 4
    assert _judge(1.0, noted_status=4).phase is Phase.RUNNING  # accounting may still say more


@pytest.mark.parametrize("source", ["queued", "accounted"])
def test_a_good_end_needs_the_scripts_own_note(source: str) -> None:
    """A controller that lost a job may say that it ended well, and so does who tidies up its rows in accounting."""
    said = {source: COMPLETED}
    assert _judge(59.0, **said).phase is Phase.RUNNING
    assert (gone := _judge(61.0, **said)).phase is Phase.GONE
    assert "Slurm reports that it ended well, but its script noted no end" in str(error_of(gone, "fit"))
    assert _judge(0.0, **said, noted_status=0).phase is Phase.SUCCEEDED
    assert _judge(0.0, **said, noted_status=7) == JobStatus("FAILED", exit_status=7)
    assert _judge(0.0, **said, has_notes=False) is COMPLETED  # a job that others submitted


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED"])
def test_a_script_that_ended_well_by_itself_has(state: str) -> None:
    """A controller that did not hear of it takes the job for lost, and begins it again."""
    assert _judge(0.0, accounted=JobStatus(state), noted_status=0).phase is Phase.SUCCEEDED
    assert _judge(0.0, accounted=JobStatus(state), noted_status=0, signalled=True).state == state
    held = JobStatus("PENDING", reason="launch failed requeued held")
    assert _judge(0.0, queued=held, noted_status=0).phase is Phase.SUCCEEDED
    assert _judge(0.0, queued=held, noted_status=3) is held


def test_a_controller_that_has_not_heard_of_a_good_end_is_not_waited_for() -> None:
    """As after it was killed; a job that is being cleaned up is, whose epilog may bring files home."""
    assert _judge(14.0, queued=RUNNING, noted_status=0) is RUNNING
    assert _judge(16.0, queued=RUNNING, noted_status=0).phase is Phase.SUCCEEDED
    assert _judge(16.0, queued=RUNNING, noted_status=0, signalled=True) is RUNNING
    assert _judge(16.0, queued=RUNNING, noted_status=1) is RUNNING  # a requeue may be under way
    for state in ("COMPLETING", "STAGE_OUT"):
        assert _judge(16.0, queued=JobStatus(state), noted_status=0).state == state


def test_what_was_left_of_a_lost_job_and_ended_by_a_signal_has_not_failed_by_itself() -> None:
    assert _judge(16.0, noted_status=143).phase is Phase.RUNNING
    assert _judge(61.0, noted_status=143).phase is Phase.GONE
    assert (
        _judge(1.0, noted_status=143, has_accounting=False).phase is Phase.FAILED
    )  # whoever ended it, nobody else knows
