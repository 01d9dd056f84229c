"""Throughput: jobs a minute, end to end through Airflow and a real cluster, with many runs at a time.

    .venv/bin/python -m benchmarks.throughput [--minutes 10] [--runs 20] [--elements 500] [--json]

Each run is a workflow with one sweep whose elements sleep a second. So many runs are kept going that 10,000 elements
are tracked at a time; whichever ends is followed by another until the time is over. Afterwards the note of every
element is counted, and the tables of all runs are read through Airflow's API. With ``--minutes 30`` this is the soak:
memory, descriptors and connections of the triggerer, and folders of keys for a run, are told as they were after a fifth
of the time and at the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lab import Lab, cpu_seconds, lab, machine, rss_mb, tell, tree
from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.slurm.array_state import PROGRESS_KEY
from hotswap_airflow.testing.slurm import SELDOM_SAMPLED, ClusterOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKFLOW = """hotswap: workflow/v1
jobs:
  s:
    slurm: {{partition: batch, mem: 1M, time: 1h}}
    sweep: {{over: {{i: {{range: [0, {elements}]}}}}}}
    run: sleep 1
"""
NODES = 16
BEAT = 5.0


class Load:
    """Runs that are kept going."""

    def __init__(self, made: Lab, runs: int) -> None:
        self.lab = made
        self.wanted = runs
        self.active: set[str] = set()
        self.ended: list[str] = []
        self.most_running = 0

    def beat(self, *, feed: bool) -> None:
        """Look which runs have ended, and begin as many."""
        for run in list(self.active):
            state = self.lab.api.get(f"/dags/load/dagRuns/{run}")["state"]
            if state == "failed":
                raise SystemExit(f"{run} failed: {self.lab.api.log('load', run, 's')[-2000:]}")
            if state == "success":
                self.active.remove(run)
                self.ended.append(run)
        while feed and len(self.active) < self.wanted:
            self.active.add(self.lab.api.trigger("load"))
        running = self.lab.sandbox.clusters[0].run("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i").split()
        self.most_running = max(self.most_running, len(running))

    def notes(self) -> int:
        """Elements that have noted their end."""
        jobs = self.lab.work / ".hotswap" / "jobs"
        return sum(1 for _ in jobs.glob("*/*/ends/*.0"))

    def weights(self) -> dict[str, float]:
        """What the triggerer holds now."""
        pids = tree(self.lab.services.daemons["triggerer"].pid)
        descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
        node = self.lab.sandbox.login_nodes["main"].daemon
        sessions = len(tree(node.pid)) - 1 if node else 0
        runs = sum(1 for _ in (self.lab.work / "runs" / "load").iterdir())
        keys = sum(1 for _ in (self.lab.work / ".hotswap" / "jobs").glob("*/*"))
        return {
            "rss_mb": rss_mb(pids),
            "descriptors": descriptors,
            "sshd_processes": sessions,
            "key_folders_a_run": keys / runs,
        }

    def completed(self) -> int:
        """Elements that the tables of the ended runs tell as completed."""
        results = ResultStore(self.lab.services.folder / "store")
        tables = [self.lab.api.xcom("load", run, "s", PROGRESS_KEY)["table"] for run in self.ended]
        return sum(row.state == "COMPLETED" for table in tables for row in results.page(table))


def measure(minutes: float, runs: int, elements: int) -> dict[str, Any]:
    """Keep the load for so long; give what came of it."""
    options = ClusterOptions(nodes=NODES, max_array_size=20_001, extra=(SELDOM_SAMPLED,))
    settings: Mapping[str, str] = {
        "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": str(runs + 5),
        "AIRFLOW__CORE__PARALLELISM": "4",
    }
    with lab(options, settings) as made:
        (made.services.dags_folder / "load.hotswap.yaml").write_text(
            WORKFLOW.format(elements=elements), encoding="utf-8"
        )
        load = Load(made, runs)
        load.beat(feed=True)
        made.api.wait("the first ends", load.notes, 180)
        began, noted = time.monotonic(), load.notes()
        cpu = cpu_seconds(tree(made.services.daemons["triggerer"].pid))
        early: dict[str, float] = {}
        while (passed := time.monotonic() - began) < minutes * 60:
            time.sleep(BEAT)
            load.beat(feed=True)
            if not early and passed > minutes * 60 / 5:
                early = load.weights()
            print(f"{passed:.0f} s: {load.notes() - noted} elements", file=sys.stderr, flush=True)
        done = load.notes() - noted
        cpu = cpu_seconds(tree(made.services.daemons["triggerer"].pid)) - cpu
        late = load.weights()
        while load.active:
            time.sleep(BEAT)
            load.beat(feed=False)
        counted = load.notes()
        return {
            "machine": machine(),
            "minutes": minutes,
            "jobs_per_minute": done / minutes,
            "tracked": runs * elements,
            "really_running": load.most_running,
            "concurrent_runs": runs,
            "runs_ended": len(load.ended),
            "elements_noted": counted,
            "elements_completed_in_tables": load.completed(),
            "elements_expected": len(load.ended) * elements,
            "triggerer_cpu_share": cpu / (minutes * 60),
            "early": early,
            "late": late,
        }


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--elements", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tell(measure(arguments.minutes, arguments.runs, arguments.elements), as_json=arguments.json)


if __name__ == "__main__":
    main()
