"""Notices of runs that a person ended in the web interface or by the API.

Airflow requests a Dag's callbacks only for runs that its scheduler ends. A run that a person marks as failed or as
succeeded is over at once, so the api-server requests them, as the scheduler would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.listeners import hookimpl
from airflow.listeners.listener import get_listener_manager
from sqlalchemy.orm import object_session

from hotswap_airflow.file_store.versions import is_served

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_BY_A_PERSON = "Dag Run's state was manually set"
"""How the message begins that the api-server gives to listeners. The scheduler gives others."""
REASON = "set by a person"


class ManualEnds:
    """Listens to the ends of runs in the api-server."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Request the callbacks of a run that a person marked as succeeded."""
        _request_callbacks(dag_run, msg, is_success=True)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Request the callbacks of a run that a person marked as failed."""
        _request_callbacks(dag_run, msg, is_success=False)


def listen() -> None:
    """Listen in this process. A second call changes nothing.

    Only the api-server calls this. A plugin's ``listeners`` would be active in all processes, and Airflow refuses some
    Dags of others where any listener is.
    """
    manager = get_listener_manager()
    if not any(isinstance(known, ManualEnds) for known in manager.pm.get_plugins()):
        manager.add_listener(ManualEnds())  # type: ignore[no-untyped-call]


def _request_callbacks(dag_run: DagRun, msg: str, *, is_success: bool) -> None:
    dag = dag_run.dag
    if dag is None or not msg.startswith(_BY_A_PERSON) or not is_served(dag_run.dag_model.relative_fileloc or ""):
        return
    if not (dag.has_on_success_callback if is_success else dag.has_on_failure_callback):
        return
    callback = dag_run.produce_dag_callback(dag=dag, success=is_success, reason=REASON)
    session = object_session(dag_run)
    if callback is not None and session is not None:
        DatabaseCallbackSink().send(callback, session=session)
