"""A job is submitted exactly once, whatever becomes of connections, controllers and submitters."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import submitter
from hotswap_airflow.cluster.jobs.submitter import Submitter
from hotswap_airflow.cluster.remote import submission
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.slurm.script.render import render_script
from hotswap_airflow.slurm.states import Phase
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.slurm import ClusterOptions, SlurmCluster

from .conftest import Bench, bench_of, no_files

MakeRequest = Callable[..., JobRequest]


def _replace(fake: FakeSlurm, name: str, script: str) -> None:
    """Put another program in the place of one, on the double's login node."""
    path = fake.folder / "bin" / name
    path.write_text(script)
    path.chmod(0o755)


def _submitted(fake: FakeSlurm) -> int:
    return len(fake.jobs)


async def test_an_answer_that_is_lost_is_looked_up(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.lost_replies = 1
    outcome = await fake_bench.conduct(make_request())
    assert outcome.error is None
    assert _submitted(fake_slurm) == 1
    assert "found Slurm job 1 on main" in fake_bench.log


async def test_a_lost_answer_is_found_in_accounting_when_the_queue_forgot(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.lost_replies, fake_slurm.min_job_age = 1, -1.0
    fake_slurm.outcomes = [["COMPLETED"]]
    outcome = await fake_bench.conduct(make_request())
    assert (outcome.error, _submitted(fake_slurm)) == (None, 1)


async def test_a_submission_that_never_arrived_is_made_again_after_its_patience(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.dropped = 2
    outcome = await fake_bench.conduct(make_request())
    assert (outcome.error, _submitted(fake_slurm)) == (None, 1)


async def test_no_submission_while_nobody_answers(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.is_down = True
    request = make_request()
    await fake_bench.lay_out(request)
    task = asyncio.create_task(fake_bench.conductor.conduct(request, "1 0", fake_bench.lines.append))
    await Bench.until(lambda: "it is not known yet whether the job was submitted" in fake_bench.log)
    fake_slurm.is_down = False
    assert (await asyncio.wait_for(task, 30)).error is None
    assert _submitted(fake_slurm) == 1


async def test_an_sbatch_that_a_site_wrapped(fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest) -> None:
    fake_slurm.banner = "Welcome to alps\n12 nodes are down today\n"
    assert (await fake_bench.conduct(make_request())).error is None


async def test_a_job_that_can_never_start_is_cancelled_and_told(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["PENDING"]]
    request = make_request()
    await fake_bench.lay_out(request)
    task = asyncio.create_task(fake_bench.conductor.conduct(request, "1 0", fake_bench.lines.append))
    await Bench.until(lambda: 1 in fake_slurm.jobs)
    fake_slurm.jobs[1].reason = "BadConstraints"
    outcome = await asyncio.wait_for(task, 30)
    assert type(outcome.error) is errors.JobNeverStarts
    assert fake_slurm.jobs[1].state == "CANCELLED"


async def test_a_cancel_waits_for_its_controller_and_is_repeated_by_the_next_try(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"], ["COMPLETED"]]
    request = make_request()
    first = await fake_bench.begun(request)
    first.cancel()
    fake_slurm.is_down = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await fake_bench.conductor.cancel(request.key, fake_bench.lines.append)
    cleared = replace(request, key=replace(request.key, epoch=1))
    second = asyncio.create_task(fake_bench.conduct(cleared, "2 1"))
    await Bench.until(lambda: "waiting for main: cancelling on main failed" in fake_bench.log)
    fake_slurm.is_down = False
    assert (await asyncio.wait_for(second, 60)).error is None
    assert [job.state for job in fake_slurm.jobs.values()] == ["CANCELLED", "COMPLETED"]


async def test_a_try_that_was_left_behind_touches_nothing(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    old = make_request()
    new = replace(old, key=replace(old.key, epoch=1))
    waiting = await fake_bench.begun(new, "2 1")
    stale = asyncio.create_task(fake_bench.conduct(old, "1 0"))
    await Bench.until(lambda: "this try waits" in fake_bench.log)
    found = await fake_bench.client.submit(old, "1 0")
    assert found.is_outdated
    assert [job.state for job in fake_slurm.jobs.values()] == ["RUNNING"]
    for task in (stale, waiting):
        task.cancel()


async def test_a_try_that_wakes_up_late_leaves_the_job_of_a_later_one_alone(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm.outcomes = [["RUNNING"], ["RUNNING"]]
    old = make_request()
    new = replace(old, key=replace(old.key, epoch=1))
    find_or_submit = Submitter.find_or_submit

    async def slept(self: Submitter, request: JobRequest) -> Any:
        placed = await find_or_submit(self, request)
        await fake_bench.client.submit(new, "3 1")
        return placed

    monkeypatch.setattr(Submitter, "find_or_submit", slept)
    stale = await fake_bench.begun(old, "2 0")
    assert [job.state for job in fake_slurm.jobs.values()] == ["RUNNING", "RUNNING"]
    stale.cancel()


async def test_a_script_that_a_dying_connection_cut_is_not_submitted(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    request = make_request("echo whole")
    argv = ("sh", "-c", submission.SUBMIT, "hotswap", fake_bench.client.workdir, "")
    whole = submission.item(request, "1 0", again=False)
    for lost in (30, 2, 1):  # of the script, or only what tells that it is whole
        assert (await fake_slurm.transport.run(argv, whole[:-lost])).status == 1
    assert fake_slurm.jobs == {}
    assert (await fake_bench.conduct(request)).error is None


async def test_a_file_system_without_locks_submits_once(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    _replace(fake_slurm, "flock", "#!/bin/sh\nexit 1\n")
    fake_slurm.outcomes = [["RUNNING", "RUNNING", "COMPLETED"]]
    request = make_request()
    await fake_bench.lay_out(request)
    submit = partial(fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once, request)
    found = await asyncio.wait_for(asyncio.gather(submit(), submit()), 60)
    assert [one.job_id for one in found] == [1, 1]
    assert len(fake_slurm.jobs) == 1


async def test_a_note_that_was_begun_but_not_written_is_no_id(fake_bench: Any, make_request: MakeRequest) -> None:
    request = make_request("echo ran")
    fake_bench.key_dir(request).mkdir(parents=True)
    (fake_bench.key_dir(request) / "id").touch()
    outcome = await fake_bench.conduct(request)
    assert outcome.error is None
    assert "ran" in fake_bench.log


async def test_a_key_is_submitted_once_when_its_submitter_is_killed_at_any_point(
    slurm_cluster: SlurmCluster, tmp_path: Path, make_request: MakeRequest
) -> None:
    """The three places on the login node: after mkdir, after sbatch was accepted, before the id is written."""
    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.watch.watched_job import Interval
    from hotswap_airflow.cluster.watch.watcher import JobWatcher

    client = ClusterClient(LocalTransport(slurm_cluster.environment), str(tmp_path), "main")
    conductor = JobConductor(client, JobWatcher(client, Interval(0.1, 0.3)), patience=2)
    points = {
        "after mkdir": 'cd -- "$digest" || reply "error the job\'s folder cannot be entered"\n',
        "before sbatch": 'timeout "$limit"',
        "after sbatch": "  # Take the last line that is a number",
    }
    # All of it, or only the part that submits: what it then answers is no refusal.
    for (number, (point, place)), whole in itertools.product(enumerate(points.items()), ["$$", ""]):
        request = make_request("true", job=f"killed{number}{bool(whole)}")
        killed = submission.SUBMIT.replace(place, f"read -r me _ < /proc/self/stat; kill -9 {whole} $me\n{place}")
        assert killed != submission.SUBMIT, point
        argv = ["sh", "-c", killed, "hotswap", str(tmp_path), ""]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            input=submission.item(request, "1 0", again=False),
            env=slurm_cluster.environment,
            capture_output=True,
        )
        assert done.returncode == (-9 if whole else 0), point
        lines: list[str] = []
        await conductor.lay_out(request.key.run.folder, "", no_files, lines.append)
        outcome = await asyncio.wait_for(conductor.conduct(request, "1 0", lines.append), 60)
        assert outcome.error is None, point
        queue, _ = await client.status([])
        assert len([row for row in queue if row.name == request.key.job_name]) == 1, point


@pytest.mark.daemons
async def test_a_queue_that_is_full_is_a_wait_and_makes_parts_of_sweeps(
    tmp_path: Path, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "SMALL_WAVE", 1)
    made = sandbox.create("full")
    made.up(ClusterOptions(nodes=2, extra=("MaxJobCount=8", "MinJobAge=2")))
    try:
        bench = bench_of(LocalTransport(made.clusters[0].environment), tmp_path / "work")
        array = Array(("v",), tuple((str(number),) for number in range(20)))
        requests = [make_request("echo x >> ran", job="sweep", array=array), make_request("sleep 2", job="single")]
        outcomes = await asyncio.gather(*(bench.conduct(request) for request in requests))
        assert [outcome.error for outcome in outcomes] == [None, None]
        assert (bench.run_dir(requests[0]) / "ran").read_text().split() == ["x"] * 20
        assert "main takes no more jobs for now (temporarily unable)" in bench.log
        await bench.conductor.watcher.close()
    finally:
        made.down()


@pytest.mark.daemons
async def test_a_controller_that_is_restarted(tmp_path: Path, make_request: MakeRequest) -> None:
    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.watch.watched_job import Interval
    from hotswap_airflow.cluster.watch.watcher import JobWatcher

    made = sandbox.create("restart")
    made.up(ClusterOptions(nodes=1))
    try:
        cluster = made.clusters[0]
        client = ClusterClient(LocalTransport(cluster.environment), str(tmp_path / "work"), "main")
        conductor = JobConductor(client, JobWatcher(client, Interval(0.1, 0.3)), patience=2)
        lines: list[str] = []
        request = make_request("while [ ! -e go ]; do sleep 0.1; done")
        await conductor.lay_out(request.key.run.folder, "", no_files, lines.append)
        task = asyncio.create_task(conductor.conduct(request, "1 0", lines.append))
        await Bench.until(lambda: any("RUNNING" in line for line in lines))
        cluster.stop_daemon("slurmctld", signal.SIGTERM)
        await Bench.until(lambda: any("waiting for main" in line for line in lines))
        late = replace(request, key=replace(request.key, job="late"), text="true")
        second = asyncio.create_task(conductor.conduct(late, "1 0", lines.append))
        cluster.start_controller()
        (tmp_path / "work" / "runs" / request.key.run.folder / "go").touch()
        assert (await asyncio.wait_for(task, 90)).status.phase is Phase.SUCCEEDED
        assert (await asyncio.wait_for(second, 90)).status.phase is Phase.SUCCEEDED
    finally:
        made.down()


async def test_jobs_that_are_submitted_together_share_their_round_trips(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = []
    run = LocalTransport.run

    async def counted(self: LocalTransport, argv: tuple[str, ...], *rest: Any) -> Any:
        trips.append(argv)
        return await run(self, argv, *rest)

    monkeypatch.setattr(LocalTransport, "run", counted)
    requests = [make_request("true", job=f"together-{number}") for number in range(60)]
    bad = make_request("true", job="refused", options=(("partition", "nowhere"),))
    fake_slurm.refused_partition = "nowhere"

    async def place(request: JobRequest) -> Any:
        await fake_bench.lay_out(request)
        return await fake_bench.conductor.submitter("1 0", fake_bench.lines.append).find_or_submit(request)

    placed = await asyncio.gather(*(place(request) for request in [*requests, bad]), return_exceptions=True)
    assert [one[1].is_new for one in placed[:-1]] == [True] * 60  # type: ignore[index]
    assert type(placed[-1]) is errors.SubmissionRefused
    assert len(fake_slurm.jobs) == 60
    assert len(trips) < 20  # three questions a job


async def test_jobs_that_are_cancelled_together_share_their_round_trips(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]] * 61
    requests = [make_request("true", job=f"together-{number}") for number in range(60)]
    other = make_request("true", job="goes-on")
    await fake_bench.lay_out(other)
    for request in [*requests, other]:
        await fake_bench.conductor.submitter("1 0", fake_bench.lines.append).find_or_submit(request)
    fake_slurm.calls.clear()
    await asyncio.gather(*(fake_bench.conductor.cancel(request.key, fake_bench.lines.append) for request in requests))
    states = [job.state for job in fake_slurm.jobs.values()]
    assert states == ["CANCELLED"] * 60 + ["RUNNING"]
    assert len(fake_slurm.calls) < 30  # a few to cancel them, others to see them gone


async def test_a_slow_sbatch_lets_the_others_of_its_round_trip_wait_their_turn(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    _replace(
        fake_slurm, "timeout", '#!/bin/sh\n[ -e "$HOME/slow" ] && { rm "$HOME/slow"; exit 124; }\nshift; exec "$@"\n'
    )
    requests = [make_request("true", job=f"slow-{number}") for number in range(5)]
    await fake_bench.lay_out(requests[0])
    (fake_slurm.folder / "home" / "slow").touch()
    async with asyncio.timeout(90):
        found = await asyncio.gather(
            *(
                fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once(request)
                for request in requests
            )
        )
    assert len({one.job_id for one in found}) == len(fake_slurm.jobs) == 5


async def test_a_full_disk_is_told_to_the_one_it_hits_and_the_others_are_asked_for_again(
    fake_bench: Any, fake_slurm: FakeSlurm, make_request: MakeRequest
) -> None:
    requests = [make_request("true", job=f"j{number}") for number in range(4)]
    big = make_request("true\n" + "#" * 10_000, job="big")
    # Only a script of its length finds the disk full.
    size = len(render_script(big))
    full = '[ -e "$HOME/full" ] && { rm "$HOME/full"; echo "No space left on device" >&2; exit 1; }'
    text = f'#!/bin/sh\ncase $2 in {size}) {full} ;; esac\nexec /usr/bin/head "$@"\n'
    _replace(fake_slurm, "head", text)
    await fake_bench.lay_out(big)
    (fake_slurm.folder / "home" / "full").touch()
    async with asyncio.timeout(90):
        found = await asyncio.gather(
            *(
                fake_bench.conductor.submitter("1 0", fake_bench.lines.append).submit_once(one)
                for one in [*requests[:2], big, *requests[2:]]
            ),
            return_exceptions=True,
        )
    failed = [one for one in found if isinstance(one, Exception)]
    assert [type(error) for error in failed] == [errors.CommandFailed]
    assert "disk or quota full?" in str(failed[0])
    assert len(fake_slurm.jobs) == 4
