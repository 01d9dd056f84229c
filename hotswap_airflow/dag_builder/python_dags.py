"""Workflow files in hand-written Dags: a whole Dag, or a group of tasks beside other tasks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import TaskGroup

from hotswap_airflow.dag_builder.tasks import add_tasks
from hotswap_airflow.dag_builder.workflow import build_dag, make_param
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.contents import ContentStore, put_pack
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from hotswap_airflow.workflow.plan import Plan


def load_workflow(path: str | Path, *, environment: str | None = None) -> DAG:
    """The Dag of a workflow file, for a Python file in the DAGs folder; keep it in a variable of the module.

    ``path`` is relative to the calling file. ``environment`` defaults to ``[hotswap] environment``. Raises
    ``SpecError`` if the file has problems, and ``SetupError``.
    """
    return build_dag(_plan(_beside_caller(path), environment))


def workflow_group(path: str | Path, group_id: str, *, environment: str | None = None) -> TaskGroup:
    """The jobs of a workflow file as a group of tasks of the Dag in whose ``with`` block this is called.

    The parameters of the file become parameters of the Dag, unless the Dag has its own of the same name. What the file
    sets for a Dag as a whole, such as its schedule and notices, does not count. Raises ``SpecError``, ``SetupError``.
    """
    plan = _plan(_beside_caller(path), environment)
    group = TaskGroup(group_id=group_id)
    dag = group.dag
    for name, param in plan.params.items():
        if name not in dag.params:
            dag.params[name] = make_param(param)
    add_tasks(plan, dag=dag, task_group=group)
    return group


def _beside_caller(path: str | Path) -> Path:
    caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001 - the only way to know the calling file
    return Path(caller).parent / path


def _plan(path: Path, environment: str | None) -> Plan:
    """The plan of a file on disk. What the file names goes into the store, from which its jobs get it."""
    settings = airflow_settings()
    try:
        site = read_site(settings.site.read_bytes(), str(settings.site)) if settings.site is not None else None
        raw, folder = path.read_bytes(), DiskFolder(path.parent)
    except OSError as error:
        raise SetupError(f"{error.filename} cannot be read: {error.strerror}") from None
    checked = check_workflow(raw, str(path), folder, site)
    known = site or implied_site(DEFAULT_CONNECTION)
    chosen = environment or settings.environment or known.default_environment
    if chosen not in known.environments:
        raise SetupError(f"there is no environment {chosen!r}; the site has: {', '.join(known.environments)}")
    plan = make_plan(checked, known, chosen)
    return replace(plan, pack=put_pack(ContentStore(settings.store_path), folder, checked.named_paths))
