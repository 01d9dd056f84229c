"""An end is told again, in the same words and without another job, until a try that may run the job anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hotswap_airflow.slurm.array import Array, Tally
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.slurm.retry import WHEN_ASKED, Kind, Retry
from hotswap_airflow.testing.fake_slurm import FakeSlurm

MakeRequest = Callable[..., JobRequest]


def _array(values: Sequence[str], **changes: Any) -> Array:
    return Array(("v",), tuple((value,) for value in values), **changes)


def _submitted(fake_slurm: FakeSlurm) -> int:
    return [call[0] for call in fake_slurm.calls].count("sbatch")


def _told(outcome: Any, request: JobRequest) -> tuple[str, bool]:
    """The error's name, and whether the worker has it tried again."""
    name = type(outcome.error).__name__
    return name, request.retry.covers(name, outcome.failed_before)


@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "NODE_FAIL"])
async def test_what_slurm_no_longer_knows_is_told_as_it_was(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, state: str
) -> None:
    fake_slurm.has_accounting = False
    fake_slurm.outcomes = [[state]]
    request = make_request("true", retry=Retry(most=0))
    first = await fake_bench.conduct(request)
    note = fake_bench.key_dir(request) / "settled"
    said = note.read_text()
    fake_slurm.forget(1)
    again = asyncio.create_task(fake_bench.conduct(request, "2 0"))
    await fake_bench.until(lambda: "COMPLETING" in fake_bench.log)
    fake_slurm.advance(61)
    assert _told(await again, request) == _told(first, request)
    assert note.read_text() == said


@pytest.mark.parametrize("asked", ["1 0", "2 0"])
@pytest.mark.parametrize("is_sweep", [False, True])
async def test_what_never_starts_is_not_submitted_again(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, asked: str, is_sweep: bool
) -> None:
    fake_slurm.outcomes = [["PENDING"], ["FAILED"]]
    request = make_request("true", **({"array": _array("01")} if is_sweep else {}))
    first = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: 1 in fake_slurm.jobs)
    fake_slurm.jobs[1].reason = "BadConstraints"
    assert _told(await first, request) == ("JobNeverStarts", False)
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
    request = make_request("true", array=_array("012"))
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
    array = _array(failing, tolerated=3, most_indices=1)
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
    request = make_request(text, array=_array("1289", tolerated=3), saves=True, retry=Retry(most=1))
    begun = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: len(fake_slurm.jobs) > 4)
    fake_slurm.outcomes = [["NODE_FAIL"]]
    first = await begun
    assert (_told(first, request), first.failed_before) == (("JobNodeFailed", True), 0)
    second = await fake_bench.conduct(request, "2 0")
    assert (second.error, second.tally) == (None, Tally(done=2, failed=2))


async def test_a_sweep_of_which_nothing_is_left_is_told_by_what_it_lost(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    kinds: frozenset[Kind] = frozenset({"failed"})
    request = make_request("true", array=_array("01", most_indices=1), retry=Retry(kinds, 3))
    fake_slurm.outcomes = [["TIMEOUT"]]
    for asked in ("1 0", "2 0"):
        outcome = await fake_bench.conduct(request, asked)
        assert (_told(outcome, request), outcome.tally) == (("JobTimedOut", False), Tally(done=1, failed=1))
    assert _submitted(fake_slurm) == 2
