"""Submitting: a sweep, and many distinct jobs, against a new ssh connection for each sbatch, as scripts do it.

    .venv/bin/python -m benchmarks.submit [--points 10000] [--jobs 500] [--json]

All three in one session on one machine and one cluster. The jobs do not start (``--begin`` lies an hour ahead), so that
only submitting counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

from benchmarks.lab import no_files, ssh_session
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.login_node import HOST, LoginNode
from hotswap_airflow.testing.slurm import ClusterOptions

if TYPE_CHECKING:
    from hotswap_airflow.cluster.jobs.conductor import JobConductor

OPTIONS = (("partition", "batch"), ("mem", "50M"), ("time", "00:05:00"), ("begin", "now+1hour"))
RUN = RunKey("benchmark", "submit", "dev", "run", uuid.uuid4().hex)


async def _submit(conductor: JobConductor, requests: list[JobRequest]) -> float:
    """Submit as triggers do, each for itself; give the seconds it took."""
    began = time.monotonic()

    async def one(request: JobRequest) -> None:
        await conductor.lay_out(RUN.folder, "", no_files, _quiet)
        await conductor.submitter("1 0", _quiet).find_or_submit(request)

    await asyncio.gather(*(one(request) for request in requests))
    took = time.monotonic() - began
    await conductor.client.transport.close()
    return took


def _quiet(_: str) -> None:
    return


def _serial(node: LoginNode, conf: str, jobs: int) -> float:
    """A new connection for each sbatch; give the seconds it took."""
    login = ("ssh", "-i", str(node.key), "-p", str(node.port), "-o", f"UserKnownHostsFile={node.known_hosts}")
    options = " ".join(f"--{name}={value}" for name, value in OPTIONS)
    command = f"SLURM_CONF={conf} sbatch {options} --output=/dev/null --wrap 'echo hello'"
    began = time.monotonic()
    for _ in range(jobs):
        subprocess.run([*login, f"{node.user}@{HOST}", command], check=True, capture_output=True)
    return time.monotonic() - began


def measure(points: int, jobs: int) -> dict[str, float]:
    """Seconds and ratios of the three ways."""
    made = sandbox.create("benchmark")
    made.up(ClusterOptions(max_array_size=points + 1), sshd=True)
    try:
        node, conf = made.login_nodes["main"], str(made.clusters[0].conf)
        serial = _serial(node, conf, jobs)
        made.clusters[0].run("scancel", "--user=root")
        conductor = ssh_session(node, str(made.folder / "w"))
        array = Array(("seed",), tuple((str(number),) for number in range(points)))
        requests = [JobRequest(JobKey(RUN, "sweep"), "true", options=OPTIONS, array=array)]
        sweep = asyncio.run(_submit(conductor, requests))
        made.clusters[0].run("scancel", "--user=root")
        keys = [JobKey(RUN, f"job-{number}") for number in range(jobs)]
        requests = [JobRequest(key, f"echo {key.job}", options=OPTIONS) for key in keys]
        many = asyncio.run(_submit(ssh_session(node, str(made.folder / "w")), requests))
    finally:
        made.down()
    return {
        "serial_s": serial,
        "serial_per_s": jobs / serial,
        "sweep_s": sweep,
        "sweep_points_per_s": points / sweep,
        "sweep_ratio": (points / sweep) / (jobs / serial),
        "jobs_s": many,
        "jobs_per_s": jobs / many,
        "jobs_ratio": serial / many,
    }


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.points, arguments.jobs)
    if arguments.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))
        return
    serial, sweep, many = (figures[f"{name}_s"] for name in ("serial", "sweep", "jobs"))
    print(f"{arguments.jobs} times ssh sbatch: {serial:.1f} s, {figures['serial_per_s']:.1f} a second")
    ratio = figures["sweep_ratio"]
    print(f"a sweep of {arguments.points:,} points: {sweep:.2f} s, {ratio:.0f} times as many points a second")
    print(f"{arguments.jobs} distinct jobs: {many:.1f} s, {figures['jobs_ratio']:.1f} times as fast")


if __name__ == "__main__":
    main()
