"""Python files that we write into versions, and the functions that they call.

A version outlives the program that wrote it. So these functions keep their names and arguments, and accept what an
older program wrote.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.bundle import discovery
from hotswap_airflow.bundle.loading import load_dag, site_of, version_root
from hotswap_airflow.dag_builder.maintenance import build_maintenance_dag
from hotswap_airflow.dag_builder.maintenance_dags import MAINTENANCE_DAGS
from hotswap_airflow.errors import StoreError
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.workflow.site import implied_site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import DAG

    from hotswap_airflow.file_store.versions import Manifest
    from hotswap_airflow.settings import Settings
    from hotswap_airflow.workflow.site import Site

MAINTENANCE_FILE = "hotswap_maintenance.py"
_PACKAGE = "hotswap_airflow.bundle"
"""The package in which the files find these functions, whatever module has them today."""


def stubs(manifest: Manifest, mode: discovery.Mode) -> dict[str, bytes]:
    """Python files that stand for the workflows if YAML is not discovered.

    The stubs of Dags are in each version: a run may begin while YAML is discovered and end while it is not.
    """
    files = discovery.marks(mode)
    for path, entry in manifest.items():
        if entry.is_valid:
            text = f"# airflow dag of {path}, made by hotswap of {entry.digest}\n"
            text += f"from {_PACKAGE} import load_stub\n\ndag = load_stub(__file__, {entry.workflow!r})\n"
            files[discovery.stub(entry.workflow)] = text.encode()
        if entry.error and mode == "stub":
            error = f"# airflow dag of {path}: its newest text is not taken\nraise ImportError({entry.error!r})\n"
            files[f"{path.replace('.', '_')}.py"] = error.encode()
    return files


def load_stub(stub: str, workflow: str) -> DAG:
    """The Dag that a stub stands for. Raises ``HotswapError``."""
    root = version_root(Path(stub))
    if root is None:
        raise StoreError(f"{stub} is not below a version of a hotswap bundle")
    return load_dag(root, workflow)


def maintenance_file(site: str, settings: Settings) -> dict[str, bytes]:
    """The Dag file of the maintenance Dags for a site file, given by its digest; nothing if no such Dag is wanted."""
    schedules = {entry.dag_id: cron for entry in MAINTENANCE_DAGS if (cron := entry.schedule(settings)) is not None}
    values = {"site": site, "schedules": schedules}
    if not _is_wanted(site, tuple(schedules)):
        return {}
    text = f"# airflow dag: maintenance of clusters\nfrom {_PACKAGE} import maintenance_dags\n\n"
    return {MAINTENANCE_FILE: f"{text}globals().update(maintenance_dags({values!r}))\n".encode()}


@lru_cache(maxsize=8)
def _is_wanted(site: str, dag_ids: tuple[str, ...]) -> bool:
    """Whether a cluster needs one of the Dags. Kept, since the folder is looked at every few seconds."""
    clusters = _site(site).clusters.values()
    entries = (entry for entry in MAINTENANCE_DAGS if entry.dag_id in dag_ids)
    return any(entry.arguments(cluster) is not None for entry in entries for cluster in clusters)


def _site(digest: str) -> Site:
    return site_of(ContentStore(airflow_settings().store_path), digest) or implied_site(DEFAULT_CONNECTION)


def maintenance_dags(values: Mapping[str, Any]) -> dict[str, DAG]:
    """The maintenance Dags by name: ``site`` is a site file's digest, ``schedules`` are crons by Dag id.

    Raises ``StoreError``.
    """
    site, schedules = _site(values["site"]), values["schedules"]
    wanted = (entry for entry in MAINTENANCE_DAGS if entry.dag_id in schedules)
    built = (build_maintenance_dag(entry, site, schedules[entry.dag_id]) for entry in wanted)
    return {dag.dag_id.replace("-", "_"): dag for dag in built if dag is not None}
