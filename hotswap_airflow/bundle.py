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
from airflow.sdk import get_parsing_context

from hotswap_airflow import discovery
from hotswap_airflow.dag_builder import build_dag, build_reconciling_dag, build_retention_dag
from hotswap_airflow.errors import HotswapError, SetupError, SpecError, StoreError
from hotswap_airflow.operators.slurm import airflow_settings
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.store.contents import ContentStore
from hotswap_airflow.store.scan import FolderScan
from hotswap_airflow.store.versions import (
    MANIFEST,
    REJECTED,
    Entry,
    Manifest,
    ManifestFolder,
    VersionStore,
    merge,
    needed_contents,
    places,
    read_manifest,
)
from hotswap_airflow.workflow.checks import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import implied_site, read_site

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from airflow.sdk import DAG

    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.source import Source

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
        self._scan = FolderScan(self.folder, self._store.contents, settings.site, settings.environment, self._fault)
        self._is_pinned = self.version is not None
        self._current = self.version or self._store.current()
        self._pruned_at = 0.0
        self._followed: dict[str, str] | None = None
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
            stubs = _stubs(manifest) if discovery.mode(airflow_settings().discovery) == "stub" else None
            extra = (stubs or {}) | self._passes(manifest)
            self._current = self._store.publish(manifest, extra)
            files = {name: _stub(path) if stubs else path for name, path in places(manifest).items()}
            self._follow(files, extra)

    def _follow(self, files: dict[str, str], contents: Mapping[str, bytes]) -> None:
        """Let runs that have begun find their Dag's file where it is now. New Dags have none; after a start any may."""
        known = self._followed
        moved = {name: path for name, path in files.items() if known is None or known.get(name, path) != path}
        self._store.follow({name: (path, contents.get(path, b"")) for name, path in moved.items()})
        self._followed = files

    def _fault(self, source: Source) -> str:
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
        return [".yaml", ".json", REJECTED]

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
        if path.suffix == REJECTED:
            result.errors.append(_error(result.file_path, path.read_text(encoding="utf-8")))
            return result
        try:
            dag = load_dag(root, path.relative_to(root).as_posix())
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


def load_dag(root: Path, path: str) -> DAG:
    """The Dag of a workflow of a version. Raises ``SpecError`` and ``StoreError``."""
    contents = ContentStore(airflow_settings().store_path)
    path, entry = _chosen(read_manifest(root), path, _workflow_of_task())
    if not entry.is_valid:
        raise HotswapError(entry.error)
    site = _read_site(contents, entry.site)
    checked = check_workflow(contents.get(entry.text), path, ManifestFolder(contents, entry.files), site)
    if checked.source is None:
        raise SpecError(checked.problems)
    return _make_dag(checked.source, entry.environment, is_deleted=entry.is_deleted, fault=entry.error)


def _workflow_of_task() -> str | None:
    """The workflow whose task this process runs; none elsewhere, as in `airflow dags test`, which names a Dag alone."""
    context = get_parsing_context()
    return context.dag_id if context.task_id else None


def _chosen(manifest: Manifest, path: str, wanted: str | None) -> tuple[str, Entry]:
    """The workflow that a worker wants; in its run's version it may stand elsewhere than the Dag's file is now.

    Raises ``StoreError`` where the version has no such workflow.
    """
    found = manifest.get(path)
    if wanted is not None and (found is None or found.workflow != wanted):
        path = places(manifest).get(wanted, path)
        found = manifest.get(path)
    if found is None:
        raise StoreError(f"this version has no workflow {wanted or path}")
    return path, found


def _make_dag(source: Source, environment: str, *, is_deleted: bool = False, fault: str = "") -> DAG:
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


def _stub(path: str) -> str:
    """The Python file that stands for a workflow file."""
    return f"{path.replace('.', '_')}.py"


def _stubs(manifest: Manifest) -> dict[str, bytes]:
    """Python files that stand for the workflows where YAML is not discovered."""
    stubs = {discovery.STUBS: b""}
    for path, entry in manifest.items():
        text = f"# airflow dag of {path}, made by hotswap of {entry.digest}\n"
        text += f"from {__name__} import load_stub\n\ndag = load_stub(__file__, {path!r})\n"
        stubs[_stub(path)] = text.encode()
        if entry.error and entry.is_valid:
            error = f"# airflow dag of {path}: its newer text is not taken\nraise ImportError({entry.error!r})\n"
            stubs[_stub(path + REJECTED)] = error.encode()
    return stubs


def load_stub(stub: str, path: str) -> DAG | None:
    """The Dag that a stub stands for; none where it is there for runs of another version. Raises ``HotswapError``."""
    root = _version_root(Path(stub))
    if root is None:
        raise StoreError(f"{stub} is not below a version of a hotswap bundle")
    is_for_runs = _workflow_of_task() is None and path not in read_manifest(root)
    return None if is_for_runs else load_dag(root, path)


discovery.install()
registry = get_importer_registry()
if not isinstance(registry.get_importer("x.yaml"), WorkflowImporter):
    registry.register(WorkflowImporter())
