"""Thousands of deferred tasks at once, written as Airflow itself would write them; run inside Airflow's environment.

    python -m benchmarks.plant jobs DAG RUN TASK FOLDER COMMAND [IDENTITIES]
    python -m benchmarks.plant noop DAG RUN TASK

Each line `FIRST LAST` on stdin defers the tasks of these map indices, and is answered when they are.

Airflow defers some ten tasks a second on the machine of the benchmarks; what is measured here begins after that. The
tasks must be mapped and ``scheduled`` (a pool without slots keeps them so). Jobs of several identities, the connections
``slurm_p0`` and so on, are asked for by ``slurm_main``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import select, update

from benchmarks.probe import SleepTrigger
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.triggers.job import SlurmJobTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.triggers.base import BaseTrigger

OPTIONS = (("partition", "batch"), ("mem", "1M"), ("time", "01:00:00"))


def _job(
    dag_id: str, run_id: str, task: str, folder: str, command: str, identities: str = "0"
) -> Callable[[int], BaseTrigger]:
    run = RunKey("benchmark", dag_id, "dev", run_id, folder)

    def make(index: int) -> BaseTrigger:
        key = JobKey(run, task, index)
        request = JobRequest(key, text=command, options=OPTIONS)
        mine = f"slurm_p{index % int(identities)}" if int(identities) else "slurm_main"
        return SlurmJobTrigger(
            target=ClusterTarget(mine, folder, monitor="slurm_main" if int(identities) else "").to_json(),
            key=key.to_json(),
            request=request.to_text(),
            asked="1 0",
        )

    return make


def plant(dag_id: str, run_id: str, task: str, chosen: range, make: Callable[[int], BaseTrigger]) -> None:
    """Defer tasks of a run, chosen by their map indices."""
    with create_session() as session:
        which = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task)
        found = session.execute(select(TaskInstance.id, TaskInstance.map_index).where(*which)).all()
        tasks = [row for row in found if row.map_index in chosen]
        rows = [Trigger.from_object(make(row.map_index)) for row in tasks]
        session.add_all(rows)
        session.flush()
        now = datetime.now(UTC)
        session.execute(
            update(TaskInstance),
            [
                {
                    "id": row.id,
                    "state": "deferred",
                    "trigger_id": trigger.id,
                    "next_method": "resume",
                    "next_kwargs": {},
                    "try_number": 1,
                    "start_date": now,
                }
                for row, trigger in zip(tasks, rows, strict=True)
            ],
        )


def main() -> None:
    """Plant what the command line says."""
    kind, dag_id, run_id, task, *rest = sys.argv[1:]
    make = _job(dag_id, run_id, task, *rest) if kind == "jobs" else lambda _: SleepTrigger()
    for line in sys.stdin:
        first, last = map(int, line.split())
        plant(dag_id, run_id, task, range(first, last), make)
        print("planted", flush=True)


if __name__ == "__main__":
    main()
