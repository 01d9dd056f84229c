"""The same jobs through submitit's Slurm executor and through hotswap: commands to Slurm, wall and CPU time.

    .venv/bin/python -m benchmarks.peer [--jobs 200] [--json]

Both on one sandbox cluster with accounting, from the submitting machine itself; each job starts Python and does
nothing. First as that many separate jobs, then as one array. The CPU time is that of the process that submits and waits
with all the commands it calls; that of the jobs is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lab import counting_programs, machine, no_files, rounded
from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing import processes, sandbox
from hotswap_airflow.testing.slurm import ClusterOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (("partition", "batch"), ("mem", "50M"), ("time", "00:05:00"))
WAYS = ("submitit_jobs", "hotswap_jobs", "submitit_array", "hotswap_array")


def nothing(_: int) -> None:
    """What each of submitit's jobs does."""


def submitit(count: int, folder: str, *, as_array: bool) -> None:
    """Run the jobs as submitit's documentation shows it."""
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder=folder)
    executor.update_parameters(partition="batch", mem="50M", time=5, array_parallelism=count)
    if as_array:
        jobs = executor.map_array(nothing, list(range(count)))
    else:
        jobs = [executor.submit(nothing, number) for number in range(count)]
    for job in jobs:
        job.result()


def hotswap(count: int, folder: str, *, as_array: bool) -> None:
    """Run them as our triggers do."""
    run = RunKey("benchmark", "peer", "dev", "run", uuid.uuid4().hex)
    text = f"{sys.executable} -c pass"
    if as_array:
        array = Array(("n",), tuple((str(number),) for number in range(count)))
        requests = [JobRequest(JobKey(run, "sweep"), text, options=OPTIONS, array=array)]
    else:
        requests = [JobRequest(JobKey(run, f"job-{number}"), text, options=OPTIONS) for number in range(count)]
    asyncio.run(_conduct(requests, folder))


async def _conduct(requests: Sequence[JobRequest], folder: str) -> None:
    client = ClusterClient(LocalTransport(dict(os.environ)), folder)
    conductor = JobConductor(client, JobWatcher(client))

    async def one(request: JobRequest) -> None:
        await conductor.lay_out(request.key.run.folder, "", no_files, lambda _: None)
        outcome = await conductor.conduct(request, "1 0", lambda _: None)
        if outcome.error is not None:
            raise SystemExit(str(outcome.error))

    await asyncio.gather(*(one(request) for request in requests))
    await conductor.watcher.close()


def measure(count: int) -> dict[str, Any]:
    """Commands, wall and CPU seconds of each way."""
    made = sandbox.create("benchmark")
    figures: dict[str, Any] = {"machine": machine(), "jobs": count}
    try:
        made.up(ClusterOptions(nodes=4, accounting=True))
        for way in WAYS:
            figures[way] = _one_way(way, count, made.clusters[0].environment)
            print(f"{way}: {json.dumps(rounded(figures[way]))}", file=sys.stderr, flush=True)
    finally:
        made.down()
    return figures


def _one_way(way: str, count: int, environment: dict[str, str]) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="hotswap-peer-"))
    shims, calls = counting_programs(folder)
    seen = {**os.environ, **environment, "PATH": f"{shims}:{processes.PATH}"}
    before, began = _cpu(), time.monotonic()
    argv = [sys.executable, "-m", "benchmarks.peer", "--way", way, "--jobs", str(count), "--folder", str(folder / "w")]
    subprocess.run(argv, env=seen, check=True, stdout=sys.stderr)
    wall, cpu = time.monotonic() - began, _cpu() - before
    called = calls.read_text(encoding="utf-8").split()
    return {"commands": len(called), "sbatch": called.count("sbatch"), "wall_s": wall, "cpu_s": cpu}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        name, _, kind = arguments.way.partition("_")
        run = submitit if name == "submitit" else hotswap
        run(arguments.jobs, arguments.folder, as_array=kind == "array")
        return
    figures = rounded(measure(arguments.jobs))
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for way in WAYS:
        seen = figures[way]
        print(f"{way}: {seen['commands']} commands to Slurm, {seen['wall_s']} s, CPU {seen['cpu_s']} s")


if __name__ == "__main__":
    main()
