"""Polls: what is concluded from what the sources say, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.watch import watcher
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.states import Phase
from hotswap_airflow.testing.fake_slurm import FakeJob, FakeSlurm

from .conftest import Bench

MakeRequest = Callable[..., JobRequest]


async def test_a_controller_that_is_away_changes_nothing(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    task = await fake_bench.begun(make_request())
    fake_slurm.is_down = True
    await Bench.until(lambda: "waiting for main" in fake_bench.log)
    fake_slurm.advance(3600)
    assert not task.done()
    fake_slurm.jobs[1].states = ["COMPLETED"]
    fake_slurm.is_down = False
    assert (await asyncio.wait_for(task, 30)).error is None


async def test_a_job_is_gone_only_when_two_sources_miss_it_for_a_while(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    task = await fake_bench.begun(make_request())
    fake_slurm.forget(1)
    await Bench.until(lambda: "COMPLETING" in fake_bench.log)
    assert not task.done()
    fake_slurm.advance(61)
    outcome = await asyncio.wait_for(task, 30)
    assert type(outcome.error) is errors.JobNodeFailed
    assert "is gone" in str(outcome.error)


@pytest.mark.parametrize(("text", "kind"), [("echo v=1 >> $HOTSWAP_OUTPUT", None), ("exit 4", errors.JobFailed)])
async def test_a_site_without_accounting_that_forgets_at_once(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, text: str, kind: type | None
) -> None:
    fake_slurm.has_accounting, fake_slurm.min_job_age = False, -1.0
    outcome = await fake_bench.conduct(make_request(text, outputs=(Output("v", "integer"),)))
    assert (type(outcome.error) if outcome.error else None) is kind
    assert outcome.status.exit_status == (4 if kind else 0)


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        (["PENDING", "CONFIGURING", "RUNNING", "OUT_OF_MEMORY"], errors.JobOutOfMemory),
        (["RUNNING", "REQUEUED", "PENDING", "RUNNING", "COMPLETED"], None),
        (["RUNNING", "SOMETHING_NEW", "NODE_FAIL"], errors.JobNodeFailed),
        (["PREEMPTED"], errors.JobPreempted),
        (["RUNNING", "TIMEOUT"], errors.JobTimedOut),
    ],
)
async def test_any_sequence_of_states(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, states: list[str], kind: type | None
) -> None:
    fake_slurm.outcomes = [states]
    outcome = await fake_bench.conduct(make_request())
    assert (type(outcome.error) if outcome.error else None) is kind


async def test_accounting_is_asked_for_as_many_jobs_as_fit_into_a_command(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_LONGEST_QUESTION", 15)
    fake_slurm.min_job_age = -1.0
    requests = [make_request(f"exit {number % 2}", job=f"j{number}") for number in range(8)]
    outcomes = await asyncio.gather(*(fake_bench.conduct(request) for request in requests))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), errors.JobFailed] * 4
    asked = [word for call in fake_slurm.calls if call[0] == "sacct" for word in call if word.startswith("--jobs=")]
    assert asked
    assert all(len(word) <= len("--jobs=") + 15 for word in asked)


async def test_of_two_jobs_of_one_name_the_one_whose_id_counts_is_believed(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING", "RUNNING", "RUNNING", "FAILED"]]
    request = make_request()
    task = asyncio.create_task(fake_bench.conduct(request))
    await Bench.until(lambda: 1 in fake_slurm.jobs)
    fake_slurm.jobs[2] = FakeJob(2, request.key.job_name, str(fake_bench.workdir), states=["COMPLETED"])
    assert type((await asyncio.wait_for(task, 30)).error) is errors.JobFailed


async def test_a_defect_of_the_watcher_is_told_to_all_who_wait(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm.outcomes = [["RUNNING"], ["RUNNING"]]
    tasks = [asyncio.create_task(fake_bench.conduct(make_request(job=job))) for job in ("one", "two")]
    await Bench.until(lambda: fake_bench.log.count("RUNNING") == 2)

    async def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fake_bench.client, "status", broken)
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    assert [type(error) for error in found] == [ZeroDivisionError] * 2


async def test_accounting_that_is_away_makes_no_job_gone(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    task = await fake_bench.begun(make_request())
    fake_slurm.forget(1)
    fake_slurm.accounting_error = "sacct: error: Problem talking to the database: Connection refused"
    for _ in range(5):
        fake_slurm.advance(60)
        asked = len(fake_slurm.calls)
        await Bench.until(lambda asked=asked: len(fake_slurm.calls) > asked + 2)  # type: ignore[misc]
    assert not task.done()
    fake_slurm.accounting_error = ""
    while not task.done():
        fake_slurm.advance(60)
        asked = len(fake_slurm.calls)
        await Bench.until(lambda asked=asked: len(fake_slurm.calls) > asked + 1 or task.done())  # type: ignore[misc]
    assert (await asyncio.wait_for(task, 30)).status.phase is Phase.GONE


async def test_hundred_jobs_are_two_commands_an_interval(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    requests = [make_request(job=f"j{number}") for number in range(100)]
    fake_slurm.outcomes = [["RUNNING"]] * 100
    await fake_bench.lay_out(requests[0])
    for request in requests:
        found = await fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once(request)
        fake_bench.conductor.watcher.watch(request.key.digest, request.key.job_name, found.job_id, fake_slurm.clock())
    fake_slurm.calls.clear()
    await Bench.until(lambda: len(fake_slurm.calls) >= 6)
    assert {call[0] for call in fake_slurm.calls} == {"squeue"}


async def test_the_logs_of_many_jobs_are_read_in_turns(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_MOST_LOGS", 1)
    text = "while [ ! -e go ]; do echo i am {}; sleep 0.02; done"
    requests = [make_request(text.format(name), job=name) for name in ("ada", "bob", "cleo")]
    running = [asyncio.create_task(fake_bench.conduct(request)) for request in requests]
    await fake_bench.until(lambda: all(f"i am {name}" in fake_bench.log for name in ("ada", "bob", "cleo")))
    assert not any(task.done() for task in running)
    (fake_bench.run_dir(requests[0]) / "go").touch()
    assert [outcome.error for outcome in await asyncio.gather(*running)] == [None] * 3
