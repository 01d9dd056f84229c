"""Compares the compilation of workflow files with PyYAML's C loader, and their Dags with the same Dags by hand.

python benchmarks/compile.py --files 1000 --jobs 10
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import Plan, make_plan
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotswap_airflow.workflow.site import Site

SITE = Path(__file__).parents[1] / "tests" / "examples" / "files" / "good" / "site.yaml"
JOB = """\
  j{number}:
    {needs}
    slurm: {{partition: batch, time: 10m, mem: 500M, cpus-per-task: 2}}
    inputs:
      a: {{from: params.n}}
    outputs:
      o: out{number}.txt
      v: {{type: number}}
    run: |
      echo "$PARAM_N $INPUT_A" > "$OUTPUT_O"
      echo v=1 >> "$HOTSWAP_OUTPUT"
"""


def workflow(number: int, jobs: int) -> bytes:
    """The text of a workflow: a chain of jobs."""
    chain = (JOB.format(number=j, needs=f"needs: [j{j - 1}]" if j else "description: the first") for j in range(jobs))
    head = f"hotswap: workflow/v1\nname: w{number}\nproject: climate\n"
    return f"{head}params: {{n: {{type: integer, default: 3}}}}\njobs:\n{''.join(chain)}".encode()


def plan_of(raw: bytes, name: str, site: Site) -> Plan:
    """Load, validate and plan one file."""
    return make_plan(check_workflow(raw, name, DiskFolder(SITE.parent), site), site, "dev")


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


HEAD = """\
from airflow.sdk import DAG, Param
from hotswap_airflow.operators.slurm import SlurmJobOperator

OPTIONS = {{"partition": "batch", "time": "10m", "mem": "500M", "cpus-per-task": 2, "account": "climate"}}
dag = DAG("h{number}", schedule=None, params={{"n": Param(3, type="integer")}})
"""
TASK = """
j{job} = SlurmJobOperator(
    task_id="j{job}",
    command='echo "$PARAM_N $INPUT_A" > out{job}.txt',
    slurm=OPTIONS,
    env={{"PARAM_N": "{{{{ params.n }}}}", "INPUT_A": "{{{{ params.n }}}}"}},
    dag=dag,
)
"""


def by_hand(number: int, jobs: int) -> str:
    """A Python file with the same Dag, by our operator for hand-written Dags."""
    tasks = (TASK.format(job=job) + (f"j{job - 1} >> j{job}\n" if job else "") for job in range(jobs))
    return HEAD.format(number=number) + "".join(tasks)


def parsed(source: str) -> Any:
    """The Dag of a Python file, as Airflow's importer gets it."""
    names: dict[str, Any] = {}
    exec(compile(source, "by_hand.py", "exec"), names)  # noqa: S102 - our own text
    return names["dag"]


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=10)
    given = parser.parse_args()
    from airflow.serialization.serialized_objects import DagSerialization

    from hotswap_airflow.dag_builder.workflow import build_dag

    site = read_site(SITE.read_bytes(), "site.yaml")
    texts = [workflow(number, given.jobs) for number in range(given.files)]
    sources = [by_hand(number, given.jobs) for number in range(given.files)]
    DagSerialization.to_dict(parsed(sources[0]))  # imports
    plans: list[Plan] = []
    found = {
        "yaml_s": seconds(lambda: [yaml.load(text, Loader=yaml.CSafeLoader) for text in texts]),
        "plan_s": seconds(lambda: plans.extend(plan_of(text, f"w{n}", site) for n, text in enumerate(texts))),
        "by_hand_s": seconds(lambda: [DagSerialization.to_dict(parsed(source)) for source in sources]),
        "dags_s": seconds(lambda: [DagSerialization.to_dict(build_dag(plan)) for plan in plans]),
    }
    found["plan_by_yaml"] = found["plan_s"] / found["yaml_s"]
    found["whole_by_hand"] = (found["dags_s"] + found["plan_s"]) / found["by_hand_s"]
    print(
        json.dumps(
            {"files": given.files, "jobs": given.jobs, **{name: round(value, 2) for name, value in found.items()}}
        )
    )


if __name__ == "__main__":
    main()
