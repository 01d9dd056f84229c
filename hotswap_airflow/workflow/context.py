"""The input of the checks: a workflow file, its folder, and the site for which it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hotswap_airflow.workflow.job_layers import cluster_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.site import ClusterConfig, Site
    from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
    from hotswap_airflow.workflow.text.document import Document, Path


@dataclass(frozen=True)
class FileEntry:
    """A regular file in the folder of a workflow: its path in the folder, its size in bytes, its permission bits."""

    path: str
    size: int
    mode: int


class Folder(Protocol):
    """The folder of a workflow file. Nothing outside it can be read."""

    def walk(self, below: str, depth: int | None) -> Iterator[FileEntry]:
        """Give the files below a folder, down to ``depth`` levels (None: all); empty if there is no such folder."""

    def entry(self, path: str) -> FileEntry | None:
        """Give one regular file, or a link to a regular file inside the folder; None if there is none."""

    def read(self, path: str) -> bytes:
        """Give the content of a file. Only for paths that ``entry`` or ``walk`` returned."""


@dataclass(frozen=True)
class CheckContext:
    """The input of the checks: a file with the layers of one or more environments merged.

    ``spec`` holds only the parts of the file that have the right shape. ``environments`` are those of the site for
    which this text counts; none if no site is known. ``below``: the file's path below the DAGs folder, if it is known.
    """

    document: Document
    spec: WorkflowSpec
    folder: Folder
    site: Site | None = None
    environments: tuple[str, ...] = ()
    has_broken_templates: bool = False
    below: str | None = None

    def clusters_of(self, job: str) -> Iterator[ClusterConfig]:
        """The clusters on which a job runs in the environments; unknown clusters are left out."""
        if self.site is not None:
            homes = (self.site.environments[environment] for environment in self.environments)
            names = dict.fromkeys(cluster_name(self.spec, job, home) for home in homes)
            yield from (self.site.clusters[name] for name in names if name in self.site.clusters)

    def raw(self, *path: str | int) -> Any:
        """The plain value at a path, as written in the file; None if there is none."""
        return self.document.raw(*path)

    def keys_of(self, *path: str | int) -> list[str]:
        """The keys of the map at a path, in file order; empty if there is no map."""
        return self.document.keys_of(*path)

    def spelled_out(self, path: Path, key: str) -> Path:
        """The path of a value that is given alone or under a key: ``x: 1`` is short for ``x: {default: 1}``."""
        return (*path, key) if isinstance(self.raw(*path), dict) else path

    def at_key(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Make a problem at the key of a path."""
        return self.document.at_key(path, code, message, remedy)

    def at_value(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Make a problem at the value of a path."""
        return self.document.at_value(path, code, message, remedy)
