"""Versions of a folder of workflows: what a run began with can be read again, even if files are edited later.

A folder version is a manifest. For each path it has the digests of the workflow's text, of every file that it names and
of the site file, and the environment that the workflow was compiled for. The folder of a version holds what Airflow
reads: the texts as Dag files, named after their workflows, and the errors under the users' own paths. Everything else
is in the store of contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hotswap_airflow.errors import StoreError
from hotswap_airflow.file_store.contents import ContentStore, write_whole
from hotswap_airflow.workflow.checks.files import Pack, PackedFile
from hotswap_airflow.workflow.context import FileEntry
from hotswap_airflow.workflow.spec.vocabulary import WORKFLOW_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

MANIFEST = ".hotswap-manifest.json"
_SERVED = ".served"
"""The folder for a version's Dag files. Each is named after its workflow, so it stays in place if users move files."""
STUBS = ".stubs"
"""The folder for the Python files that stand for the workflows of a version, if Airflow finds only such files."""
_GONE = ".deleted"
"""The prefix of a deleted workflow's path if another workflow has taken its own path."""
_YOUNG = 3600.0


@dataclass(frozen=True)
class Entry:
    """One workflow of a version. ``error`` is why its newest text is not used; ``workflow`` is the id of its Dag.

    ``files`` are paths beside the workflow, each with its digest and whether it is executable. ``site`` is the digest
    of the site file, empty if there was none.
    """

    text: str
    workflow: str
    files: tuple[tuple[str, str, bool], ...] = ()
    site: str = ""
    environment: str = ""
    error: str = ""
    is_valid: bool = True
    is_deleted: bool = False

    @property
    def digest(self) -> str:
        """A short text that changes with anything that the workflow is made of."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    @property
    def contents(self) -> set[str]:
        """The digests of everything that is in the store for this workflow."""
        files = tuple(PackedFile(path, digest, executable) for path, digest, executable in self.files)
        pack = {Pack(files).digest} if files else set()
        return {self.text, *pack, *(file.digest for file in files), *({self.site} if self.site else ())}


Manifest = dict[str, Entry]


class ManifestFolder:
    """The folder of a workflow as a version has it."""

    def __init__(self, contents: ContentStore, files: Collection[tuple[str, str, bool]]) -> None:
        self._contents = contents
        self._files = {path: (digest, executable) for path, digest, executable in files}

    def walk(self, below: str, depth: int | None) -> Iterator[FileEntry]:
        """Give the files below a folder."""
        for path in self._files:
            rest = PurePosixPath(path).parts[len(PurePosixPath(below).parts) :]
            if path.startswith(f"{below}/" if below else "") and (depth is None or len(rest) <= depth):
                yield self._entry(path)

    def entry(self, path: str) -> FileEntry | None:
        """Give one file; None if the version has no file of that path."""
        return self._entry(path) if path in self._files else None

    def _entry(self, path: str) -> FileEntry:
        digest, executable = self._files[path]
        return FileEntry(path, self._contents.path(digest).stat().st_size, 0o755 if executable else 0o644)

    def read(self, path: str) -> bytes:
        """Give a file's content."""
        return self._contents.get(self._files[path][0])


def merge(before: Manifest, found: Manifest, is_active: Callable[[str], bool]) -> Manifest:
    """What is served: new texts, the last valid text if the new one is broken, the last text of a deleted workflow.

    A workflow whose file is gone, or holds another workflow now, stays as long as a run of it is active.
    """
    claimed = {entry.workflow for entry in found.values() if entry.is_valid}
    served: Manifest = {}
    for path, entry in found.items():
        old = before.get(path)
        if not entry.is_valid and old is not None and old.is_valid and old.workflow not in claimed:
            served[path] = replace(old, error=entry.error, is_deleted=False)
        else:
            served[path] = entry
    names = set(places(served))
    for path, old in before.items():
        if old.is_valid and old.workflow not in names and is_active(old.workflow):
            place = path if path not in served else f"{_GONE}/{old.workflow}{WORKFLOW_SUFFIXES[0]}"
            served[place] = replace(old, error="", is_deleted=True)
    return served


def places(manifest: Manifest) -> dict[str, str]:
    """The path of each valid workflow of a version, by the workflow's name."""
    return {entry.workflow: path for path, entry in manifest.items() if entry.is_valid}


def dag_file(workflow: str) -> str:
    """The Dag file of a workflow, relative to a version."""
    return f"{_SERVED}/{workflow}{WORKFLOW_SUFFIXES[0]}"


def is_served(path: str) -> bool:
    """Whether a path in a version is a Dag file of a workflow, or the Python file that stands for one."""
    return PurePosixPath(path).parts[:1] in {(_SERVED,), (STUBS,)}


def version_files(path: str, entry: Entry) -> Iterator[str]:
    """The files that Airflow reads of a workflow: its Dag file if it is valid, its own path if there is an error."""
    if entry.is_valid:
        yield dag_file(entry.workflow)
    if entry.error:
        yield path


class VersionStore:
    """The versions of one folder, below ``root``; contents are shared with other folders."""

    def __init__(self, root: Path, contents: ContentStore) -> None:
        self.root = root
        self.contents = contents

    def current(self) -> str | None:
        """The newest version; None before the first."""
        try:
            return (self.root / "current").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def path(self, version: str) -> Path:
        """The folder of a version."""
        return self.root / "versions" / version

    def manifest(self, version: str | None) -> Manifest:
        """The manifest of a version; empty for None. Raises ``StoreError`` if the version is gone."""
        return read_manifest(self.path(version)) if version else {}

    def publish(self, manifest: Manifest, extra: Mapping[str, bytes] | None = None) -> str:
        """Make a version the newest one; changed files get a new time, so that they are parsed again.

        ``extra`` are further files of the version, by path.
        """
        before = self.current()
        version = _digest(manifest, extra or {})
        if version == before:
            return version
        old = self.manifest(before) if before and self.path(before).is_dir() else {}
        changed = {path for path, entry in manifest.items() if old.get(path) != entry}
        if self.path(version).is_dir():  # an edit was undone: runs may be reading the version, so it stays as it is
            names = {name for path in changed for name in version_files(path, manifest[path])}
            names |= {name for name, content in (extra or {}).items() if not _holds(self._file(before, name), content)}
            for name in names:
                os.utime(self.path(version) / name)
        else:
            self._build(version, manifest, before, changed, extra or {})
        write_whole(self.root / "current", version.encode())
        return version

    def _build(
        self, version: str, manifest: Manifest, before: str | None, changed: set[str], extra: Mapping[str, bytes]
    ) -> None:
        target = self.path(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
        new.chmod(0o755)
        for path, entry in manifest.items():
            for name in version_files(path, entry):
                content = entry.error.encode() if name == path else self.contents.get(entry.text)
                _put(new / name, content, None if path in changed else self._file(before, name))
        for name, content in extra.items():
            _put(new / name, content, self._file(before, name))
        write_manifest(new, manifest)
        try:
            new.rename(target)
        except OSError:  # another process made the version first
            shutil.rmtree(new, ignore_errors=True)

    def _file(self, version: str | None, name: str) -> Path | None:
        return self.path(version) / name if version else None

    def prune(self, needed: Collection[str]) -> list[str]:
        """Remove versions that are neither needed nor current nor young; give their names."""
        gone = []
        current = self.current()
        for folder in (self.root / "versions").glob("[!.]*"):
            is_young = time.time() - folder.stat().st_mtime < _YOUNG
            if folder.name not in needed and folder.name != current and not is_young:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        return gone


def _put(target: Path, content: bytes, same: Path | None) -> None:
    """Write a file, or link the file of the version before if it is the same, because its time must not change."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if same is None or not _holds(same, content):
        target.write_bytes(content)
        return
    try:
        os.link(same, target)
    except OSError:  # not every file system has links
        shutil.copy2(same, target)


def _holds(file: Path | None, content: bytes) -> bool:
    return file is not None and file.exists() and file.read_bytes() == content


def _digest(manifest: Manifest, extra: Mapping[str, bytes]) -> str:
    more = {name: content.decode() for name, content in sorted(extra.items())}
    listing = [{path: asdict(entry) for path, entry in sorted(manifest.items())}, more]
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()[:20]


def _versions(root: Path) -> list[Path]:
    """The folders of versions; a folder without a manifest, as after an interrupted removal, is not one of them."""
    return [folder for folder in (root / "versions").glob("[!.]*") if (folder / MANIFEST).exists()]


def needed_contents(bundles: Path) -> set[str]:
    """Digests of every content that a version of any bundle has. Raises ``StoreError``."""
    folders = (folder for bundle in bundles.glob("*") for folder in _versions(bundle))
    return {digest for folder in folders for entry in read_manifest(folder).values() for digest in entry.contents}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version's folder. Raises ``StoreError`` if it is gone."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"version {folder.name} is not in the store: {error.strerror}: {folder}") from error
    return {path: Entry(**{**entry, "files": tuple(map(tuple, entry["files"]))}) for path, entry in data.items()}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a version's folder."""
    data = {path: asdict(entry) for path, entry in manifest.items()}
    write_whole(folder / MANIFEST, json.dumps(data, indent=1).encode())
