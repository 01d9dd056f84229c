"""A workflow file with all that it is judged by: its folder, and the site it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
    from hotswap_airflow.workflow.text.document import Document, Path


@dataclass(frozen=True)
class FileEntry:
    """A regular file of the workflow's folder: path relative to it, bytes, permission bits."""

    path: str
    size: int
    mode: int


class Folder(Protocol):
    """The folder a workflow file stands in; nothing outside it can be reached."""

    def walk(self, below: str, depth: int | None) -> Iterator[FileEntry]:
        """Give the files below a folder, ``depth`` levels deep (None: all); empty where there is none."""

    def entry(self, path: str) -> FileEntry | None:
        """Give one regular file, also a link to one that stays in the folder."""

    def read(self, path: str) -> bytes:
        """Give a file's content; only for paths that ``entry`` or ``walk`` gave."""


@dataclass(frozen=True)
class CheckContext:
    """What the checks look at. ``spec`` holds only what has the right shape."""

    document: Document
    spec: WorkflowSpec
    folder: Folder
    site: Site | None = None

    def raw(self, *path: str | int) -> Any:
        """The plain value a person wrote at a path; None where there is none."""
        return self.document.raw(*path)

    def keys_of(self, *path: str | int) -> list[str]:
        """The keys a person wrote in a map, in file order; empty where it is none."""
        return self.document.keys_of(*path)

    def spelled_out(self, path: Path, key: str) -> Path:
        """The place of a value that stands alone, or under a key: ``x: 1`` is short for ``x: {default: 1}``."""
        return (*path, key) if isinstance(self.raw(*path), dict) else path

    def at_key(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Say what is wrong at the key of a path."""
        return self.document.at_key(path, code, message, remedy)

    def at_value(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Say what is wrong at the value of a path."""
        return self.document.at_value(path, code, message, remedy)
