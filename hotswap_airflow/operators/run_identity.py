"""Who a run and a try are, from what a worker knows of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import Context

NONCE_KEY = "hotswap_run"


def run_nonce(context: Context) -> str:
    """A text that tells a run from another of the same id, made again after the first was deleted.

    It is the run's start before any clear, which a clear changes: so every task keeps it in its own state,
    which survives clears, and hands it on to the tasks after it.
    """
    store = context["task_state_store"]
    nonce = store.get(NONCE_KEY) or _of_other_tasks(context) or _first_start(context)
    store.set(NONCE_KEY, nonce, retention=_never_expires())
    context["ti"].xcom_push(NONCE_KEY, nonce)
    return str(nonce)


def _never_expires() -> Any:
    from airflow.sdk.execution_time import context

    return context.NEVER_EXPIRE


def _of_other_tasks(context: Context) -> str | None:
    run = context["dag_run"]
    if not run.clear_number:
        return None
    for task_id in context["dag"].task_ids:
        found: Any = XCom.get_one(key=NONCE_KEY, dag_id=run.dag_id, run_id=run.run_id, task_id=task_id)
        if found:
            return str(found)
    return None


def _first_start(context: Context) -> str:
    run = context["dag_run"]
    text = f"{run.run_after}|{run.start_date}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def epoch(context: Context) -> int:
    """How many tries were used before the last clear: constant over automatic retries."""
    ti: Any = context["ti"]
    return int(ti.max_tries) - int(context["task"].retries or 0)


def asked(context: Context) -> str:
    """Who asks for a job: ``<try number> <clear number>``."""
    return f"{context['ti'].try_number} {context['dag_run'].clear_number or 0}"
