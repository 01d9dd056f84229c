"""What several sources together say."""

from __future__ import annotations

from hotswap_airflow.slurm.judgement import Evidence, judge
from hotswap_airflow.slurm.states import JobStatus, Phase

RUNNING, COMPLETED = JobStatus("RUNNING"), JobStatus("COMPLETED")


def _judge(now: float, **sources: object) -> JobStatus:
    return judge(Evidence(now=now, submitted_at=0.0, missing_since=0.0, **sources))  # type: ignore[arg-type]


def test_the_queue_is_right_about_active_jobs_and_accounting_about_ended_ones() -> None:
    assert _judge(0.0, queued=RUNNING, accounted=COMPLETED, sentinel=0) is RUNNING
    assert _judge(0.0, queued=COMPLETED, accounted=JobStatus("TIMEOUT")).state == "TIMEOUT"
    assert _judge(0.0, queued=JobStatus("FAILED"), sentinel=3).exit_status == 3
    assert _judge(0.0, accounted=RUNNING) is RUNNING


def test_a_job_is_gone_only_after_a_while_and_by_two_sources() -> None:
    assert _judge(59.0).phase is Phase.RUNNING
    assert _judge(61.0).phase is Phase.GONE
    assert _judge(61.0, sentinel=0).phase is Phase.SUCCEEDED
    assert _judge(1.0, sentinel=4, has_accounting=False).exit_status == 4
    assert _judge(1.0, sentinel=4).phase is Phase.RUNNING  # accounting may still say more
