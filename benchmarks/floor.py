"""The floor: what a task costs whose job costs nothing, against tasks that do nothing at all.

    .venv/bin/python -m benchmarks.floor [--tasks 1000] [--rounds 4] [--sandbox] [--json]

Three Dags of the same shape in one Airflow: jobs on a double of Slurm that ends them at once; no-op deferrable tasks
that resume in a worker, as other operators' do (after 10 s each, all at the same time: Airflow fails tasks that resume
sooner now and then); and no-op tasks that end in their trigger. They run in turns, a part of the tasks in each round,
and in every other round the other way round: the speed of a machine that others use, too, may change by half within ten
minutes. With ``--sandbox`` the jobs run on a real cluster, whose own CPU time is told apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks.lab import Lab, cpu_seconds, lab, machine, rounded, tree
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.slurm import ClusterOptions
from hotswap_airflow.triggers.events import RESUME_DELAY

PAUSE = 5.0
"""Seconds between two questions for a run's state: asked thrice a second they took a sixth of the machine."""
KINDS = ("ordinary", "jobs", "bare")
NOOPS = """
from airflow.sdk import DAG
from benchmarks.probe import DeferOperator

with DAG("ordinary", schedule=None, max_active_tasks=100000):
    DeferOperator.partial(task_id="j", resumes=True).expand(seconds=[{delay}] * {tasks})
with DAG("bare", schedule=None, max_active_tasks=100000):
    DeferOperator.partial(task_id="j").expand(seconds=[0] * {tasks})
"""
JOBS = """
from airflow.sdk import DAG
from hotswap_airflow.operators.slurm import SlurmJobOperator

with DAG("jobs", schedule=None, max_active_tasks=100000):
    SlurmJobOperator.partial(
        task_id="j", slurm_conn_id="slurm_floor", workdir={work!r}, slurm={{"mem": "1M", "time": "00:05:00"}}
    ).expand(command=["true"] * {tasks})
"""


def measure(tasks: int, rounds: int, *, on_sandbox: bool) -> dict[str, float | str]:
    """Wall times of the three kinds, all rounds together, and their ratios."""
    at_once = tasks // rounds
    settings = {"AIRFLOW__CORE__MAX_MAP_LENGTH": "100000", "AIRFLOW__CORE__PARALLELISM": "8"}
    with ExitStack() as stack:
        fake = stack.enter_context(FakeSlurm(Path(tempfile.mkdtemp(prefix="hotswap-fake-"))))
        if not on_sandbox:
            fake.outcomes = [["COMPLETED"] for _ in range(at_once * rounds)]
            settings["PATH"] = f"{fake.folder}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"
            settings["AIRFLOW_CONN_SLURM_FLOOR"] = "slurm://?transport=local"
        made = stack.enter_context(lab(ClusterOptions(nodes=16), settings))
        if on_sandbox:
            made.services.settings = {
                **made.services.settings,
                "AIRFLOW_CONN_SLURM_FLOOR": made.sandbox.connection_uri("main"),
            }
            for name in ("triggerer", "scheduler"):
                made.services.stop_component(name)
                made.services.start_component(name)
        made.write_python("noops", NOOPS.format(tasks=at_once, delay=RESUME_DELAY))
        made.write_python("jobs", JOBS.format(tasks=at_once, work=str(made.services.folder / "work")))
        walls, cluster = defaultdict[str, float](float), defaultdict[str, float](float)
        for name in (KINDS + KINDS[::-1]) * (rounds // 2) + KINDS * (rounds % 2):
            before = slurm_seconds(made)
            wall = run(made, name, at_once)
            walls[name] += wall
            cluster[name] += slurm_seconds(made) - before
            print(f"{at_once} {name}: {wall:.1f} s", file=sys.stderr, flush=True)
    return {
        "machine": machine(),
        "tasks": at_once * rounds,
        "rounds": rounds,
        "ordinary_s": walls["ordinary"],
        "bare_s": walls["bare"],
        "jobs_s": walls["jobs"],
        "floor_ratio": walls["jobs"] / walls["ordinary"],
        "bare_ratio": walls["jobs"] / walls["bare"],
        "slurm_cpu_s": cluster["jobs"] if on_sandbox else 0.0,
    }


def run(made: Lab, name: str, tasks: int) -> float:
    """One run's wall time."""
    began = made.api.trigger(name)
    if made.api.wait_for_run(name, began, 60 + tasks * 5.0, pause=PAUSE) != "success":
        raise SystemExit(f"{name} failed")
    return made.seconds(name, began)


def slurm_seconds(made: Lab) -> float:
    """CPU time of the cluster's daemons and all that they started."""
    return sum(cpu_seconds(tree(daemon.pid)) for cluster in made.sandbox.clusters for daemon in cluster.daemons)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sandbox", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = rounded(measure(arguments.tasks, arguments.rounds, on_sandbox=arguments.sandbox))
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{figures['tasks']} no-op tasks that resume in a worker: {figures['ordinary_s']} s")
    print(f"as many jobs: {figures['jobs_s']} s, {figures['floor_ratio']} times as long")
    print(
        f"no-op tasks that end in their trigger: {figures['bare_s']} s; jobs take {figures['bare_ratio']} times as long"
    )


if __name__ == "__main__":
    main()
