"""Twenty Slurm jobs through an Airflow with a single worker slot: deferred, and with the slot held.

    .venv/bin/python -m benchmarks.worker_slots [--seconds 20] [--json]

The cluster has room for four of the jobs at once. Everything runs in one session on one machine: no-op tasks (what
starting a task costs), the jobs with `SlurmJobOperator`, and the same jobs with `srun` in a BashOperator
(`sbatch --wait` notices a job's end only after some 40 s).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.airflow_services import USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.slurm import ClusterOptions

JOBS, AT_ONCE = 20, 4
DAGS = """
from airflow.sdk import DAG, task
from airflow.providers.standard.operators.bash import BashOperator
from hotswap_airflow.operators.slurm import SlurmJobOperator

with DAG("noop", schedule=None):
    @task
    def nothing(number):
        return None
    nothing.expand(number=list(range({jobs})))

with DAG("deferred", schedule=None):
    for number in range({jobs}):
        SlurmJobOperator(task_id=f"j{{number}}", command="sleep {seconds}",
                         slurm_conn_id="slurm_main", workdir={work!r},
                         slurm={{"partition": "batch", "cpus-per-task": 4, "mem": "50M", "time": "00:10:00"}})

with DAG("held", schedule=None):
    for number in range({jobs}):
        BashOperator(task_id=f"j{{number}}", env={{"SLURM_CONF": {conf!r}}}, append_env=True,
                     bash_command="srun -p batch -c 4 --mem 50M -t 10 sleep {seconds}")
"""


def measure(seconds: int) -> dict[str, float]:
    """Wall times of the three runs, in seconds."""
    made = sandbox.create("benchmark")
    folder = Path(tempfile.mkdtemp(prefix="hotswap-benchmark-"))
    made.up(ClusterOptions(), sshd=True)
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": "python", "classpath": bundle, "kwargs": {"path": str(folder / "dags")}}]
    settings = {
        "AIRFLOW_CONN_SLURM_MAIN": made.connection_uri("main"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "7200",
    }
    services = AirflowServices(folder, settings)
    try:
        services.dags_folder.mkdir()
        words = {"jobs": JOBS, "seconds": seconds, "work": str(made.folder / "w"), "conf": str(made.clusters[0].conf)}
        (services.dags_folder / "benchmark.py").write_text(DAGS.format(**words))
        services.start()
        api = AirflowApi(services.url, USER, services.password)
        return {name: _wall(api, name, JOBS * seconds + 600) for name in ("noop", "deferred", "held")}
    finally:
        services.stop()
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def _wall(api: AirflowApi, name: str, limit: float) -> float:
    run = api.trigger(name)
    if api.wait_for_run(name, run, limit) != "success":
        failed = [task for task, state in api.tasks(name, run).items() if state == "failed"]
        raise SystemExit(f"{name} failed: {api.log(name, run, failed[0])}")
    facts = api.get(f"/dags/{name}/dagRuns/{run}")
    begin, end = (datetime.fromisoformat(facts[key]) for key in ("start_date", "end_date"))
    return (end - begin).total_seconds()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    walls = measure(arguments.seconds)
    own = JOBS / AT_ONCE * arguments.seconds
    bound = own + walls["noop"]
    figures = {
        "cluster_s": own,
        "noop_each_s": walls["noop"] / JOBS,
        "deferred_s": walls["deferred"],
        "bound_s": bound,
        "bound_ratio": walls["deferred"] / bound,
        "held_s": walls["held"],
        "held_ratio": walls["held"] / walls["deferred"],
    }
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}, indent=2))
        return
    print(f"{JOBS} jobs of {arguments.seconds} s, {AT_ONCE} at once: the cluster's own time is {own:.0f} s")
    print(f"a no-op task, one slot: {figures['noop_each_s']:.2f} s")
    print(f"deferred: {walls['deferred']:.1f} s, {figures['bound_ratio']:.2f} of the bound of {bound:.1f} s")
    print(f"slot held: {walls['held']:.1f} s, {figures['held_ratio']:.1f} times the deferred one")


if __name__ == "__main__":
    main()
