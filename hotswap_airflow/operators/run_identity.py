"""The identity of a run and of a try, from what a worker knows of them."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom

from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.slurm.identity import JobKey, RunKey

if TYPE_CHECKING:
    from airflow.sdk import Context

    from hotswap_airflow.settings import Settings

NONCE_KEY = "hotswap_run"
_OF_A_SCHEDULE = {"scheduled", "backfill"}


def run_nonce(context: Context) -> str:
    """A text that distinguishes a run from another run of the same id, which was deleted before.

    Manual runs: their ``run_after`` has microseconds and is unique. Scheduled and backfill runs: use the first start of
    the run. A clear changes the start, so each task stores the text in its own state, which survives clears, and passes
    it to other tasks by XCom.
    """
    if context["dag_run"].run_after.microsecond and context["dag_run"].run_type not in _OF_A_SCHEDULE:
        return _digest(str(context["dag_run"].run_after))
    store, ti, run = context["task_state_store"], context["ti"], context["dag_run"]
    is_first = ti.try_number <= 1 and not run.clear_number  # nothing can be stored yet, and each look-up costs a call
    kept = None if is_first else store.get(NONCE_KEY)
    nonce = kept or _of_other_tasks(context) or _first_start(context)
    if kept is None:
        store.set(NONCE_KEY, nonce, retention=_never_expires())
    if (ti.map_index or 0) <= 0:  # one index of a mapped task is enough
        ti.xcom_push(NONCE_KEY, nonce)
    return str(nonce)


def _never_expires() -> Any:
    from airflow.sdk.execution_time import context

    return context.NEVER_EXPIRE


def _of_other_tasks(context: Context) -> str | None:
    run = context["dag_run"]
    if not run.clear_number:
        return None
    ids = {"key": NONCE_KEY, "dag_id": run.dag_id, "run_id": run.run_id}
    for task_id, index in itertools.product(context["dag"].task_ids, (-1, 0)):
        found: Any = XCom.get_one(task_id=task_id, map_index=index, **ids)
        if found:
            return str(found)
    return None


def _first_start(context: Context) -> str:
    run = context["dag_run"]
    return _digest(f"{run.run_after}|{run.start_date}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def epoch(context: Context) -> int:
    """The number of tries used before the last clear. It stays the same over automatic retries.

    It is at least 0: a run that goes on with a newer version of its file may have begun with fewer ``retries``.
    """
    ti: Any = context["ti"]
    return max(0, int(ti.max_tries) - int(context["task"].retries or 0))


def job_key(context: Context, settings: Settings, environment: str) -> JobKey:
    """The key of the job of a task."""
    ti = context["ti"]
    run = RunKey(
        installation=installation(settings.store_path),
        workflow=ti.dag_id,
        environment=environment,
        run=ti.run_id,
        nonce=run_nonce(context),
    )
    return JobKey(run, ti.task_id, -1 if ti.map_index is None else ti.map_index, epoch(context))


def asked(context: Context) -> str:
    """The attempt that requests a job: ``<try number> <epoch>``."""
    return f"{context['ti'].try_number} {epoch(context)}"
