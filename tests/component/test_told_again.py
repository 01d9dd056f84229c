"""An end is told again, in the same words and without another job, until a try that may run the job anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.causes import Kind
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.retry import WHEN_ASKED, Retry
from hotswap_airflow.testing.fake_slurm import FakeSlurm

from .conftest import array_of

MakeRequest = Callable[..., JobRequest]


def _submitted(fake_slurm: FakeSlurm) -> int:
    return [call[0] for call in fake_slurm.calls].count("sbatch")


def _told(outcome: Any, request: JobRequest) -> tuple[str, bool]:
    """The error's name, and whether the worker has it tried again."""
    name = type(outcome.error).__name__
    return name, request.retry.covers(name, outcome.failed_before)


async def _conducted_later(fake_slurm: FakeSlurm, bench: Any, request: JobRequest) -> Any:
    """What the next try is told, when whatever Slurm does not know is gone."""
    seen = len(bench.lines)
    conducting = asyncio.create_task(bench.conduct(request, "2 0"))
    missed = re.compile("COMPLETING|[1-9] running")
    await bench.until(lambda: conducting.done() or any(map(missed.search, bench.lines[seen:])))
    fake_slurm.advance(61)
    return await conducting


@pytest.mark.parametrize("is_sweep", [False, True])
@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "NODE_FAIL"])
async def test_what_slurm_no_longer_knows_is_told_as_it_was(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, state: str, is_sweep: bool
) -> None:
    fake_slurm.has_accounting = False
    fake_slurm.outcomes = [[state], ["COMPLETED"]]
    request = make_request("true", retry=Retry(max_retries=0), **({"array": array_of("01")} if is_sweep else {}))
    first = await fake_bench.conduct(request)
    note = fake_bench.key_dir(request) / "settled"
    said = note.read_text()
    fake_slurm.forget(1)
    again = await _conducted_later(fake_slurm, fake_bench, request)
    assert _told(again, request) == _told(first, request)
    assert (note.read_text(), _submitted(fake_slurm)) == (said, 1)


@pytest.mark.parametrize("status", [None, 143])
async def test_a_success_stays_one_whatever_slurm_says_of_tolerated_elements(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, status: int | None
) -> None:
    fake_slurm.has_accounting = False
    outputs = (Output("v", "integer"),)
    text = 'echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT'
    kinds: frozenset[Kind] = frozenset({"failed", "node_fail"})
    request = make_request(text, array=array_of("01", tolerated=1), outputs=outputs, retry=Retry(kinds))
    fake_slurm.outcomes = [["TIMEOUT"]]
    first = await fake_bench.conduct(request)
    assert (first.error, first.values) == (None, {"v": [None, 1]})
    if status is not None:
        (fake_bench.key_dir(request) / "ends" / f"0.{status}").touch()
    fake_slurm.forget(1)
    again = await _conducted_later(fake_slurm, fake_bench, request)
    assert (again.error, again.values) == (None, {"v": [None, 1]})
    assert _submitted(fake_slurm) == 1


@pytest.mark.parametrize("asked", ["1 0", "2 0"])
@pytest.mark.parametrize("is_sweep", [False, True])
async def test_what_never_starts_is_not_submitted_again(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, asked: str, is_sweep: bool
) -> None:
    fake_slurm.outcomes = [["PENDING"], ["FAILED"]]
    request = make_request("true", **({"array": array_of("01")} if is_sweep else {}))
    first = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: 1 in fake_slurm.jobs)
    fake_slurm.jobs[1].reason = "BadConstraints"
    outcome = await first
    assert _told(outcome, request) == ("JobNeverStarts", False)
    rows = [("PENDING", "JobNeverStarts"), ("FAILED", "JobFailed")] if is_sweep else []
    assert [(row.state, row.error) for row in outcome.table] == rows
    assert _told(await fake_bench.conduct(request, asked), request) == ("JobNeverStarts", False)
    assert _submitted(fake_slurm) == 1


async def test_another_try_of_an_operator_runs_what_was_cancelled(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["CANCELLED"]]
    request = make_request("true", retry=WHEN_ASKED)
    assert _told(await fake_bench.conduct(request), request) == ("JobCancelled", True)
    assert (await fake_bench.conduct(request, "2 0")).error is None


async def test_a_sweep_that_nothing_makes_good_is_not_tried_again_for_some_of_its_elements(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("true", array=array_of("012"))
    fake_slurm.outcomes = [["NODE_FAIL"], ["FAILED"], ["NODE_FAIL"]]
    for asked in ("1 0", "2 0"):
        outcome = await fake_bench.conduct(request, asked)
        assert (_told(outcome, request), outcome.tally) == (("JobFailed", False), Tally(failed=3))
    assert _submitted(fake_slurm) == 1
    cleared = await fake_bench.conduct(replace(request, key=replace(request.key, epoch=2)), "3 2")
    assert (cleared.error, cleared.submitted) == (None, 3)


@pytest.mark.parametrize("failing", [["bad", "1", "2"], ["bad", "bad", "1"]])
async def test_a_part_with_tolerated_failures_does_not_keep_others_from_being_tried_again(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, failing: list[str]
) -> None:
    array = array_of(failing, tolerated=3, most_indices=1)
    request = make_request("true", array=array)
    fake_slurm.outcomes = [["FAILED"] if value == "bad" else ["NODE_FAIL"] for value in failing]
    first = await fake_bench.conduct(request)
    assert (_told(first, request), first.tally) == (("JobNodeFailed", True), Tally(failed=3))
    second = await fake_bench.conduct(request, "2 0")
    lost = failing.count("bad")
    assert (second.error, second.tally) == (None, Tally(done=3 - lost, failed=lost))


async def test_a_tolerated_failure_costs_a_sweep_that_saves_no_try(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    text = '[ "$SWEEP_V" != "$HOTSWAP_ATTEMPT" ] || exit 3; [ "$HOTSWAP_ATTEMPT" -gt 2 ] || exit 85'
    request = make_request(text, array=array_of("1289", tolerated=3), saves=True, retry=Retry(max_retries=1))
    begun = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: len(fake_slurm.jobs) > 6)
    fake_slurm.outcomes = [["NODE_FAIL"]]
    first = await begun
    assert (_told(first, request), first.failed_before) == (("JobNodeFailed", True), 0)
    second = await fake_bench.conduct(request, "2 0")
    assert (second.error, second.tally) == (None, Tally(done=2, failed=2))


async def test_a_sweep_of_which_nothing_is_left_is_told_by_what_it_lost(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    kinds: frozenset[Kind] = frozenset({"failed"})
    request = make_request("true", array=array_of("01", most_indices=1), retry=Retry(kinds, 3))
    fake_slurm.outcomes = [["TIMEOUT"]]
    for asked in ("1 0", "2 0"):
        outcome = await fake_bench.conduct(request, asked)
        assert (_told(outcome, request), outcome.tally) == (("JobTimedOut", False), Tally(done=1, failed=1))
    assert _submitted(fake_slurm) == 2


async def test_the_rest_of_a_sweep_that_an_older_epoch_brought_to_an_end_is_not_waited_for(
    fake_bench: Any, make_request: MakeRequest
) -> None:
    text = '[ "$SWEEP_V$HOTSWAP_ATTEMPT" != 01 ] || exit 85; sleep 0.3'
    request = make_request(text, array=array_of("01", most_indices=1), saves=True)
    conducting = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until((fake_bench.key_dir(request) / "id").exists)
    (fake_bench.key_dir(request) / "ends" / "1.0").touch()
    outcome = await conducting
    assert (outcome.error, outcome.tally) == (None, Tally(done=2))


async def test_elements_that_fail_for_ever_end_the_sweep_also_where_the_last_part_has_nothing_to_do(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    kinds: frozenset[Kind] = frozenset({"failed"})
    request = make_request(
        'echo x >> "ran$SWEEP_V"; exit 3', array=array_of("012", most_indices=1), retry=Retry(kinds, 1)
    )
    conducting = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until((fake_bench.key_dir(request) / "ends").exists)
    (fake_bench.key_dir(request) / "ends" / "2.0").touch()
    first = await conducting
    assert (_told(first, request), first.tally) == (("JobFailed", True), Tally(done=1, failed=2))
    second = await fake_bench.conduct(request, "2 0")
    assert (_told(second, request), second.tally) == (("JobFailed", False), Tally(done=1, failed=2))
    ran = [len((fake_bench.run_dir(request) / f"ran{element}").read_text().split()) for element in "01"]
    assert sum(ran) == _submitted(fake_slurm) <= 6


async def test_a_job_whose_task_ran_out_of_time_is_told_as_such(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("sleep 60")
    conducting = await fake_bench.begun(request)
    conducting.cancel()
    error = errors.JobTimedOut("late")
    first = await fake_bench.conductor.time_out(request.key, "1 0", error, print)
    again = await fake_bench.conduct(request, "2 0")
    assert _told(first, request) == _told(again, request) == ("JobTimedOut", False)
    assert _submitted(fake_slurm) == 1
    third = make_request("true", retry=Retry(frozenset({"timeout"})))
    assert (await fake_bench.conduct(third, "3 0")).failed_before == 1
