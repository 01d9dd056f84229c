"""Several clusters behind one login: a job is followed, cancelled and accounted where it is, and submitted once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.watch.foreign_job import ForeignJobWatch, SoughtJob
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.options import check as options_check
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.testing import accounting
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.slurm import ClusterOptions, SlurmCluster

from .conftest import QUICK, Bench, array_of

MakeRequest = Callable[..., JobRequest]
TYPES = ("2080ti", "3g.20gb")
GATE = "while [ ! -e go ]; do sleep 0.1; done"


async def _sent_elsewhere(bench: Bench, make_request: MakeRequest) -> JobRequest:
    """A job and a sweep run on the other cluster to their ends."""
    one, many = make_request(GATE, job="one"), make_request(GATE, job="many", array=array_of([*"ab"]))
    running = [asyncio.create_task(bench.conduct(request)) for request in (one, many)]
    await bench.until(lambda: "RUNNING" in bench.log and "2 running" in bench.log)
    (bench.run_dir(one) / "go").touch()
    single, sweep = await asyncio.gather(*running)
    assert (single.error, sweep.error, sweep.tally) == (None, None, Tally(done=2))
    assert bench.log.count("submitted Slurm job") == 2
    return one


async def test_a_job_that_the_sites_sbatch_sends_to_another_cluster_is_followed_there(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    fake_slurm.other_cluster = "beta"
    one = await _sent_elsewhere(fake_bench, make_request)
    assert "on main, cluster beta" in fake_bench.log
    again = await fake_bench.conduct(one)
    assert (again.error, len([call for call in fake_slurm.calls if call[0] == "sbatch"])) == (None, 2)


async def test_a_job_on_another_cluster_is_cancelled_there(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    fake_slurm.other_cluster = "beta"
    request = make_request("sleep 60")
    running = await fake_bench.begun(request)
    await fake_bench.conductor.cancel(request.key, fake_bench.lines.append)
    assert type((await running).error) is errors.JobCancelled


async def test_a_job_on_another_cluster_whose_reply_was_lost_is_found_there(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    fake_slurm.other_cluster, fake_slurm.lost_replies = "beta", 1
    fake_slurm.outcomes = [["PENDING"]]  # so that its script does not note where it is
    request = make_request("true")
    running = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: "on main, cluster beta" in fake_bench.log and "PENDING" in fake_bench.log)
    await fake_bench.conductor.cancel(request.key, fake_bench.lines.append)
    assert type((await running).error) is errors.JobCancelled
    assert len(fake_slurm.jobs) == 1


async def test_a_cluster_that_is_away_holds_up_its_own_jobs_alone(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    fake_slurm.other_cluster = "beta"
    there = await fake_bench.begun(make_request(GATE, job="there"))
    fake_slurm.other_cluster, fake_slurm.is_other_down = "", True
    assert (await fake_bench.conduct(make_request("true", job="here"))).error is None
    await fake_bench.until(lambda: "waiting for main: squeue on main failed" in fake_bench.log)
    fake_slurm.advance(600)
    (fake_bench.run_dir(make_request()) / "go").touch()
    assert not there.done()
    fake_slurm.is_other_down = False
    assert (await there).error is None


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[SlurmCluster, SlurmCluster]]:
    """Two real clusters with one slurmdbd: alpha, where we log in, and beta, which alone has two nodes."""
    folder = Path(tempfile.mkdtemp(prefix="hotswap-"))
    alpha = SlurmCluster("alpha", folder / "alpha", ClusterOptions(nodes=1, accounting=True))
    beta = SlurmCluster("beta", folder / "beta", ClusterOptions(2, accounting=True, gpu_types=TYPES), partner=alpha)
    try:
        for cluster in (alpha, beta):
            cluster.start(accounting.start_accounting if cluster is alpha else None)
            accounting.register(cluster)
        yield alpha, beta
    finally:
        beta.stop()
        alpha.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def real(clusters: tuple[SlurmCluster, SlurmCluster], tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Makes a session on alpha's login node; ``wrapped`` puts the site's own sbatch before the real one."""
    made: list[Bench] = []

    def make(slurm_cluster: str = "", *, wrapped: bool = False) -> Bench:
        environment = clusters[0].environment
        if wrapped:
            program = tmp_path / "bin" / "sbatch"
            program.parent.mkdir()
            program.write_text('#!/bin/sh\nexec /usr/bin/sbatch -M beta "$@"\n')
            program.chmod(0o755)
            environment["PATH"] = f"{program.parent}:{environment['PATH']}"
        work = tmp_path / "work"
        client = ClusterClient(LocalTransport(environment), str(work), "main", pace=0.02, slurm_cluster=slurm_cluster)
        made.append(Bench(JobConductor(client, JobWatcher(client, QUICK), 2.0), work))
        return made[-1]

    yield make
    for bench in made:
        await bench.conductor.watcher.close()


@pytest.mark.parametrize("way", ["wrapped", "named"])
async def test_a_job_on_another_cluster_of_real_slurm(
    clusters: tuple[SlurmCluster, SlurmCluster], real: Any, make_request: MakeRequest, way: str
) -> None:
    bench = real(wrapped=True) if way == "wrapped" else real("beta")
    await _sent_elsewhere(bench, make_request)
    bench.lines.clear()
    request = make_request("sleep 60", job="cancelled")
    running = await bench.begun(request)
    assert [
        status.state for status in await ForeignJobWatch(bench.client, SoughtJob(key=request.key.digest)).poll_once()
    ] == ["RUNNING"]
    await bench.conductor.cancel(request.key, bench.lines.append)
    assert type((await running).error) is errors.JobCancelled
    assert clusters[0].run("squeue", "-h", "-t", "all", f"--name={request.key.job_name}") == ""


async def test_a_job_that_a_federation_starts_on_a_sibling(
    clusters: tuple[SlurmCluster, SlurmCluster], real: Any, make_request: MakeRequest
) -> None:
    alpha, beta = clusters
    alpha.run("sacctmgr", "-i", "add", "federation", "fed", "clusters=alpha,beta")
    bench = real()
    await bench.until(lambda: "beta" in alpha.run("scontrol", "show", "federation"))
    options = (("partition", "batch"), ("time", "00:02:00"), ("mem", "50M"), ("nodes", "2"))
    one, other = (make_request(GATE, job=job, options=options) for job in ("one", "other"))
    running = [asyncio.create_task(bench.conduct(request)) for request in (one, other)]
    await bench.until(lambda: "RUNNING on beta-[1-2]" in bench.log)
    assert "REVOKED" in alpha.run("squeue", "--local", "-h", "-t", "all", "-o", "%T", f"--name={one.key.job_name}")
    await bench.conductor.cancel(other.key, bench.lines.append)
    (bench.run_dir(one) / "go").touch()
    ended = await asyncio.gather(*running)
    assert [type(outcome.error) for outcome in ended] == [type(None), errors.JobCancelled]
    assert bench.log.count("submitted Slurm job") == 2
    asked = ("sacct", "-X", "-n", "-P", "-M", "beta", "-o", "JobName", "-S", "now-1hour")
    # Accounting hears of a job a little later than the queue.
    await bench.until(lambda: one.key.job_name in beta.run(*asked).split())
    assert beta.run(*asked).split().count(one.key.job_name) == 1


@pytest.mark.parametrize(("asked", "count"), [("2080ti:1", 1), ("3g.20gb:1", 1), ("2080ti:1,3g.20gb:1", 2), ("2", 2)])
async def test_gpus_of_types_that_begin_with_a_digit(
    real: Any, make_request: MakeRequest, asked: str, count: int
) -> None:
    options = (("partition", "gpu"), ("time", "00:02:00"), ("mem", "50M"), ("gpus", options_check("gpus", asked) or ""))
    request = make_request('echo "gpus=$CUDA_VISIBLE_DEVICES" >> $HOTSWAP_OUTPUT', options=options)
    outcome = await real("beta").conduct(replace(request, outputs=(Output("gpus", "string"),)))
    assert outcome.error is None
    assert len(outcome.values["gpus"].split(",")) == count
