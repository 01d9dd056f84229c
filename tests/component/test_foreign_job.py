"""A job that is waited for by its id, name or key, on a cluster that loses it: a defined end, never a stranger's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hotswap_airflow.cluster.watch.foreign_job import ForeignJobWatch, SoughtJob
from hotswap_airflow.slurm.judgement import GONE_AFTER
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing.fake_slurm import FakeJob, FakeSlurm

from .conftest import Bench

MakeRequest = Callable[..., JobRequest]
JOB_ID = 7


@pytest.fixture
def running(fake_slurm: FakeSlurm) -> FakeJob:
    """Somebody's job, which runs until it is told otherwise."""
    job = FakeJob(JOB_ID, "theirs", "", states=["RUNNING"])
    fake_slurm.jobs[JOB_ID] = job
    return job


async def states(search: ForeignJobWatch) -> list[str]:
    return [status.state for status in await search.poll_once()]


@pytest.mark.parametrize("sought", [SoughtJob(job_id=JOB_ID), SoughtJob(name="theirs")])
async def test_a_job_that_nobody_knows_any_more_is_gone_after_a_while(
    fake_bench: Bench, fake_slurm: FakeSlurm, running: FakeJob, sought: SoughtJob
) -> None:
    search = ForeignJobWatch(fake_bench.client, sought, fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    fake_slurm.advance(10 * GONE_AFTER)
    assert await states(search) == ["RUNNING"]
    running.is_forgotten = True
    assert await states(search) == ["COMPLETING"]
    fake_slurm.advance(GONE_AFTER)
    assert await states(search) == ["GONE"]


async def test_a_hundred_sensors_share_their_round_trips(fake_bench: Bench, fake_slurm: FakeSlurm) -> None:
    for number in range(1, 101):
        fake_slurm.jobs[number] = FakeJob(number, f"theirs-{number}", "", states=["RUNNING"])
    sought = [
        SoughtJob(job_id=number) if number % 2 else SoughtJob(name=f"theirs-{number}") for number in range(1, 101)
    ]
    found = await asyncio.gather(*(states(ForeignJobWatch(fake_bench.client, each)) for each in sought))
    assert found == [["RUNNING"]] * 100
    assert len(fake_slurm.calls) <= 8  # squeue and sacct, for the first and for all others, by id and by name


@pytest.mark.usefixtures("running")
async def test_the_job_that_gets_its_id_next_is_a_stranger(fake_bench: Bench, fake_slurm: FakeSlurm) -> None:
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    fake_slurm.jobs[JOB_ID] = FakeJob(JOB_ID, "a stranger's", "", states=["COMPLETED"])
    assert await states(search) == ["COMPLETING"]
    fake_slurm.advance(GONE_AFTER)
    assert await states(search) == ["GONE"]


async def test_the_next_job_of_a_name_counts_from_its_own_beginning(
    fake_bench: Bench, fake_slurm: FakeSlurm, running: FakeJob
) -> None:
    search = ForeignJobWatch(fake_bench.client, SoughtJob(name="theirs"), fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    running.states = ["COMPLETED"]
    fake_slurm.jobs[JOB_ID + 1] = FakeJob(JOB_ID + 1, "theirs", "", states=["PENDING"])
    fake_slurm.advance(GONE_AFTER)
    assert await states(search) == ["PENDING"]


async def test_an_old_job_of_a_name_is_not_taken_for_one_that_is_in_the_queue(
    fake_bench: Bench, fake_slurm: FakeSlurm, running: FakeJob
) -> None:
    """Ids begin anew where a cluster is installed anew, and accounting knows the old ones still."""
    old = fake_slurm.jobs[9_000] = FakeJob(9_000, "theirs", "", states=["COMPLETED"])
    old.ended_at = fake_slurm.clock() - 10 * fake_slurm.min_job_age
    search = ForeignJobWatch(fake_bench.client, SoughtJob(name="theirs"), fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    running.states, running.ended_at = ["FAILED"], old.ended_at
    assert await states(search) == ["FAILED"]


async def test_accounting_that_is_away_says_nothing(fake_bench: Bench, fake_slurm: FakeSlurm, running: FakeJob) -> None:
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    running.states = ["COMPLETED"]
    fake_slurm.accounting_error = "sacct: error: slurm_persist_conn_open: Connection refused"
    running.ended_at = fake_slurm.clock()
    fake_slurm.advance(fake_slurm.min_job_age + 1)  # the queue has forgotten it
    assert await states(search) == ["COMPLETING"]
    fake_slurm.advance(10 * GONE_AFTER)
    assert await states(search) == ["COMPLETING"]
    fake_slurm.accounting_error = ""
    assert await states(search) == ["COMPLETED"]


async def test_a_key_whose_job_slurm_lost_is_gone_and_so_is_a_good_end_without_a_note(
    fake_bench: Bench, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    request = make_request("sleep 100")
    waiting = await fake_bench.begun(request)
    search = ForeignJobWatch(fake_bench.client, SoughtJob(key=request.key.digest), fake_slurm.clock)
    assert await states(search) == ["RUNNING"]
    waiting.cancel()
    (job,) = fake_slurm.jobs.values()
    fake_slurm.forget(job.job_id)
    late = ForeignJobWatch(fake_bench.client, SoughtJob(key=request.key.digest), fake_slurm.clock)
    assert await states(search) == await states(late) == ["COMPLETING"]
    fake_slurm.advance(GONE_AFTER)
    assert await states(search) == await states(late) == ["GONE"]
    job.is_forgotten = False
    job.process, job.states, job.ended_at = None, ["COMPLETED"], fake_slurm.clock()
    (status,) = await search.poll_once()
    assert (status.state, "noted no end" in status.reason) == ("GONE", True)


async def test_the_indices_of_an_array_are_told_one_by_one(fake_bench: Bench, fake_slurm: FakeSlurm) -> None:
    for index, state in enumerate(("RUNNING", "COMPLETED", "PENDING")):
        fake_slurm.jobs[JOB_ID + index] = FakeJob(JOB_ID + index, "many", "", JOB_ID, index, states=[state])
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING", "COMPLETED", "PENDING"]
    # Those that had not begun are cancelled: accounting has one row for them.
    del fake_slurm.jobs[JOB_ID + 2]
    fake_slurm.jobs[JOB_ID] = FakeJob(JOB_ID, "many", "", states=["CANCELLED"])
    fake_slurm.jobs[JOB_ID + 3] = FakeJob(JOB_ID + 3, "many", "", JOB_ID, 0, states=["COMPLETED"])
    assert await states(search) == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert await states(ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID))) == [
        "CANCELLED",
        "COMPLETED",
        "COMPLETED",
    ]


async def test_elements_that_slurm_forgets_without_accounting_have_ended_as_they_did(
    fake_bench: Bench, fake_slurm: FakeSlurm
) -> None:
    fake_slurm.has_accounting = False
    jobs = [FakeJob(JOB_ID + index, "many", "", JOB_ID, index, states=["RUNNING"]) for index in range(3)]
    fake_slurm.jobs.update({job.job_id: job for job in jobs})
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING"] * 3
    jobs[0].states = ["COMPLETED"]
    assert await states(search) == ["COMPLETED", "RUNNING", "RUNNING"]
    fake_slurm.advance(fake_slurm.min_job_age + 1)
    jobs[1].states = ["FAILED"]
    jobs[2].is_forgotten = True
    assert await states(search) == ["COMPLETED", "FAILED", "COMPLETING"]
    fake_slurm.advance(GONE_AFTER)
    assert await states(search) == ["COMPLETED", "FAILED", "GONE"]


async def test_an_element_whose_end_nobody_could_see_has_not_ended(fake_bench: Bench, fake_slurm: FakeSlurm) -> None:
    for index in range(2):
        fake_slurm.jobs[JOB_ID + index] = FakeJob(JOB_ID + index, "many", "", JOB_ID, index, states=["RUNNING"])
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING", "RUNNING"]
    fake_slurm.jobs[JOB_ID].states = ["FAILED"]
    assert await states(search) == ["FAILED", "RUNNING"]
    fake_slurm.jobs[JOB_ID].states = ["COMPLETED"]
    assert await states(search) == ["COMPLETED", "RUNNING"]
    fake_slurm.accounting_error = "sacct: error: slurm_persist_conn_open: Connection refused"
    fake_slurm.jobs[JOB_ID + 1].is_forgotten = True
    assert await states(search) == ["COMPLETED", "COMPLETING"]


async def test_an_old_job_of_the_same_id_in_accounting_is_a_stranger(
    fake_bench: Bench, fake_slurm: FakeSlurm, running: FakeJob
) -> None:
    fake_slurm._sacct = lambda *_: (0, "7|FAILED|1:0|n1||old\n", "")  # type: ignore[method-assign]
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == [running.state]


async def test_each_component_of_a_heterogeneous_job_counts(fake_bench: Bench, fake_slurm: FakeSlurm) -> None:
    rows = "7+0|RUNNING|None|n1|lead\n7+1|CANCELLED|None|n2|help\n"
    fake_slurm._squeue = lambda *_: (0, rows, "")  # type: ignore[method-assign]
    search = ForeignJobWatch(fake_bench.client, SoughtJob(job_id=JOB_ID), fake_slurm.clock)
    assert await states(search) == ["RUNNING", "CANCELLED"]
