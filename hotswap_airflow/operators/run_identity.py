"""Who a run and a try are, from what a worker knows of them."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import Context

NONCE_KEY = "hotswap_run"
_OF_A_SCHEDULE = {"scheduled", "backfill"}


def run_nonce(context: Context) -> str:
    """A text that tells a run from another of the same id, made again after the first was deleted.

    A run that somebody started is told by the microsecond of it. That of a schedule or backfill is not: there it is the
    run's start before any clear, which a clear changes, so every task keeps it in its own state, which survives clears,
    and hands it on to the tasks after it.
    """
    if context["dag_run"].run_after.microsecond and context["dag_run"].run_type not in _OF_A_SCHEDULE:
        return _digest(str(context["dag_run"].run_after))
    store, ti, run = context["task_state_store"], context["ti"], context["dag_run"]
    is_first = ti.try_number <= 1 and not run.clear_number  # nothing can have been kept: each question costs a call
    kept = None if is_first else store.get(NONCE_KEY)
    nonce = kept or _of_other_tasks(context) or _first_start(context)
    if kept is None:
        store.set(NONCE_KEY, nonce, retention=_never_expires())
    if (ti.map_index or 0) <= 0:  # one of a mapped task's is enough
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
    """How many tries were used before the last clear: constant over automatic retries.

    A run that goes on with a newer version of its file may have been begun with fewer ``retries``.
    """
    ti: Any = context["ti"]
    return max(0, int(ti.max_tries) - int(context["task"].retries or 0))


def asked(context: Context) -> str:
    """Who asks for a job: ``<try number> <epoch>``."""
    return f"{context['ti'].try_number} {epoch(context)}"
