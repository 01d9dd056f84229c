"""A sweep that is far greater than the number of jobs which its user may have submitted.

    .venv/bin/python -m benchmarks.limit [--elements 10000] [--limit 500] [--json]

On a real cluster with accounting that enforces the limit, over ssh, from the request to the sweep's end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from benchmarks.lab import count_calls, machine, no_files, ssh_session, tell
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.host import user_name
from hotswap_airflow.testing.slurm import ClusterOptions

if TYPE_CHECKING:
    from hotswap_airflow.testing.login_node import LoginNode

OPTIONS = (("partition", "batch"), ("mem", "1M"), ("time", "00:05:00"))


async def _conduct(node: LoginNode, workdir: str, elements: int) -> dict[str, Any]:
    conductor = ssh_session(node, workdir)
    array = Array(("n",), tuple((str(number),) for number in range(elements)))
    run = RunKey("benchmark", "limit", "dev", "run", uuid.uuid4().hex)
    request = JobRequest(JobKey(run, "sweep"), "true", options=OPTIONS, array=array)
    began = time.monotonic()
    await conductor.lay_out(run.folder, "", no_files, _say)
    outcome = await conductor.conduct(request, "1 0", _say)
    took = time.monotonic() - began
    await conductor.watcher.close()
    await conductor.client.transport.close()
    tally = outcome.tally
    return {
        "wall_s": took,
        "error": str(outcome.error or ""),
        "done": tally.done if tally else 0,
        "failed": tally.failed if tally else 0,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(elements: int, limit: int) -> dict[str, Any]:
    """What became of the elements."""
    made = sandbox.create("benchmark")
    try:
        made.up(ClusterOptions(nodes=16, max_array_size=elements + 1, accounting=True), sshd=True)
        set_limit = ("sacctmgr", "-i", "modify", "user", "where", f"user={user_name()}", "set")
        made.clusters[0].run(*set_limit, f"MaxSubmitJobs={limit}")
        node = made.login_nodes["main"]
        calls = count_calls(made, made.folder / "counting")
        found = asyncio.run(_conduct(node, str(made.folder / "w"), elements))
        submissions = calls.read_text(encoding="utf-8").split().count("sbatch")
    finally:
        made.down()
    return {"machine": machine(), "elements": elements, "limit": limit, "sbatch": submissions, **found}


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=10_000)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tell(measure(arguments.elements, arguments.limit), as_json=arguments.json)


if __name__ == "__main__":
    main()
