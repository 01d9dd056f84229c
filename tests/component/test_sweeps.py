"""Sweeps as arrays: one contract for every transport, and for the double as for the real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import submitter
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.slurm.script.render import render_table
from hotswap_airflow.testing.fake_slurm import FakeSlurm

from .conftest import array_of

MakeRequest = Callable[..., JobRequest]
SAY = 'echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT; echo "$SWEEP_INDEX of $SWEEP_COUNT" >> "$OUTPUT_D/$SWEEP_INDEX"'
OUTPUTS = (Output("v", "string"), Output("d", "dir", "d"))


async def test_every_element_gets_its_values_and_they_come_back_in_order(bench: Any, make_request: MakeRequest) -> None:
    values = ["a", "'\"; touch x; $(id)", "two  words \\n", "", "-"]
    outcome = await bench.conduct(make_request(SAY, array=array_of(values, max_parallel=2), outputs=OUTPUTS))
    assert outcome.error is None
    assert outcome.values == {"v": values, "d": f"{bench.run_dir(make_request())}/d"}
    assert (outcome.tally, outcome.submitted) == (Tally(done=5), 5)
    written = {path.name: path.read_text() for path in (bench.run_dir(make_request()) / "d").iterdir()}
    assert written == {str(number): f"{number} of 5\n" for number in range(5)}
    assert bench.log.count("submitted Slurm job") == 1
    assert "5 of 5 elements are to be run" in bench.log
    assert "5 done · 0 failed · 0 running · 0 pending" in bench.log


def test_a_value_with_line_breaks_stands_in_one_line() -> None:
    table = render_table(array_of(["a\nb'\\\r", None, "c"], done=frozenset({2})))
    assert table == "export SWEEP_V=$'a\\nb\\'\\\\\\r'\n-\n-\n"


async def test_a_chunk_runs_its_elements_in_turn_and_goes_on_after_a_failure(
    bench: Any, make_request: MakeRequest
) -> None:
    text = 'echo "$SWEEP_V" >> order; [ "$SWEEP_V" != 1 ]'
    request = make_request(text, array=array_of([*"0123456", None], chunk=4, tolerated=1))
    outcome = await bench.conduct(request)
    assert outcome.error is None
    assert (outcome.tally, outcome.submitted) == (Tally(done=6, failed=1, skipped=1), 2)
    lines = (bench.run_dir(request) / "order").read_text().split()
    assert [line for line in lines if line < "4"] == [*"0123"]
    assert [line for line in lines if line > "3"] == [*"456"]


async def test_too_many_failures_are_named_with_the_ends_of_their_logs(bench: Any, make_request: MakeRequest) -> None:
    text = 'echo "this is $SWEEP_V"; exit "$SWEEP_V"'
    outcome = await bench.conduct(make_request(text, array=array_of([*"0300", "4"], tolerated=1)))
    assert type(outcome.error) is errors.JobFailed
    assert str(outcome.error) == "job fit: 2 of 5 elements failed: 1 (exit status 3), 4 (exit status 4)"
    assert "the end of the log of array index 4:\nthis is 4" in bench.log
    assert "this is 0" not in bench.log
    assert outcome.tally == Tally(done=3, failed=2)


async def test_a_value_that_is_not_written_fails_its_element(bench: Any, make_request: MakeRequest) -> None:
    text = '[ "$SWEEP_V" = 1 ] || echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT'
    request = make_request(text, array=array_of([*"012"]), outputs=(Output("v", "integer"),))
    outcome = await bench.conduct(request)
    assert type(outcome.error) is errors.OutputMissing
    assert "1 of 3 elements: 1: output `v` was not written" in str(outcome.error)
    tolerant = make_request(
        text, job="tolerant", array=array_of([*"012"], tolerated=1), outputs=(Output("v", "integer"),)
    )
    assert (await bench.conduct(tolerant)).values == {"v": [0, None, 2]}


FLAKY = 'echo "$SWEEP_V" >> ran; echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT; [ -e well ] || [ "$SWEEP_V" -lt 2 ]'


async def test_a_clear_runs_again_exactly_what_failed(bench: Any, make_request: MakeRequest) -> None:
    request = make_request(FLAKY, array=array_of([*"01234"]), outputs=(Output("v", "integer"),))
    first = await bench.conduct(request)
    assert first.tally == Tally(done=2, failed=3)
    (bench.run_dir(request) / "well").touch()
    # A try of the same epoch does not repeat what failed by itself, but tells it again.
    retried = await bench.conduct(request, "2 0")
    assert (retried.job_id, str(retried.error)) == (first.job_id, str(first.error))
    cleared = await bench.conduct(replace(request, key=replace(request.key, epoch=2)), "3 2")
    assert cleared.error is None
    assert (cleared.submitted, cleared.tally, cleared.values) == (3, Tally(done=5), {"v": [0, 1, 2, 3, 4]})
    ran = (bench.run_dir(request) / "ran").read_text().split()
    assert sorted(ran) == [*"01223344"]
    # A clear of a sweep that went well runs all of it.
    again = await bench.conduct(replace(request, key=replace(request.key, epoch=3)), "4 3")
    assert (again.submitted, again.tally) == (5, Tally(done=5))


async def test_a_sweep_is_one_array_however_often_it_is_asked_for(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("echo x >> ran; sleep 1", array=array_of([*"0123"]))
    first = asyncio.create_task(bench.conduct(request))
    await bench.until(lambda: "submitted" in bench.log)
    found = await asyncio.gather(
        *(bench.conductor.submitter("1 0", bench.lines.append).submit_once(request) for _ in range(3))
    )
    outcome = await first
    assert {one.job_id for one in found} == {outcome.job_id}
    assert outcome.tally == Tally(done=4)
    assert (bench.run_dir(request) / "ran").read_text() == "x\n" * 4


async def test_a_sweep_that_is_cancelled_leaves_the_queue(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("sleep 60", array=array_of([*map(str, range(40))]))
    conducting = asyncio.create_task(bench.conduct(request))
    await bench.until(lambda: "0 pending" in bench.log or "16 running" in bench.log)
    await bench.conductor.cancel(request.key, bench.lines.append)
    queue, _ = await bench.client.status([])
    assert [row for row in queue if row.name == request.key.job_name and row.status.is_active] == []
    outcome = await conducting
    assert type(outcome.error) is errors.JobCancelled
    assert outcome.tally == Tally(failed=40)


async def test_a_lost_node_takes_only_its_elements_along(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("true", array=array_of([*"0123"]))
    fake_slurm.outcomes = [["COMPLETED"], ["RUNNING", "NODE_FAIL"], ["FAILED"], ["PREEMPTED"]]
    outcome = await fake_bench.conduct(request)
    assert type(outcome.error) is errors.JobFailed  # a failure of its own is not made good by trying again
    tolerant = make_request("true", job="t", array=array_of([*"0123"], tolerated=1))
    fake_slurm.outcomes = [["COMPLETED"], ["RUNNING", "NODE_FAIL"], ["FAILED"], ["PREEMPTED"]]
    outcome = await fake_bench.conduct(tolerant)
    assert type(outcome.error) is errors.JobNodeFailed
    assert "1 (NODE_FAIL)" in str(outcome.error)


async def test_a_try_after_a_lost_node_runs_only_what_was_lost(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("echo $SWEEP_V >> ran; exit $SWEEP_V", array=array_of([*"0010"], tolerated=1))
    fake_slurm.outcomes = [["NODE_FAIL"], ["PREEMPTED"]]  # the others run their scripts
    first = await fake_bench.conduct(request)
    assert type(first.error) is errors.JobNodeFailed
    assert first.tally == Tally(done=1, failed=3)
    second = await fake_bench.conduct(request, "2 0")
    assert second.error is None
    assert (second.submitted, second.tally) == (2, Tally(done=3, failed=1))
    arrays = [word for call in fake_slurm.calls for word in call if word.startswith("--array=")]
    assert arrays == ["--array=0-3", "--array=0-1"]
    assert sorted((fake_bench.run_dir(request) / "ran").read_text().split()) == [*"0001"]


async def test_a_lost_reply_does_not_make_a_second_array(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.lost_replies = 1
    outcome = await fake_bench.conduct(make_request("true", array=array_of([*"012"])))
    assert (outcome.error, outcome.tally) == (None, Tally(done=3))
    assert [call[0] for call in fake_slurm.calls].count("sbatch") == 1


@pytest.mark.parametrize("has_accounting", [True, False])
async def test_elements_that_left_the_queue_at_once_are_known_by_their_notes(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, has_accounting: bool
) -> None:
    fake_slurm.min_job_age = -1.0
    fake_slurm.has_accounting = has_accounting
    outcome = await fake_bench.conduct(make_request('exit "$SWEEP_V"', array=array_of([*"0050"])))
    assert str(outcome.error) == "job fit: 1 of 4 elements failed: 2 (exit status 5)"
    assert outcome.tally == Tally(done=3, failed=1)


async def test_a_time_limit_within_a_chunk_is_told_as_such(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("true", array=array_of([*"01"], chunk=2))
    fake_slurm.outcomes = [["TIMEOUT"]]
    outcome = await fake_bench.conduct(request)
    assert type(outcome.error) is errors.JobTimedOut
    assert "0 (TIMEOUT), 1 (TIMEOUT)" in str(outcome.error)


async def test_what_slurm_ended_is_run_again_where_the_rule_says_so(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request(
        'echo "$SWEEP_V" >> ran; exit $SWEEP_V', array=array_of([*"003"]), retry=Retry(frozenset({"timeout"}), 1)
    )
    fake_slurm.outcomes = [["TIMEOUT"]]
    first = await fake_bench.conduct(request)
    assert type(first.error) is errors.JobFailed  # element 2 failed by itself, which nothing makes good
    tolerant = replace(request, array=replace(request.array, tolerated=1), key=replace(request.key, job="tolerant"))
    fake_slurm.outcomes = [["TIMEOUT"]]
    first = await fake_bench.conduct(tolerant)
    assert type(first.error) is errors.JobTimedOut
    second = await fake_bench.conduct(tolerant, "2 0")
    assert (second.error, second.submitted, second.tally) == (None, 1, Tally(done=2, failed=1))


@pytest.mark.parametrize("signal", ["TERM", "USR1"])
async def test_a_chunk_stops_at_the_signal_that_ends_its_job(
    bench: Any, make_request: MakeRequest, signal: str
) -> None:
    text = f"""echo "$SWEEP_V" >> ran
      [ "$SWEEP_V" != 1 ] || [ -e warned ] || {{ touch warned; trap 'kill $!; exit 85' {signal}; sleep 60 & kill -s {signal} $PPID; wait; }}"""
    request = make_request(text, array=array_of([*"0123"], chunk=4), saves=True)
    request = replace(request, options=(*request.options, ("signal", "B:USR1@30")))
    outcome = await bench.conduct(request)
    assert (outcome.error, outcome.tally) == (None, Tally(done=4))
    assert (bench.run_dir(request) / "ran").read_text().split() == [*"01123"]


async def test_a_chunk_that_is_warned_goes_on_also_where_its_element_just_ended(
    bench: Any, make_request: MakeRequest
) -> None:
    text = """echo "$SWEEP_V" >> ran
      [ "$SWEEP_V" != 1 ] || [ -e warned ] || { trap 'touch warned' USR1; kill -s USR1 $PPID; while [ ! -e warned ]; do sleep 0.1; done; }"""
    request = make_request(text, array=array_of([*"0123"], chunk=4), saves=True)
    request = replace(request, options=(*request.options, ("signal", "B:USR1@30")))
    outcome = await bench.conduct(request)
    assert (outcome.error, outcome.tally) == (None, Tally(done=4))
    assert (bench.run_dir(request) / "ran").read_text().split() == [*"0123"]
    assert "continues in another job" in bench.log


async def test_what_may_be_tried_again_is_before_it_is_tolerated(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    retry = Retry(frozenset({"oom", "failed"}), 2, mem=Growth(2, 1 << 20))
    text = '[ "$SWEEP_V" != bad ]'
    fake_slurm.outcomes = [["OUT_OF_MEMORY"]]
    request = make_request(text, array=array_of(["0", "1", "bad", "3"], tolerated=2), retry=retry)
    first = await fake_bench.conduct(request)
    assert isinstance(first.error, errors.JobError)
    assert (first.tally, first.failed_before) == (Tally(done=2, failed=2), 0)
    second = await fake_bench.conduct(request, "2 0")
    assert (type(second.error), second.tally) == (errors.JobFailed, Tally(done=3, failed=1))
    third = await fake_bench.conduct(request, "3 0")
    assert (third.error, third.tally, third.submitted) == (None, Tally(done=3, failed=1), 1)
    asked = [word for call in fake_slurm.calls if call[0] == "sbatch" for word in call if word.startswith("--mem=")]
    assert asked == ["--mem=50M", "--mem=100M", "--mem=100M"]  # each of several reasons counts


async def test_other_values_of_an_earlier_job_are_given_to_all_elements(bench: Any, make_request: MakeRequest) -> None:
    text = 'echo "$INPUT_SCALE" >> ran; [ "$SWEEP_V" != 1 ] || [ -e well ]'
    request = make_request(text, array=array_of([*"012"]), variables=(("INPUT_SCALE", "1"),))
    assert (await bench.conduct(request)).tally == Tally(done=2, failed=1)
    (bench.run_dir(request) / "well").touch()
    changed = replace(request, variables=(("INPUT_SCALE", "2"),), key=replace(request.key, epoch=1))
    outcome = await bench.conduct(changed, "2 1")
    assert (outcome.error, outcome.submitted) == (None, 3)
    assert sorted((bench.run_dir(request) / "ran").read_text().split()) == [*"111222"]


async def test_other_values_under_the_same_numbers_are_run(bench: Any, make_request: MakeRequest) -> None:
    text = 'echo "$SWEEP_V" >> ran; [ "$SWEEP_V" != bad ]'
    request = make_request(text, array=array_of(["a", "b", "bad"]))
    assert (await bench.conduct(request)).tally == Tally(done=2, failed=1)
    changed = replace(request, array=array_of(["a", "x", "y"]), key=replace(request.key, epoch=2))
    outcome = await bench.conduct(changed, "2 2")
    assert (outcome.error, outcome.submitted) == (None, 3)
    assert sorted((bench.run_dir(request) / "ran").read_text().split()) == ["a", "a", "b", "bad", "x", "y"]


async def test_an_element_without_its_value_is_run_again(bench: Any, make_request: MakeRequest) -> None:
    text = '[ "$SWEEP_V" != 1 ] || [ -e well ] || exit 0; echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT'
    retry = Retry(frozenset({"failed"}), 1)
    for job, kinds in (("cleared", Retry()), ("retried", retry)):
        request = make_request(text, job=job, array=array_of([*"012"]), outputs=(Output("v", "integer"),), retry=kinds)
        assert type((await bench.conduct(request)).error) is errors.OutputMissing
        (bench.run_dir(request) / "well").touch()
        again = request if kinds is retry else replace(request, key=replace(request.key, epoch=2))
        outcome = await bench.conduct(again, "2 0" if kinds is retry else "2 2")
        assert (outcome.error, outcome.submitted, outcome.values) == (None, 1, {"v": [0, 1, 2]})
        (bench.run_dir(request) / "well").unlink()


async def test_an_element_without_its_value_is_run_again_also_where_nobody_was_told(
    bench: Any, make_request: MakeRequest
) -> None:
    text = '[ "$SWEEP_V" != 1 ] || [ -e well ] || exit 0; echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT'
    request = make_request(text, array=array_of([*"012"]), outputs=(Output("v", "integer"),))
    await bench.conduct(request)
    (bench.key_dir(request) / "settled").unlink()
    (bench.run_dir(request) / "well").touch()
    outcome = await bench.conduct(replace(request, key=replace(request.key, epoch=1)), "2 1")
    assert (outcome.error, outcome.submitted, outcome.values) == (None, 1, {"v": [0, 1, 2]})


async def test_what_a_failed_attempt_wrote_counts_for_nothing(bench: Any, make_request: MakeRequest) -> None:
    text = '[ "$HOTSWAP_ATTEMPT" -gt 1 ] || { echo v=1 >> $HOTSWAP_OUTPUT; exit 3; }'
    retry = Retry(frozenset({"failed"}), 1)
    request = make_request(text, array=array_of([*"01"]), outputs=(Output("v", "integer"),), retry=retry)
    assert type((await bench.conduct(request)).error) is errors.JobFailed
    assert type((await bench.conduct(request, "2 0")).error) is errors.OutputMissing


async def test_a_try_that_was_cancelled_early_does_no_harm_to_the_next(bench: Any, make_request: MakeRequest) -> None:
    request = make_request(
        'echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT', array=array_of([*"01"]), outputs=(Output("v", "integer"),)
    )
    await bench.lay_out(request)
    await bench.conductor.cancel(request.key, bench.lines.append)
    outcome = await bench.conduct(request)
    assert (outcome.error, outcome.values, outcome.key.generation) == (None, {"v": [0, 1]}, 1)


async def test_a_person_who_ends_an_array_ends_what_would_follow(bench: Any, make_request: MakeRequest) -> None:
    request = make_request('[ "$SWEEP_V" = 0 ] && exit 85; sleep 60', array=array_of([*"012"]), saves=True)
    conducting = asyncio.create_task(bench.conduct(request))
    await bench.until(lambda: "1 failed · 2 running" in bench.log)
    await bench.client.transport.run(("scancel", "--quiet", f"--name={request.key.job_name}"))
    outcome = await conducting
    assert type(outcome.error) is errors.JobCancelled
    assert not outcome.continuation
    assert bench.log.count("submitted Slurm job") == 1


async def test_a_person_who_ends_an_array_that_saves_then_ends_it(bench: Any, make_request: MakeRequest) -> None:
    text = 'trap "exit 85" TERM; touch "began.$SWEEP_INDEX"; while :; do sleep 0.1; done'
    request = make_request(text, array=array_of([*"01"]), saves=True)
    conducting = asyncio.create_task(bench.conduct(request))
    run = bench.run_dir(request)
    await bench.until(lambda: (run / "began.0").exists() and (run / "began.1").exists())
    await bench.client.transport.run(("scancel", "--quiet", f"--name={request.key.job_name}"))
    outcome = await conducting
    assert type(outcome.error) is errors.JobCancelled
    assert bench.log.count("submitted Slurm job") == 1


async def test_a_job_that_was_cancelled_does_not_go_on(bench: Any, make_request: MakeRequest) -> None:
    """The mark is there before its script has ended, and the script ends as if nobody had cancelled it."""
    request = make_request("while [ ! -e go ]; do sleep 0.1; done; exit 85", saves=True)
    conducting = await bench.begun(request)
    (bench.key_dir(request) / "cancelled").touch()
    (bench.run_dir(request) / "go").touch()
    outcome = await conducting
    assert type(outcome.error) is errors.JobCancelled
    assert (outcome.continuation, bench.log.count("submitted Slurm job")) == ("", 1)


async def test_an_end_that_cannot_be_noted_is_waited_for(fake_bench: Any, make_request: MakeRequest) -> None:
    request = make_request("true")
    (fake_bench.key_dir(request) / "settled.new").mkdir(parents=True)
    with pytest.raises(errors.ConnectionLost, match="cannot be recorded"):
        await fake_bench.client.record_end(request.key.digest, "1 0 COMPLETED")
    await fake_bench.client.record_end("nobody-e0-g0", "1 0 COMPLETED")


@pytest.fixture
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitter, "SMALL_WAVE", 1)


@pytest.mark.usefixtures("small_waves")
async def test_a_sweep_goes_in_waves_where_the_cluster_takes_only_so_many(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 12
    text = 'echo "$SWEEP_V" >> ran; echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT; [ "$SWEEP_V" != 3 ] && [ "$SWEEP_V" != 38 ]'
    array = array_of([*map(str, range(40))], tolerated=2)
    outcome = await fake_bench.conduct(make_request(text, array=array, outputs=(Output("v", "integer"),)))
    assert outcome.error is None
    assert outcome.tally == Tally(done=38, failed=2)
    assert outcome.values["v"] == [None if number in {3, 38} else number for number in range(40)]
    ran = (fake_bench.run_dir(make_request()) / "ran").read_text().split()
    assert sorted(ran, key=int) == [*map(str, range(40))]
    assert "the next elements are submitted, as many as the cluster takes" in fake_bench.log
    assert max(len(call) for call in fake_slurm.calls) < 20


@pytest.mark.parametrize("chunk", [1, 3])
async def test_a_sweep_that_no_array_can_hold_goes_in_several(
    bench: Any, make_request: MakeRequest, chunk: int
) -> None:
    """The sandbox's arrays have 1,001 indices at most; the points of a sweep may come from an earlier job."""
    values = [str(number) if number < 4 or number > 1001 * chunk - 3 else None for number in range(1001 * chunk + 4)]
    text = 'echo "$SWEEP_INDEX $SWEEP_V"; echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT; [ "$SWEEP_V" != 1002 ] || [ -e well ]'
    array = array_of(values, chunk=chunk, most_indices=1001)
    request = make_request(text, array=array, outputs=(Output("v", "string"),))
    outcome = await bench.conduct(request)
    assert bench.log.count("submitted Slurm job") == 2
    if chunk == 1:
        assert str(outcome.error).endswith("1002 (exit status 1)")
        assert "array index 1:\n1002 1002" in bench.log
        (bench.run_dir(request) / "well").touch()
        outcome = await bench.conduct(replace(request, key=replace(request.key, epoch=2)), "2 2")
        assert outcome.submitted == 1
    assert outcome.error is None
    assert outcome.values == {"v": values}


@pytest.mark.usefixtures("small_waves")
@pytest.mark.parametrize("kinds", [frozenset({"failed"}), frozenset({"node_fail"})])
async def test_what_failed_in_a_wave_is_tried_again_after_the_last_one(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, kinds: Any
) -> None:
    fake_slurm.submit_limit = 4
    if "node_fail" in kinds:
        fake_slurm.outcomes = [["NODE_FAIL"]]
    text = (
        'echo "$SWEEP_V" >> ran; [ "$SWEEP_V" != 1 ] || [ -e well ]' if "failed" in kinds else 'echo "$SWEEP_V" >> ran'
    )
    request = make_request(text, array=array_of([*map(str, range(8))]), retry=Retry(kinds, 1))
    first = await fake_bench.conduct(request)
    assert (first.tally.failed, first.tally.done) == (1, 7)
    assert request.retry.covers(type(first.error).__name__, first.failed_before) or "failed" in kinds
    (fake_bench.run_dir(request) / "well").touch()
    second = await fake_bench.conduct(request, "2 0")
    assert (second.error, second.tally, second.submitted) == (None, Tally(done=8), 1)


@pytest.mark.usefixtures("small_waves")
async def test_a_wave_that_was_submitted_before_a_death_is_known_again(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 6
    request = make_request("echo x >> ran; sleep 0.2", array=array_of([*map(str, range(10))]))
    dying = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: "submitted Slurm job" in fake_bench.log)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    outcome = await fake_bench.conduct(request)
    assert (outcome.error, outcome.tally) == (None, Tally(done=10))
    assert len((fake_bench.run_dir(request) / "ran").read_text().split()) == 10


@pytest.mark.usefixtures("small_waves")
async def test_parts_of_a_sweep_save_fail_and_grow_as_one(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 4
    fake_slurm.outcomes = [["OUT_OF_MEMORY"]]  # element 0, in the first of two parts
    text = """echo "step$HOTSWAP_ATTEMPT=$SWEEP_V" >> $HOTSWAP_OUTPUT
      [ "$SWEEP_V" != 1 ] || [ "$HOTSWAP_ATTEMPT" -ge 2 ] || exit 85
      [ "$SWEEP_V" = 1 ] || echo step2=0 >> $HOTSWAP_OUTPUT; echo step1=$SWEEP_V >> $HOTSWAP_OUTPUT"""
    outputs = (Output("step1", "integer"), Output("step2", "integer"))
    retry = Retry(frozenset({"oom"}), 1, mem=Growth(2, 1 << 20))
    request = make_request(text, array=array_of([*map(str, range(8))]), saves=True, retry=retry, outputs=outputs)
    outcome = await fake_bench.conduct(request)
    # What saved goes on in a third part with what ran out of memory, which is the job's one failure.
    assert (outcome.error, outcome.tally, outcome.failed_before) == (None, Tally(done=8), 1)
    assert outcome.values == {"step1": list(range(8)), "step2": [0, 1, 0, 0, 0, 0, 0, 0]}
    submitted = [call for call in fake_slurm.calls if call[0] == "sbatch"]
    assert [word for call in submitted[-1:] for word in call if "array" in word or "mem" in word] == [
        "--array=0-1",
        "--mem=100M",
    ]


@pytest.mark.usefixtures("small_waves")
async def test_the_error_of_parts_is_that_of_their_elements(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 4
    fake_slurm.outcomes = [["TIMEOUT"]]
    retry = Retry(frozenset({"timeout"}), 1)
    outcome = await fake_bench.conduct(make_request("true", array=array_of([*map(str, range(8))]), retry=retry))
    assert type(outcome.error) is errors.JobTimedOut


async def test_a_job_waits_for_its_turn_where_no_more_may_be_submitted(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 1
    running = asyncio.create_task(fake_bench.conduct(make_request("while [ ! -e go ]; do sleep 0.1; done", job="a")))
    await fake_bench.until(lambda: "submitted" in fake_bench.log)
    waiting = asyncio.create_task(fake_bench.conduct(make_request("true", job="b")))
    await fake_bench.until(
        lambda: "waiting: main takes no more jobs for now (AssocMaxSubmitJobLimit)" in fake_bench.log
    )
    (fake_bench.run_dir(make_request()) / "go").touch()
    assert [outcome.error for outcome in await asyncio.gather(running, waiting)] == [None, None]


async def test_only_a_line_feed_ends_a_line_of_values(fake_bench: Any, make_request: MakeRequest) -> None:
    ends = "\\f \\v \\x1c \\x1d \\x1e \\xc2\\x85 \\xe2\\x80\\xa8 \\xe2\\x80\\xa9 \\r"
    text = f'printf \'page=%s\\nnote=p{ends}0:page=99\\n\' "$SWEEP_V" >> "$HOTSWAP_OUTPUT"'
    outputs = (Output("page", "integer"), Output("note", "string"))
    outcome = await fake_bench.conduct(make_request(text, array=array_of([*"12"]), outputs=outputs))
    note = "p\f \v \x1c \x1d \x1e \x85 \u2028 \u2029 \r0:page=99"
    assert (outcome.error, outcome.values) == (None, {"page": [1, 2], "note": [note, note]})
    text = 'printf \'r={"t": "Alpha\\xe2\\x80\\xa8Beta"}\\n\' >> "$HOTSWAP_OUTPUT"'
    outcome = await fake_bench.conduct(make_request(text, job="one", outputs=(Output("r", "json"),)))
    assert (outcome.error, outcome.values) == (None, {"r": {"t": "Alpha\u2028Beta"}})
