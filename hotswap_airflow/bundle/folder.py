"""The DAGs folder as a versioned bundle whose Dag files are workflow YAML."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from hotswap_airflow.bundle import discovery
from hotswap_airflow.bundle.generated import maintenance_file, stubs
from hotswap_airflow.bundle.loading import make_dag
from hotswap_airflow.errors import HotswapError, StoreError
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.file_store.scan import FolderScan
from hotswap_airflow.file_store.versions import VersionStore, merge, needed_contents
from hotswap_airflow.hooks.settings import airflow_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.file_store.versions import Manifest
    from hotswap_airflow.workflow.checked import CheckedWorkflow
    from hotswap_airflow.workflow.site import Site

_CLASSES = "hotswap_airflow.bundle."
"""The beginning of our bundles' class paths in Airflow's configuration."""
REFRESH_INTERVAL = 5
"""Seconds between two scans of the folder."""
_PRUNE_EVERY = 3600.0


class WorkflowFolder(BaseDagBundle):
    """A folder of workflows. ``folder`` defaults to Airflow's DAGs folder."""

    supports_versioning = True

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        # With Airflow's own default, five minutes, a person would see an edit only after that time.
        super().__init__(**{"refresh_interval": REFRESH_INTERVAL, **kwargs})
        settings = airflow_settings()
        self.folder = Path(folder or conf.get_mandatory_value("core", "dags_folder")).expanduser()
        self._store = VersionStore(settings.store_path / "bundles" / self.name, ContentStore(settings.store_path))
        self._environment = settings.environment or ""
        self._scan = FolderScan(
            self.folder, self._store.contents, settings.site, settings.environment, self._airflow_refusal
        )
        self._is_pinned = self.version is not None
        self._current = self.version or self._store.current()
        self._pruned_at = 0.0
        discovery.serve(self.folder, self._store)

    def initialize(self) -> None:
        """Make the folder of our version readable. Raises ``StoreError`` if a pinned version is gone."""
        if not self._is_pinned:
            # Only the dag-processor's refresh makes newer versions; here only the first one is made, if there is none.
            self._current = self._store.current()
            if self._current is None:
                self._publish()
            self.version = self._current
        elif not self.path.is_dir():
            raise StoreError(
                f"version {self.version} of bundle {self.name} is not in {self._store.root}: set [hotswap] store_path "
                "to one persistent folder that dag-processor and workers both see"
            )
        super().initialize()

    @property
    def path(self) -> Path:
        """The folder of our version."""
        return self._store.path(self._current or "none")

    def get_current_version(self) -> BundleVersion | None:
        """Our version; None if there is none yet."""
        return BundleVersion(self._current) if self._current else None

    def refresh(self) -> None:
        """Scan the folder and make a version of its present content. Runs in the dag-processor only."""
        if self._is_pinned:
            raise StoreError(f"version {self.version} of bundle {self.name} is pinned")
        discovery.guard()
        self._publish()
        self.version = self._current
        self._prune()

    def _publish(self) -> None:
        with _locked(self._store.contents.root):
            before = self._store.manifest(self._store.current())
            manifest = merge(before, self._scan.scan(before), self._is_active)
            generated = stubs(manifest, discovery.mode(airflow_settings().discovery))
            self._current = self._store.publish(manifest, generated | self._maintenance(manifest))

    def _airflow_refusal(self, checked: CheckedWorkflow, site: Site | None) -> str:
        """Why Airflow does not accept a workflow; an empty text if it does."""
        try:
            make_dag(checked, site, self._environment).validate()  # type: ignore[no-untyped-call]
        except HotswapError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - an error of Airflow in one file must not hide the other files
            return f"{checked.file}: Airflow does not accept this workflow: {type(error).__name__}: {error}"
        return ""

    def _maintenance(self, manifest: Manifest) -> dict[str, bytes]:
        """The Dag file of the maintenance Dags; only in the first of our bundles, and if any bundle has a workflow."""
        bundles: Any = conf.getjson("dag_processor", "dag_bundle_config_list") or []
        ours = [entry["name"] for entry in bundles if str(entry["classpath"]).startswith(_CLASSES)]
        if ours[:1] != [self.name] or not (manifest or any(map(self._has_workflows, ours))):
            return {}
        site = self._scan.site or next((entry.site for entry in manifest.values() if entry.site), "")
        return maintenance_file(site, airflow_settings())

    def _has_workflows(self, bundle: str) -> bool:
        store = VersionStore(self._store.root.parent / bundle, self._store.contents)
        return bool(store.manifest(store.current()))

    def _is_active(self, dag_id: str) -> bool:
        """Whether a run of a Dag has not ended; called in the dag-processor's manager, which has the database."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from sqlalchemy import select

        active = (DagRunState.QUEUED, DagRunState.RUNNING)
        query = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.state.in_(active)).limit(1)
        with create_session() as session:
            return session.execute(query).first() is not None

    def _prune(self) -> None:
        """Remove versions that no run can need any more, and contents that no version has."""
        if time.monotonic() - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = time.monotonic()
        from airflow.models.dag import DagModel
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            needed = set(session.scalars(select(DagRun.bundle_version).distinct()))
            needed |= set(session.scalars(select(DagModel.bundle_version).distinct()))
        contents = self._store.contents
        with _locked(contents.root):
            self._store.prune({version for version in needed if version})
            contents.collect([partial(needed_contents, contents.root / "bundles")])


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Lock a store: a version that is being made must not lose contents to a removal."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
