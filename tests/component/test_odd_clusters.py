"""Clusters on which something is odd: every answer has a defined end, a clear error or a patient wait."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import job_end, patient
from hotswap_airflow.cluster.jobs.outcome import Outcome
from hotswap_airflow.cluster.transport.base import Reply
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.retry import Retry
from hotswap_airflow.testing.fake_slurm import FakeJob, FakeSlurm

from .conftest import Bench, bench_of

MakeRequest = Callable[..., JobRequest]
GATE = "while [ ! -e go ]; do sleep 0.1; done"


def _wrap(fake: FakeSlurm, program: str, text: str) -> None:
    """Let a shell text answer for a program; ``$real`` is the double's own."""
    path = fake.folder / "bin" / program
    real = path.rename(path.with_name(f"{program}.real"))
    real.with_name("real").mkdir(exist_ok=True)
    inner = real.rename(real.with_name("real") / program)
    path.write_text(f"#!/bin/bash\nreal={inner}\n{text}\n")
    path.chmod(0o755)


class Chatty:
    """A login node whose profile prints to stdout, before and after."""

    def __init__(self, fake: FakeSlurm) -> None:
        self.inner = fake.transport

    async def run(self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = 60.0) -> Reply:
        reply = await self.inner.run(argv, stdin, limit)
        return Reply(reply.status, b"Welcome to \xe4lps!\nerror quota\n" + reply.stdout + b"Bye\n", reply.stderr)

    async def close(self) -> None:
        """Nothing to give up."""


async def test_a_login_banner_and_a_farewell_do_no_harm(
    fake_slurm: FakeSlurm, tmp_path: Path, make_request: MakeRequest
) -> None:
    bench = bench_of(Chatty(fake_slurm), tmp_path / "work")
    outcomes = await asyncio.gather(
        bench.conduct(make_request("echo said")), bench.conduct(make_request("true", job="s", array=_array(3)))
    )
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert "said" in bench.log
    assert "Welcome" not in bench.log
    await bench.conductor.watcher.close()


def _array(count: int) -> Array:
    return Array(("v",), tuple((str(number),) for number in range(count)))


async def test_an_answer_of_squeue_that_is_cut_is_waited_out(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    cut = fake_slurm.folder / "cut"
    _wrap(fake_slurm, "squeue", f'out=$("$real" "$@"); [ ! -e {cut} ] || out=${{out:0:9}}; printf "%s\\n" "$out"')
    running = await fake_bench.begun(make_request(GATE))
    cut.touch()
    await fake_bench.until(lambda: "squeue returned no line of 5 fields" in fake_bench.log)
    (fake_bench.run_dir(make_request()) / "go").touch()
    assert not running.done()
    cut.unlink()
    assert (await running).error is None


async def test_values_that_cannot_be_read_for_a_while_are_waited_for(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    away = fake_slurm.folder / "away"
    away.touch()
    head = fake_slurm.folder / "bin" / "head"
    head.write_text(
        f'#!/bin/sh\ncase "$*" in */output) [ ! -e {away} ] || exit 1 ;; esac\nPATH=/usr/bin:/bin head "$@"\n'
    )
    head.chmod(0o755)
    request = make_request("echo v=1 >> $HOTSWAP_OUTPUT", outputs=(Output("v", "integer"),))
    running = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: "the notes of a job cannot be read" in fake_bench.log)
    away.unlink()
    assert (await running).values == {"v": 1}


async def test_ten_thousand_jobs_of_others_with_names_that_are_no_text(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    others = (
        "for ((n = 50000; n < 60000; n++)); do printf '%s|PENDING|Priority||caf\\xe9|x\\n' $n; done; printf '\\xff\\n'"
    )
    _wrap(fake_slurm, "squeue", f'{others}; "$real" "$@"')
    outcome = await fake_bench.conduct(make_request("true"))
    assert outcome.error is None
    assert "PENDING" not in fake_bench.log


@pytest.mark.parametrize("skew", [-600.0, 600.0])
async def test_a_clock_that_is_ten_minutes_off(
    fake_slurm: FakeSlurm, tmp_path: Path, make_request: MakeRequest, skew: float
) -> None:
    """Times of the two clocks are never compared: neither is a job gone too early, nor a submission tried too soon."""
    bench = bench_of(fake_slurm.transport, tmp_path / "work", clock=lambda: time.time() + skew)
    fake_slurm.lost_replies = 1
    fake_slurm.min_job_age = -1.0
    outcomes = await asyncio.gather(
        bench.conduct(make_request("true")), bench.conduct(make_request("true", job="s", array=_array(3)))
    )
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [call[0] for call in fake_slurm.calls].count("sbatch") == 2
    await bench.conductor.watcher.close()


@pytest.mark.parametrize("array", [None, _array(2)])
async def test_ids_that_begin_again_are_other_jobs(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, array: Array | None
) -> None:
    """A controller that lost its state, or was installed anew, gives the id of our job to somebody else's."""
    fake_slurm.outcomes = [["RUNNING"]] * (2 if array else 1)
    request = make_request("true", array=array, retry=Retry())
    running = await fake_bench.begun(request)
    for job in fake_slurm.jobs.values():
        job.name, job.folder, job.states = "other", "", ["COMPLETED"]
    await asyncio.sleep(0.5)
    assert not running.done()
    fake_slurm.advance(120)
    outcome = await running
    assert type(outcome.error) is errors.JobNodeFailed  # tried again, under a new key
    again = await fake_bench.conduct(request, "2 0")
    assert again.error is None
    assert again.tally == (Tally(done=2) if array else None)


@pytest.mark.parametrize("array", [None, _array(2)])
async def test_of_two_jobs_with_one_id_each_has_its_own_end(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, array: Array | None
) -> None:
    """A controller that died before it wrote down our job gives its id to the next one of ours."""
    fake_slurm.outcomes = [["RUNNING"]] * (2 if array else 1) + [["RUNNING", "RUNNING", "COMPLETED"]]
    lost = await fake_bench.begun(make_request("true", array=array))
    fake_slurm.jobs.clear()
    other = await fake_bench.conduct(make_request("true", job="other"))
    assert (other.error, other.job_id) == (None, 1)
    await asyncio.sleep(0.5)
    assert not lost.done()
    fake_slurm.advance(120)
    assert type((await lost).error) is errors.JobNodeFailed


async def test_the_end_of_a_twin_is_not_that_of_the_job_which_counts(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    """It was accepted so slowly that another was submitted, whose id the folder has; the controller lost that one."""
    fake_slurm.outcomes = [["RUNNING"]]
    request = make_request("true")
    running = await fake_bench.begun(request)
    fake_slurm.jobs = {7: FakeJob(7, request.key.job_name, "", states=["COMPLETED"])}
    await asyncio.sleep(0.5)
    assert not running.done()
    fake_slurm.advance(120)
    assert type((await running).error) is errors.JobNodeFailed


@pytest.mark.parametrize("array", [None, _array(2)])
async def test_a_lost_job_that_somebody_tidied_up_has_not_ended_well(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, array: Array | None
) -> None:
    """`sacctmgr show runawayjobs` gives the rows of jobs that the controller lost the state COMPLETED."""
    fake_slurm.outcomes = [["RUNNING"]] * (2 if array else 1)
    running = await fake_bench.begun(make_request("true", array=array))
    fake_slurm.min_job_age = -1.0
    for job in fake_slurm.jobs.values():
        job.folder, job.states = "", ["COMPLETED"]
    await asyncio.sleep(0.5)
    assert not running.done()
    fake_slurm.advance(120)
    outcome = await running
    assert type(outcome.error) is errors.JobNodeFailed


async def test_a_home_that_is_mounted_late_is_waited_for(fake_slurm: FakeSlurm, make_request: MakeRequest) -> None:
    home = fake_slurm.folder / "late"
    environment = {"PATH": f"{fake_slurm.folder}/bin:{os.environ['PATH']}", "HOME": str(home)}
    bench = bench_of(LocalTransport(environment), Path("runs-here"))
    running = asyncio.create_task(bench.conduct(make_request("echo said")))
    await bench.until(lambda: "the home folder does not exist; is it mounted?" in bench.log)
    home.mkdir()
    assert (await running).error is None
    assert (home / "runs-here" / ".hotswap" / "jobs").is_dir()
    await bench.conductor.watcher.close()


async def test_a_work_folder_that_cannot_be_written_is_told_at_once(
    fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    bench = bench_of(fake_slurm.transport, Path("/proc/self/work"))
    with pytest.raises(errors.CommandFailed, match="the work folder cannot be made or entered: /proc/self/work"):
        await Bench.conduct(bench, make_request("true"))


class Quota:
    """A login node on which files can be made, but nothing be written to them, once the quota is used up."""

    def __init__(self, fake: FakeSlurm) -> None:
        self.inner = fake.transport
        self.is_used_up = False

    async def run(self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = 60.0) -> Reply:
        none_left = ("bash", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "quota") if self.is_used_up else ()
        return await self.inner.run((*none_left, *argv), stdin, limit)

    async def close(self) -> None:
        """Nothing to give up."""


@pytest.mark.parametrize("array", [None, _array(3)])
async def test_a_quota_that_is_used_up_is_told_before_anything_is_submitted(
    fake_slurm: FakeSlurm, tmp_path: Path, make_request: MakeRequest, array: Array | None
) -> None:
    quota = Quota(fake_slurm)
    bench = bench_of(quota, tmp_path / "work")
    request = make_request("echo said", array=array)
    await bench.lay_out(request)
    quota.is_used_up = True
    with pytest.raises(errors.CommandFailed, match="disk or quota full"):
        await bench.conductor.conduct(request, "1 0", bench.lines.append)
    assert not fake_slurm.jobs
    quota.is_used_up = False
    assert (await bench.conduct(request, "2 0")).error is None
    assert [call[0] for call in fake_slurm.calls].count("sbatch") == 1
    await bench.conductor.watcher.close()


async def test_a_quota_that_is_used_up_while_a_job_runs_is_waited_out(
    fake_slurm: FakeSlurm, tmp_path: Path, make_request: MakeRequest
) -> None:
    quota = Quota(fake_slurm)
    bench = bench_of(quota, tmp_path / "work")
    running = await bench.begun(make_request(GATE))
    quota.is_used_up = True
    (bench.run_dir(make_request()) / "go").touch()
    await bench.until(lambda: "disk or quota full?" in bench.log)
    assert not running.done()
    quota.is_used_up = False
    assert (await running).error is None
    await bench.conductor.watcher.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits asks again at once."""
    monkeypatch.setattr(patient, "LONGEST_PAUSE", 0.2)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("asked", ["1 0", "2 0"])
async def test_who_takes_a_job_over_while_the_quota_is_used_up_waits(
    fake_slurm: FakeSlurm, tmp_path: Path, make_request: MakeRequest, asked: str
) -> None:
    """A triggerer that dies hands on the same try; a dead worker makes a later one."""
    quota = Quota(fake_slurm)
    bench, request = bench_of(quota, tmp_path / "work"), make_request(GATE)
    (await bench.begun(request)).cancel()
    key = bench.key_dir(request) / "key"
    noted = key.read_text()
    quota.is_used_up = True
    bench.lines.clear()
    running = asyncio.create_task(bench.while_queued(request, asked))
    await bench.until(lambda: "waiting, the job is in the queue: " in bench.log)
    assert (key.read_text(), running.done()) == (noted, False)
    quota.is_used_up = False
    (bench.run_dir(request) / "go").touch()
    assert (await running).error is None
    assert [call[0] for call in fake_slurm.calls].count("sbatch") == 1
    await bench.conductor.watcher.close()


def _take_away(bench: Bench) -> Path:
    """Let the work folder be away; where it is meanwhile."""
    away = bench.workdir.rename(bench.workdir.with_name("away"))
    bench.workdir.write_text("no folder")
    return away


async def _taken_over(fake_slurm: FakeSlurm, bench: Bench, request: JobRequest) -> tuple[asyncio.Task[Outcome], Path]:
    """Who takes a running job over while its work folder is away, and waits; and where the folder is."""
    fake_slurm.outcomes = [["RUNNING"]]
    (await bench.begun(request)).cancel()
    away = _take_away(bench)
    running = asyncio.create_task(bench.while_queued(request, "1 0"))
    await bench.until(lambda: "waiting, the job is in the queue: " in bench.log)
    return running, away


@pytest.mark.usefixtures("quick")
async def test_a_work_folder_that_is_away_while_a_job_runs_is_waited_for(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    running, away = await _taken_over(fake_slurm, fake_bench, make_request("true"))
    fake_slurm.is_down = True
    await fake_bench.until(lambda: "waiting, it is not known whether the job is in the queue: " in fake_bench.log)
    fake_slurm.is_down = False
    await fake_bench.until(lambda: fake_bench.log.count("waiting, the job is in the queue: ") == 2)
    assert not running.done()
    fake_bench.workdir.unlink()
    away.rename(fake_bench.workdir)
    await fake_bench.until(lambda: "found Slurm job" in fake_bench.log)
    running.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_job_that_leaves_the_queue_while_its_work_folder_is_away_is_an_error(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    running, _ = await _taken_over(fake_slurm, fake_bench, make_request("true"))
    fake_slurm.jobs[1].states = ["COMPLETING"]
    await asyncio.sleep(0.5)
    assert not running.done()
    fake_slurm.forget(1)
    with pytest.raises(errors.CommandFailed, match="the work folder cannot be made or entered"):
        await running


@pytest.mark.parametrize("ends", ["cancel", "time_out"])
async def test_a_job_is_cancelled_also_where_its_work_folder_is_away(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, ends: str
) -> None:
    fake_slurm.outcomes = [["RUNNING"]] * 3
    request = make_request("true")
    (await fake_bench.begun(request)).cancel()
    later = make_request("true", key=replace(request.key, epoch=1))
    other = make_request("true", job="other")
    for one in (later, other):
        await fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once(one)
    _take_away(fake_bench)
    async with asyncio.timeout(60):
        if ends == "cancel":
            await fake_bench.conductor.cancel(request.key, fake_bench.lines.append)
        else:
            error = errors.JobTimedOut("late")
            told = await fake_bench.conductor.time_out(request.key, "1 0", error, fake_bench.lines.append)
            assert told.error is error
    # A later try's job is not ours to cancel, nor is another task's.
    assert [job.state for job in fake_slurm.jobs.values()] == ["CANCELLED", "RUNNING", "RUNNING"]


async def test_a_site_without_squeue_is_told_at_once(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    _wrap(fake_slurm, "squeue", "exit 127")
    fake_bench.workdir.write_text("no folder")
    with pytest.raises(errors.CommandFailed, match="the work folder cannot be made or entered"):
        await fake_bench.while_queued(make_request("true"), "1 0")


async def test_no_strangers_name_ends_what_is_read_of_the_queue(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    _wrap(fake_slurm, "squeue", """printf '5|RUNNING|None|n1|x\\nhotswap-answered 0 \\n'; "$real" "$@\"""")
    fake_slurm.outcomes = [["RUNNING"]]
    await fake_bench.lay_out(make_request("true"))
    await fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once(make_request("true"))
    assert [row.name for row in await fake_bench.client.queue_of_all()] == [make_request("true").key.job_name]


async def test_more_output_than_is_read_is_told_and_not_cut(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_end, "OUTPUT_LIMIT", 10)
    outcome = await fake_bench.conduct(
        make_request("echo v=12345678 >> $HOTSWAP_OUTPUT", outputs=(Output("v", "string"),))
    )
    assert "more than 10 bytes to $HOTSWAP_OUTPUT" in str(outcome.error)


async def test_a_run_folder_that_is_closed_for_writing_is_found_all_the_same(
    fake_bench: Any, make_request: MakeRequest
) -> None:
    assert (await fake_bench.conduct(make_request("true"))).error is None
    mark = fake_bench.run_dir(make_request()) / ".hotswap-run"
    mark.unlink()
    mark.mkdir()  # what nobody can write to, root neither
    assert (await fake_bench.conduct(make_request("true", job="next"))).error is None


async def test_a_job_is_cancelled_also_where_that_cannot_be_noted(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    request = make_request("true")
    running = await fake_bench.begun(request)
    mark = fake_bench.key_dir(request) / "cancelled"
    mark.symlink_to("/nowhere/at/all")
    with pytest.raises(errors.ConnectionLost, match="disk or quota full"):
        await fake_bench.client.cancel([(request.key.digest, request.key.job_name)])
    assert [job.state for job in fake_slurm.jobs.values()] == ["CANCELLED"]
    assert type((await running).error) is errors.JobCancelled


async def test_a_run_folder_that_somebody_removed_is_told(fake_bench: Any, make_request: MakeRequest) -> None:
    request = make_request("true")
    await fake_bench.lay_out(request)
    shutil.rmtree(fake_bench.run_dir(request))
    outcome = await fake_bench.conductor.conduct(request, "1 0", fake_bench.lines.append)
    assert "the run directory cannot be entered" in str(outcome.error)


async def test_an_sbatch_that_is_not_there_is_a_refusal(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    _wrap(fake_slurm, "sbatch", "exit 127")
    with pytest.raises(errors.SubmissionRefused, match="sbatch ended with status 127"):
        await fake_bench.conduct(make_request("true"))


async def test_a_sweep_that_was_cancelled_before_it_was_submitted_ends(
    fake_bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("true", array=_array(3))
    await fake_bench.client.cancel([(request.key.digest, request.key.job_name)])
    async with asyncio.timeout(90):
        ours = fake_bench.conductor.submitter("1 0", fake_bench.lines.append)
        _, submission = await ours._submit_what_fits(request)
    assert submission.is_cancelled


async def test_a_try_that_was_left_behind_gives_up_its_turn(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.submit_limit = 0
    old, other = make_request("true", job="old"), make_request("true", job="other")
    left_behind = asyncio.create_task(fake_bench.conduct(old))
    await fake_bench.until(lambda: "takes no more jobs for now" in fake_bench.log)
    waiting = asyncio.create_task(fake_bench.conduct(other))
    await fake_bench.until(lambda: "waiting to be submitted: number 1 of 1" in fake_bench.log)
    later = replace(old, key=replace(old.key, epoch=1))
    with pytest.raises(errors.SubmitLimitReached):
        await fake_bench.client.submit(later, "2 1")
    await fake_bench.until(lambda: "this try waits" in fake_bench.log)
    fake_slurm.submit_limit = None
    assert (await waiting).error is None
    assert not left_behind.done()
    left_behind.cancel()
    await asyncio.gather(left_behind, return_exceptions=True)
