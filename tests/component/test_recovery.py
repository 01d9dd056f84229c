"""What is tried again and what goes on: one contract for every transport, and for the double as for a real cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.retry import WHEN_ASKED, Growth, Retry
from hotswap_airflow.testing.fake_slurm import FakeSlurm

from .conftest import Bench

MakeRequest = Callable[..., JobRequest]
STEPS = """
n=$(cat state.${SWEEP_INDEX:-} 2> /dev/null || echo 0)
echo $((n + 1)) > state.${SWEEP_INDEX:-}
echo "start $HOTSWAP_ATTEMPT"
echo "step$n=$HOTSWAP_ATTEMPT" >> $HOTSWAP_OUTPUT
[ "$n" -ge 2 ] || exit 85
"""
OUTPUTS = (Output("step0", "integer"), Output("step1", "integer"), Output("step2", "integer"))


@pytest.fixture(autouse=True)
def _several_jobs_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "limit", 90)


async def test_a_job_that_saved_its_state_goes_on_until_it_is_done(bench: Any, make_request: MakeRequest) -> None:
    outcome = await bench.conduct(make_request(STEPS, saves=True, outputs=OUTPUTS))
    assert outcome.error is None
    assert outcome.values == {"step0": 1, "step1": 2, "step2": 3}  # what it wrote before it saved is kept
    assert (outcome.key.generation, outcome.failed_before) == (2, 0)
    assert bench.log.count("the script saved its state and continues in another job") == 2
    assert [line for line in bench.log.split("\n") if line.startswith("start")] == ["start 1", "start 2", "start 3"]


@pytest.mark.parametrize(
    ("state", "continuation"),
    [("PREEMPTED", True), ("NODE_FAIL", True), ("OUT_OF_MEMORY", False), ("DEADLINE", False), ("CANCELLED", False)],
)
async def test_a_job_that_saved_its_state_as_it_was_ended_goes_on_uncounted(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, state: str, continuation: bool
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    request = make_request("echo v=1 >> $HOTSWAP_OUTPUT", saves=True, outputs=(Output("v", "integer"),))
    running = await fake_bench.begun(request)
    (fake_bench.key_dir(request) / "exit").write_text("85\n")
    fake_slurm.jobs[1].states = [state]
    outcome = await running
    assert (outcome.error is None, outcome.key.generation, outcome.failed_before) == (
        continuation,
        int(continuation),
        0,
    )


async def test_a_job_that_began_as_it_was_cancelled_was_cancelled(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    """Its script sees the mark, and ends before Slurm is told to end it."""
    fake_slurm.outcomes = [["PENDING"]]
    request = make_request("true")
    running = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: "submitted" in fake_bench.log)
    folder = fake_bench.key_dir(request)
    (folder / "cancelled").touch()
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "1"}
    started = await asyncio.create_subprocess_exec("bash", folder / "script", env=environment)
    assert await started.wait() == 1
    fake_slurm.jobs[1].states = ["FAILED"]
    assert type((await running).error) is errors.JobCancelled


async def test_elements_that_saved_their_state_go_on_alone(bench: Any, make_request: MakeRequest) -> None:
    text = f'[ "$SWEEP_V" = slow ] || {{ for i in 0 1 2; do echo step$i=0 >> $HOTSWAP_OUTPUT; done; exit 0; }}\n{STEPS}'
    array = Array(("v",), (("quick",), ("slow",), ("quick",)))
    outcome = await bench.conduct(make_request(text, saves=True, outputs=OUTPUTS, array=array))
    assert outcome.error is None
    assert outcome.values == {"step0": [0, 1, 0], "step1": [0, 2, 0], "step2": [0, 3, 0]}
    assert (outcome.key.generation, outcome.submitted, outcome.tally) == (2, 1, Tally(done=3))


async def test_the_status_means_nothing_where_no_checkpoint_is_declared(bench: Any, make_request: MakeRequest) -> None:
    outcome = await bench.conduct(make_request("exit 85"))
    assert type(outcome.error) is errors.JobFailed
    assert not outcome.continuation


async def test_a_try_knows_how_many_failed_before_it(bench: Any, make_request: MakeRequest) -> None:
    text = 'echo "kept=$HOTSWAP_ATTEMPT" >> $HOTSWAP_OUTPUT; [ "$HOTSWAP_ATTEMPT" -ge 3 ]'
    request = make_request(text, outputs=(Output("kept", "integer"),), retry=Retry(frozenset({"failed"}), 2))
    outcomes = [await bench.conduct(request, f"{number} 0") for number in (1, 2, 3)]
    assert [type(outcome.error) for outcome in outcomes] == [errors.JobFailed, errors.JobFailed, type(None)]
    assert [outcome.failed_before for outcome in outcomes] == [0, 1, 2]
    assert outcomes[2].values == {"kept": 3}


async def test_elements_that_failed_are_tried_again_where_the_rule_says_so(
    bench: Any, make_request: MakeRequest
) -> None:
    text = 'echo "$SWEEP_V" >> ran; [ "$SWEEP_V" -lt 2 ] || [ "$HOTSWAP_ATTEMPT" -ge 2 ]'
    array = Array(("v",), tuple((number,) for number in "0123"))
    request = make_request(text, array=array, retry=Retry(frozenset({"failed"}), 1))
    first = await bench.conduct(request)
    assert type(first.error) is errors.JobFailed
    second = await bench.conduct(request, "2 0")
    assert (second.error, second.submitted, second.tally) == (None, 2, Tally(done=4))
    assert sorted((bench.run_dir(request) / "ran").read_text().split()) == [*"012233"]


@pytest.mark.parametrize(
    ("ends", "grown"),
    [
        (["OUT_OF_MEMORY"], {"mem": "100M", "time": "00:02:00"}),
        (["TIMEOUT"], {"mem": "50M", "time": "00:06:00"}),
        (["NODE_FAIL", "OUT_OF_MEMORY", "OUT_OF_MEMORY"], {"mem": "160M", "time": "00:02:00"}),
        (["PREEMPTED"], {"mem": "50M", "time": "00:02:00"}),
    ],
)
async def test_only_what_was_wanting_grows_and_never_beyond_its_most(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, ends: list[str], grown: dict[str, str]
) -> None:
    retry = replace(WHEN_ASKED, mem=Growth(2, 160 << 10), time=Growth(3, 3600))
    request = make_request("true", retry=retry)
    fake_slurm.outcomes = [[end] for end in ends]
    for number in range(len(ends)):
        await fake_bench.conduct(request, f"{number + 1} 0")
    outcome = await fake_bench.conduct(request, f"{len(ends) + 1} 0")
    assert (outcome.error, outcome.failed_before) == (None, len(ends))
    last = [call for call in fake_slurm.calls if call[0] == "sbatch"][-1]
    assert {
        name: value for name in grown for word in last for key, _, value in [word.partition("=")] if key == f"--{name}"
    } == grown


async def test_what_cannot_grow_is_told(fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest) -> None:
    retry = replace(WHEN_ASKED, mem=Growth(2, 160 << 10))
    request = make_request("true", options=(("partition", "debug"),), retry=retry)
    fake_slurm.outcomes = [["OUT_OF_MEMORY"]]
    await fake_bench.conduct(request)
    assert "changes nothing" not in fake_bench.log
    await fake_bench.conduct(request, "2 0")
    assert "retry.escalate.mem changes nothing: the job has no slurm.mem that could grow" in fake_bench.log


async def test_a_node_that_broke_down_is_left_out_by_the_tries_after_it(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.nodes = ["fake-1", "fake-2", "fake-3", "fake-4"]
    fake_slurm.outcomes = [["NODE_FAIL"], ["BOOT_FAIL"]]
    request = make_request("true", options=(("exclude", "fake-1"),))
    for number in (1, 2, 3):
        outcome = await fake_bench.conduct(request, f"{number} 0")
    assert outcome.error is None
    assert [job.node for job in fake_slurm.jobs.values()] == ["fake-2", "fake-3", "fake-4"]
    submissions = [call for call in fake_slurm.calls if call[0] == "sbatch"]
    assert "--exclude=fake-1,fake-2,fake-3" in submissions[-1]


async def test_where_no_other_node_is_left_the_broken_one_is_used_again(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.nodes = ["fake-1"]
    fake_slurm.outcomes = [["NODE_FAIL"]]
    request = make_request("true")
    await fake_bench.conduct(request)
    outcome = await fake_bench.conduct(request, "2 0")
    assert (outcome.error, len(fake_slurm.jobs)) == (None, 2)
    assert any("nodes that broke down: fake-1" in line for line in fake_bench.lines)


async def test_elements_that_lost_their_node_are_tried_again_elsewhere(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING", "NODE_FAIL"]]  # the other one runs its script
    request = make_request("true", array=Array(("v",), (("0",), ("1",))))
    await fake_bench.conduct(request)
    outcome = await fake_bench.conduct(request, "2 0")
    assert (outcome.error, outcome.submitted) == (None, 1)
    assert fake_slurm.jobs[max(fake_slurm.jobs)].node == "fake-2"
