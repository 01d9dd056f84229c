"""Read a folder of workflows as it is now; what did not change is not read again."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.errors import HotswapError
from hotswap_airflow.store.folder import DiskFolder
from hotswap_airflow.store.versions import Entry, Manifest
from hotswap_airflow.workflow import vocabulary
from hotswap_airflow.workflow.checks import CheckedWorkflow, check_workflow, taken_names
from hotswap_airflow.workflow.files import Pack, matches, named_paths, pack_of
from hotswap_airflow.workflow.names import stem
from hotswap_airflow.workflow.site import Site, read_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.store.contents import ContentStore

Signature = tuple[object, ...]


@dataclass(frozen=True)
class _Read:
    signature: Signature
    entry: Entry | None
    checked: CheckedWorkflow


class FolderScan:
    """The workflows below a folder, compiled for an environment of a site."""

    def __init__(self, folder: Path, contents: ContentStore, site_file: Path | None, environment: str | None) -> None:
        self.folder = folder
        self._contents = contents
        self._site_file = site_file
        self._environment = environment
        self._site_raw = b""
        self._site: Site | None = None
        self._site_error = ""
        self._seen: dict[str, _Read] = {}

    def scan(self) -> Manifest:
        """Give every workflow of the folder, the broken ones with their error."""
        self._read_site()
        seen: dict[str, _Read] = {}
        for path in workflow_paths(self.folder):
            found = self._read(path)
            if found is not None:
                seen[path] = found
        self._seen = seen
        taken = {problem.file: str(problem) for problem in taken_names([read.checked for read in seen.values()])}
        manifest: Manifest = {}
        for path, read in seen.items():
            if read.entry is not None:
                manifest[path] = replace(read.entry, is_valid=False, error=taken[path]) if path in taken else read.entry
        return manifest

    def _read_site(self) -> None:
        """Read the site file; a broken one makes every workflow wait for its mending."""
        if self._site_file is None:
            return
        try:
            raw = self._site_file.read_bytes()
            if raw != self._site_raw or self._site_error:
                self._site = read_site(raw, str(self._site_file))
            self._site_raw, self._site_error = raw, self._wrong_environment()
        except OSError as error:
            self._site_error = f"{self._site_file}: the site file cannot be read: {error.strerror}"
        except HotswapError as error:
            self._site_error = str(error)

    def _wrong_environment(self) -> str:
        known = self._site.environments if self._site is not None else {}
        if self._environment is None or self._environment in known:
            return ""
        return f"[hotswap] environment is {self._environment!r}, but {self._site_file} has: {', '.join(known)}"

    def _read(self, path: str) -> _Read | None:
        file = self.folder / path
        folder = DiskFolder(file.parent)
        before = self._seen.get(path)
        try:
            signature = (_stat(file), self._site_raw, self._site_error)
            if before is not None and before.signature == (*signature, *_named(folder, before.checked)):
                return before
            raw = file.read_bytes()
        except OSError:
            return None  # deleted while we look
        checked = check_workflow(raw, path, folder, self._site)
        if checked.is_ignored:
            return _Read((*signature, *_named(folder, checked)), None, checked)
        return _Read((*signature, *_named(folder, checked)), self._entry(raw, checked, folder), checked)

    def _entry(self, raw: bytes, checked: CheckedWorkflow, folder: DiskFolder) -> Entry:
        text = self._contents.put(raw)
        site = self._contents.put(self._site_raw) if self._site is not None else ""
        entry = Entry(text, stem(checked.file), site=site, environment=self._environment or "")
        if self._site_error or checked.source is None:
            error = self._site_error or "\n".join(map(str, checked.problems))
            return replace(entry, is_valid=False, error=error)
        spec = checked.source.spec
        pack = self._put_pack(folder, named_paths(spec))
        if pack.files:
            self._contents.put(pack.listing)
        files = tuple((file.path, file.digest, file.executable) for file in pack.files)
        return replace(entry, workflow=spec.name or entry.workflow, files=files)

    def _put_pack(self, folder: DiskFolder, patterns: list[str]) -> Pack:
        """Keep the files that were counted; one that is being written is counted again until it rests."""
        while True:
            pack = pack_of(folder, patterns)
            if all(self._contents.put(folder.read(file.path)) == file.digest for file in pack.files):
                return pack


def workflow_paths(folder: Path) -> list[str]:
    """Paths of workflow files below a folder, relative to it; hidden folders are left out."""
    found = []
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        found += [
            (Path(top) / name).relative_to(folder).as_posix()
            for name in files
            if name.endswith(vocabulary.WORKFLOW_SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def _stat(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _named(folder: DiskFolder, checked: CheckedWorkflow) -> Iterator[object]:
    """What the files that a workflow names look like now."""
    if checked.source is None:
        # What is missing may come: look anew each time.
        yield object() if any(p.code in {"script-missing", "file-missing"} for p in checked.problems) else None
        return
    for pattern in named_paths(checked.source.spec):
        for entry in matches(folder, pattern):
            yield entry.path, entry.mode, _stat(folder.root / entry.path)
