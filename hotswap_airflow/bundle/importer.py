"""Makes Dags from the workflow files of a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.dag_processing.importers import (
    AbstractDagImporter,
    DagImportError,
    DagImportResult,
    get_importer_registry,
)

from hotswap_airflow.bundle import discovery
from hotswap_airflow.bundle.loading import load_dag, version_root
from hotswap_airflow.errors import HotswapError
from hotswap_airflow.file_store.versions import dag_file, read_manifest
from hotswap_airflow.workflow.checks.names import stem

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


class WorkflowImporter(AbstractDagImporter):
    """Makes Dags from the workflow files of a version."""

    @classmethod
    def supported_extensions(cls) -> list[str]:
        """The extensions of files that Airflow passes to this class; other YAML files give no Dag."""
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
        """Make the Dag of a file, or return what is wrong with the file under its own name."""
        path = Path(file_path)
        result = DagImportResult(file_path=self.get_relative_path(path, bundle_path))
        root = version_root(path)
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


def _workflow_of(root: Path, path: str) -> str:
    """The workflow of a Dag file. For any other file raises ``HotswapError`` with the error noted in the version."""
    if dag_file(stem(path)) == path:
        return stem(path)
    entry = read_manifest(root).get(path)
    raise HotswapError(entry.error if entry else f"this version has no file {path}")


def register() -> None:
    """Let Airflow pass YAML files to us. A second call changes nothing."""
    registry = get_importer_registry()
    if not isinstance(registry.get_importer("x.yaml"), WorkflowImporter):
        registry.register(WorkflowImporter())
