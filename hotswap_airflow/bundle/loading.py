"""From a file of a version to a Dag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.dag_builder.workflow import build_dag
from hotswap_airflow.errors import SetupError, StoreError
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.file_store.versions import MANIFEST, ManifestFolder, places, read_manifest
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

    from hotswap_airflow.workflow.checked import CheckedWorkflow
    from hotswap_airflow.workflow.site import Site


def version_root(path: Path) -> Path | None:
    """The folder of the version that a file belongs to; None if it belongs to none."""
    return next((folder for folder in path.parents if (folder / MANIFEST).exists()), None)


def load_dag(root: Path, workflow: str) -> DAG:
    """The Dag of a workflow of a version. Raises ``SpecError``; ``StoreError`` if there is no such workflow."""
    contents = ContentStore(airflow_settings().store_path)
    manifest = read_manifest(root)
    path = places(manifest).get(workflow)
    if path is None:
        raise StoreError(f"this version has no workflow {workflow}")
    entry = manifest[path]
    site = site_of(contents, entry.site)
    files = ManifestFolder(contents, entry.files)
    checked = check_workflow(contents.get(entry.text), path, files, site, is_served=True)
    return make_dag(checked, site, entry.environment, is_deleted=entry.is_deleted, fault=entry.error)


def make_dag(
    checked: CheckedWorkflow, site: Site | None, environment: str, *, is_deleted: bool = False, fault: str = ""
) -> DAG:
    """The Dag of a workflow in an environment. Raises ``SpecError`` and ``SetupError``."""
    site = site or implied_site(DEFAULT_CONNECTION)
    environment = environment or site.default_environment
    if environment not in site.environments:
        raise SetupError(f"[hotswap] environment is {environment!r}, but the site has: {', '.join(site.environments)}")
    return build_dag(make_plan(checked, site, environment), is_deleted=is_deleted, fault=fault)


def site_of(contents: ContentStore, digest: str) -> Site | None:
    """The site of a site file by digest; None for the empty digest. Raises ``SpecError`` and ``StoreError``."""
    return read_site(contents.get(digest), "site.yaml") if digest else None
