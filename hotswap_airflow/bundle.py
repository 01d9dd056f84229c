"""The DAGs folder as a versioned bundle whose Dag files are workflow YAML.

Naming ``hotswap_airflow.bundle.WorkflowFolder`` in ``[dag_processor] dag_bundle_config_list`` is all there is to do:
importing this module registers the importer and lets the dag-processor find YAML below our own store.
"""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.dag_processing.importers import (
    AbstractDagImporter,
    DagImportError,
    DagImportResult,
    get_importer_registry,
)

from hotswap_airflow import discovery
from hotswap_airflow.dag_builder import build_dag, build_reconciling_dag, build_retention_dag
from hotswap_airflow.errors import HotswapError, SetupError, SpecError, StoreError
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.file_store.scan import FolderScan
from hotswap_airflow.file_store.versions import (
    MANIFEST,
    Manifest,
    ManifestFolder,
    VersionStore,
    dag_file,
    merge,
    needed_contents,
    places,
    read_manifest,
)
from hotswap_airflow.operators.slurm import airflow_settings
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.checks.names import stem
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from airflow.sdk import DAG

    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.site import Site

REFRESH_INTERVAL = 5
"""Seconds between two looks at the folder."""
_PRUNE_EVERY = 3600.0


class WorkflowFolder(BaseDagBundle):
    """A folder of workflows. ``folder`` defaults to Airflow's DAGs folder."""

    supports_versioning = True

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        # Airflow's own default, five minutes, is when a person would first see an edit.
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
        """Make the folder of our version readable. Raises ``StoreError`` where a pinned one is gone."""
        if not self._is_pinned:
            # Only the dag-processor makes versions; whoever else comes takes what is there.
            self._current = self._store.current()
            if self._current is None:
                self._publish()
            self.version = self._current
        elif not self.path.is_dir():
            raise StoreError(
                f"version {self.version} of bundle {self.name} is not in {self._store.root}: let [hotswap] store_path "
                "name one persistent folder that dag-processor and workers both see"
            )
        super().initialize()

    @property
    def path(self) -> Path:
        """The folder of our version."""
        return self._store.path(self._current or "none")

    def get_current_version(self) -> BundleVersion | None:
        """Our version."""
        return BundleVersion(self._current) if self._current else None

    def refresh(self) -> None:
        """Look at the folder and make a version of what it holds now. Runs in the dag-processor only."""
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
            stubs = _stubs(manifest, discovery.mode(airflow_settings().discovery))
            self._current = self._store.publish(manifest, stubs | self._passes(manifest))

    def _airflow_refusal(self, source: CheckContext) -> str:
        """Why Airflow does not take a workflow; the empty text where it does."""
        try:
            _make_dag(source, self._environment).validate()  # type: ignore[no-untyped-call]
        except HotswapError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever Airflow says of one file must not hide the others
            return f"{source.document.file}: Airflow does not take this workflow: {type(error).__name__}: {error}"
        return ""

    def _passes(self, manifest: Manifest) -> dict[str, bytes]:
        """The Dag file of the passes over clusters, in the first of our bundles and where any has a workflow."""
        bundles: Any = conf.getjson("dag_processor", "dag_bundle_config_list") or []
        ours = [entry["name"] for entry in bundles if str(entry["classpath"]).startswith(f"{__name__}.")]
        schedule = airflow_settings().reconcile
        if ours[:1] != [self.name] or not (manifest or any(map(self._has_workflows, ours))):
            return {}
        site = self._scan.site or next((entry.site for entry in manifest.values() if entry.site), "")
        if schedule is None and not any(load_passes(site, schedule)):
            return {}
        text = f"# airflow dag: the passes over clusters\nfrom {__name__} import load_passes\n\n"
        return {"hotswap_passes.py": f"{text}reconcile, retention = load_passes({site!r}, {schedule!r})\n".encode()}

    def _has_workflows(self, bundle: str) -> bool:
        store = VersionStore(self._store.root.parent / bundle, self._store.contents)
        return bool(store.manifest(store.current()))

    def _is_active(self, dag_id: str) -> bool:
        """Whether a run of a Dag has not ended; asked in the dag-processor's manager, which has the database."""
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
            contents.sweep(needed_contents(contents.root / "bundles"))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold a store alone: a version that is made must not lose contents to a sweep."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class WorkflowImporter(AbstractDagImporter):
    """Makes Dags of the workflow files of a version."""

    @classmethod
    def supported_extensions(cls) -> list[str]:
        """What Airflow hands to us; other YAML is passed over."""
        return [".yaml", ".json"]

    def list_dag_files(self, directory: str | os.PathLike[str], safe_mode: bool = True) -> Iterator[str]:  # noqa: ARG002, FBT001, FBT002
        """Give the workflow files of a version; nothing for any other folder."""
        yield from discovery.dag_files(Path(directory))

    def import_file(
        self,
        file_path: str | Path,
        *,
        bundle_path: Path | None = None,
        bundle_name: str | None = None,  # noqa: ARG002
        safe_mode: bool = True,  # noqa: ARG002
    ) -> DagImportResult:
        """Make the Dag of a file, or say what is wrong with it under its own name."""
        path = Path(file_path)
        result = DagImportResult(file_path=self.get_relative_path(path, bundle_path))
        root = _version_root(path)
        if root is None:
            return result
        place = path.relative_to(root).as_posix()
        try:
            dag = load_dag(root, _workflow_of(root, place))
        except HotswapError as error:
            result.errors.append(_error(result.file_path, str(error)))
        else:
            dag.fileloc, dag.relative_fileloc = str(path), result.file_path
            result.dags.append(dag)
        return result


def _error(path: str, text: str) -> DagImportError:
    return DagImportError(file_path=path, message=text, error_type="workflow", stacktrace=text)


def _version_root(path: Path) -> Path | None:
    return next((folder for folder in path.parents if (folder / MANIFEST).exists()), None)


def _workflow_of(root: Path, path: str) -> str:
    """The workflow of a Dag file. Raises ``HotswapError`` with the error that another file of a version has."""
    if dag_file(stem(path)) == path:
        return stem(path)
    entry = read_manifest(root).get(path)
    raise HotswapError(entry.error if entry else f"this version has no file {path}")


def load_dag(root: Path, workflow: str) -> DAG:
    """The Dag of a workflow of a version. Raises ``SpecError``; ``StoreError`` where there is no such workflow."""
    contents = ContentStore(airflow_settings().store_path)
    manifest = read_manifest(root)
    path = places(manifest).get(workflow)
    if path is None:
        raise StoreError(f"this version has no workflow {workflow}")
    entry = manifest[path]
    site = _read_site(contents, entry.site)
    checked = check_workflow(contents.get(entry.text), path, ManifestFolder(contents, entry.files), site)
    if checked.source is None:
        raise SpecError(checked.problems)
    return _make_dag(checked.source, entry.environment, is_deleted=entry.is_deleted, fault=entry.error)


def _make_dag(source: CheckContext, environment: str, *, is_deleted: bool = False, fault: str = "") -> DAG:
    """The Dag of a workflow that was checked. Raises ``SpecError`` and ``SetupError``."""
    site = source.site or implied_site(DEFAULT_CONNECTION)
    environment = environment or site.default_environment
    if environment not in site.environments:
        raise SetupError(f"[hotswap] environment is {environment!r}, but the site has: {', '.join(site.environments)}")
    return build_dag(make_plan(source, site, environment), site, is_deleted=is_deleted, fault=fault)


def _read_site(contents: ContentStore, digest: str) -> Site | None:
    return read_site(contents.get(digest), "site.yaml") if digest else None


def load_passes(digest: str, schedule: str | None) -> tuple[DAG | None, DAG | None]:
    """The Dags of the reconciling and of the retention pass for a site file by digest. Raises ``StoreError``."""
    contents = ContentStore(airflow_settings().store_path)
    site = _read_site(contents, digest) or implied_site(DEFAULT_CONNECTION)
    return build_reconciling_dag(site, schedule) if schedule else None, build_retention_dag(site)


def _stubs(manifest: Manifest, mode: discovery.Mode) -> dict[str, bytes]:
    """Python files that stand for the workflows where YAML is not discovered.

    Those of Dags are in each version: a run that began while YAML was found may end while it is not.
    """
    stubs = discovery.marks(mode)
    for path, entry in manifest.items():
        if entry.is_valid:
            text = f"# airflow dag of {path}, made by hotswap of {entry.digest}\n"
            text += f"from {__name__} import load_stub\n\ndag = load_stub(__file__, {entry.workflow!r})\n"
            stubs[discovery.stub(entry.workflow)] = text.encode()
        if entry.error and mode == "stub":
            error = f"# airflow dag of {path}: its newest text is not taken\nraise ImportError({entry.error!r})\n"
            stubs[f"{path.replace('.', '_')}.py"] = error.encode()
    return stubs


def load_stub(stub: str, workflow: str) -> DAG:
    """The Dag that a stub stands for. Raises ``HotswapError``."""
    root = _version_root(Path(stub))
    if root is None:
        raise StoreError(f"{stub} is not below a version of a hotswap bundle")
    return load_dag(root, workflow)


discovery.install()
registry = get_importer_registry()
if not isinstance(registry.get_importer("x.yaml"), WorkflowImporter):
    registry.register(WorkflowImporter())
