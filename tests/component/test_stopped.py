"""Programs that catch the signal by which Slurm ends them, and what is made of their exit status 0. On real Slurm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.testing.host import user_name
from hotswap_airflow.testing.slurm import SlurmCluster

from .conftest import Bench, array_of, bench_of

MakeRequest = Callable[..., JobRequest]
BASH = """
trap 'echo got >> "got.$HOTSWAP_JOB.${SWEEP_INDEX-}"; caught=yes' SIGNAL
caught=; touch "began.$HOTSWAP_JOB.${SWEEP_INDEX-}"
while [ -z "$caught" ]; do sleep 0.1 || true; done
for wait in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 0.1 || true; done
echo v=1 >> "$HOTSWAP_OUTPUT"
exit STATUS
"""
PYTHON = """exec python3 -c '
import os, pathlib, signal, sys, time
name = os.environ["HOTSWAP_JOB"] + "." + os.environ.get("SWEEP_INDEX", "")
def caught(*_):
    with open("got." + name, "a") as file:
        file.write("got\\n")
signal.signal(signal.SIGSIGNAL, caught)
pathlib.Path("began." + name).touch()
while not os.path.exists("got." + name):
    time.sleep(0.1)
time.sleep(1.5)
with open(os.environ["HOTSWAP_OUTPUT"], "a") as file:
    file.write("v=1\\n")
sys.exit(STATUS)
'
"""


def _text(kind: str, signal: str = "TERM", status: int = 0) -> str:
    return {"bash": BASH, "python": PYTHON}[kind].replace("SIGSIGNAL", f"SIG{signal}").replace("SIGNAL", signal).replace(
        "STATUS", str(status)
    )  # fmt: skip


@pytest.fixture
async def real(slurm_cluster: SlurmCluster, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = bench_of(LocalTransport(slurm_cluster.environment), tmp_path / "work")
    yield bench
    await bench.conductor.watcher.close()


async def _begun(bench: Bench, *requests: JobRequest) -> list[asyncio.Task[object]]:
    """Jobs on their way to their ends, whose programs have set their traps."""
    conducting = [asyncio.create_task(bench.conduct(request)) for request in requests]
    run = bench.run_dir(requests[0])
    for request in requests:
        wanted = 1 if request.array is None else len(request.array.wanted)
        await bench.until(lambda r=request, n=wanted: len(list(run.glob(f"began.{r.key.job}.*"))) == n)  # type: ignore[misc]
    return conducting


@pytest.mark.parametrize("kind", ["bash", "python"])
async def test_who_catches_a_cancel_hears_it_once_and_was_cancelled(
    real: Bench, slurm_cluster: SlurmCluster, make_request: MakeRequest, kind: str
) -> None:
    one = make_request(_text(kind), job="one", variables=(("HOTSWAP_JOB", "one"),))
    many = make_request(_text(kind), job="many", variables=(("HOTSWAP_JOB", "many"),), array=array_of([*"ab"]))
    conducting = await _begun(real, one, many)
    for request in (one, many):
        slurm_cluster.run("scancel", f"--name={request.key.job_name}")
    ended = [await task for task in conducting]
    assert [type(outcome.error) for outcome in ended] == [errors.JobCancelled, errors.JobCancelled]  # type: ignore[attr-defined]
    assert [row.state for row in ended[1].table] == ["CANCELLED", "CANCELLED"]  # type: ignore[attr-defined]
    heard = {path.name: path.read_text() for path in real.run_dir(one).glob("got.*")}
    assert heard == dict.fromkeys(("got.one.", "got.many.0", "got.many.1"), "got\n")


@pytest.mark.timeout(150)
async def test_who_catches_the_end_of_its_time_was_not_done(
    real: Bench, slurm_cluster: SlurmCluster, make_request: MakeRequest
) -> None:
    """Its values count for nothing, its time grows, and it is run again."""
    retry = Retry(frozenset({"timeout"}), 1, time=Growth(2, 600))
    text = f'[ "$HOTSWAP_ATTEMPT" = 1 ] || exit 0\n{_text("bash")}'
    shared = {"outputs": (Output("v", "integer"),), "retry": retry}
    one = make_request(text, job="one", variables=(("HOTSWAP_JOB", "one"),), **shared)
    many = make_request(text, job="many", variables=(("HOTSWAP_JOB", "many"),), array=array_of([*"ab"]), **shared)
    real.limit = 120
    conducting = await _begun(real, one, many)
    for request in (one, many):
        job_id = (real.key_dir(request) / "id").read_text().strip()
        slurm_cluster.run("scontrol", "update", f"JobId={job_id}", "EndTime=now+1")
    ended = [await task for task in conducting]
    assert [type(outcome.error) for outcome in ended] == [errors.JobTimedOut, errors.JobTimedOut]  # type: ignore[attr-defined]
    heard = {path.name: path.read_text() for path in real.run_dir(one).glob("got.*")}
    assert heard == dict.fromkeys(("got.one.", "got.many.0", "got.many.1"), "got\n")
    again = await real.conduct(many, "2 0")
    assert (type(again.error), again.submitted) == (errors.OutputMissing, 2)
    queue = slurm_cluster.run("squeue", "-h", "-t", "all", "-o", "%l", f"--name={again.key.job_name}")
    assert set(queue.split()) == {"4:00"}


async def test_who_catches_a_warning_hears_it_once(real: Bench, make_request: MakeRequest) -> None:
    def warned(kind: str, name: str, **changes: object) -> JobRequest:
        job = f"{kind}-{name}{'-many' if changes else ''}"
        text = f'[ "$HOTSWAP_ATTEMPT" = 1 ] || exit 0\n{_text(kind, name, 85)}'
        options = (("partition", "debug"), ("time", "00:01:00"), ("mem", "50M"), ("signal", f"B:{name}@59"))
        variables = (("HOTSWAP_JOB", job),)
        return make_request(text, job=job, variables=variables, options=options, saves=True, **changes)

    jobs = [warned(kind, name) for kind in ("bash", "python") for name in ("USR1", "TERM")]
    jobs.append(warned("bash", "USR1", array=array_of([*"ab"])))
    ended = [await task for task in await _begun(real, *jobs)]
    assert [outcome.error for outcome in ended] == [None] * 5  # type: ignore[attr-defined]
    heard = [path.read_text() for path in real.run_dir(jobs[0]).glob("got.*")]
    assert heard == ["got\n"] * 6


async def test_a_work_folder_that_is_not_on_the_node_is_named(
    real: Bench, slurm_cluster: SlurmCluster, make_request: MakeRequest
) -> None:
    """The commonest mistake of a first set-up."""
    one, many = make_request("true", job="one"), make_request("true", job="many", array=array_of([*"ab"]))
    later = (("begin", "now+3"), ("partition", "debug"), ("mem", "50M"))
    requests = [replace(request, options=later) for request in (one, many)]
    conducting = [asyncio.create_task(real.conduct(request)) for request in requests]
    await real.until(lambda: "PENDING" in real.log and "2 pending" in real.log)
    for request in requests:
        real.key_dir(request).rename(real.key_dir(request).with_suffix(".away"))
    names = ",".join(request.key.job_name for request in requests)
    asked = ("squeue", "-h", "-r", "-t", "FAILED", "-o", "%j", f"--name={names}")
    await real.until(lambda: len(slurm_cluster.run(*asked).split()) == 3)
    for request in requests:
        real.key_dir(request).with_suffix(".away").rename(real.key_dir(request))
    for task in conducting:
        outcome = await task
        assert type(outcome.error) is errors.JobFailed
        assert f", for example because it could not open the log; check that {real.workdir} exists on main-" in str(
            outcome.error
        )
        assert f"and is writable for {user_name()}" in str(outcome.error)
    assert "2 of 2 elements failed: 0 (JobLaunchFailure), 1 (JobLaunchFailure); Slurm" in str(outcome.error)
