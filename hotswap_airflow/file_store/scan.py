"""Read a folder of workflows as it is now; files that did not change are not read again."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.errors import HotswapError, SetupError
from hotswap_airflow.file_store.contents import put_pack
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.file_store.versions import Entry, Manifest, places
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow, taken_names
from hotswap_airflow.workflow.checks.files import matches
from hotswap_airflow.workflow.checks.names import stem, workflow_name
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hotswap_airflow.file_store.contents import ContentStore
    from hotswap_airflow.workflow.site import Site

_MISSING = frozenset({"script-missing", "file-missing", "sweep-source", "software-source"})
Signature = tuple[object, ...]


@dataclass(frozen=True)
class _Read:
    signature: Signature
    entry: Entry | None
    checked: CheckedWorkflow


class FolderScan:
    """The workflows below a folder, compiled for an environment of a site.

    ``validate`` gives the reason why a workflow that is correct by itself cannot be used; an empty text if it can.
    """

    def __init__(
        self,
        folder: Path,
        contents: ContentStore,
        site_file: Path | None,
        environment: str | None,
        validate: Callable[[CheckedWorkflow, Site | None], str] = lambda *_: "",
    ) -> None:
        self.folder = folder
        self._contents = contents
        self._site_file = site_file
        self._environment = environment
        self._validate = validate
        self._site_raw = b""
        self._site: Site | None = None
        self._site_error = ""
        self._seen: dict[str, _Read] = {}

    def scan(self, before: Manifest) -> Manifest:
        """Give every workflow of the folder; broken ones have their error. ``before`` is what is served now.

        Raises ``SetupError`` if the folder cannot be read.
        """
        self._read_site()
        unread: list[Path] = []
        paths = workflow_paths(self.folder, unread.append)
        reads = {path: read for path in paths if (read := self._read(path, before.get(path))) is not None}
        self._seen = reads
        checked = [read.checked for read in reads.values()]
        taken = {problem.file: str(problem) for problem in taken_names(checked, _held(before, reads))}
        manifest = self._unread(before, unread)
        for path, read in reads.items():
            if read.entry is not None:
                manifest[path] = replace(read.entry, is_valid=False, error=taken[path]) if path in taken else read.entry
        return manifest

    @property
    def site(self) -> str:
        """The digest of the site file that the last scan used; empty if there is none."""
        return self._contents.put(self._site_raw) if self._site is not None else ""

    def _unread(self, before: Manifest, folders: list[Path]) -> Manifest:
        """Broken entries for known workflows in folders that cannot be read now: they may still be there."""
        remedy = "give the dag-processor's user access to it"
        return {
            path: self._broken(path, f"{path}: folder {folder.name} cannot be read; {remedy}")
            for path, entry in before.items()
            for folder in folders
            if (self.folder / path).is_relative_to(folder) and not entry.is_deleted
        }

    def _broken(self, path: str, error: str) -> Entry:
        return Entry(self._contents.put(b""), stem(path), is_valid=False, error=error)

    def _read_site(self) -> None:
        """Read the site file; while it is broken, a scan gives every workflow as not valid."""
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

    def _read(self, path: str, served: Entry | None) -> _Read | None:
        """What a file holds now; None if it was deleted during the scan."""
        try:
            return self._look(path, served)
        except FileNotFoundError as error:
            if Path(error.filename) == self.folder / path:
                return None
            return self._unreadable(path, error)
        except OSError as error:
            return self._unreadable(path, error)

    def _unreadable(self, path: str, error: OSError) -> _Read:
        name = os.path.relpath(error.filename or self.folder / path, self.folder)
        words = f"{path}: {name} cannot be read: {error.strerror}; give the dag-processor's user access to it"
        return _Read((object(),), self._broken(path, words), CheckedWorkflow(path, ()))

    def _look(self, path: str, served: Entry | None) -> _Read:
        file = self.folder / path
        folder = DiskFolder(file.parent)
        before = self._seen.get(path)
        signature = (_stat(file), self._site_raw, self._site_error)
        if (
            before is not None
            and before.signature == (*signature, *_named(folder, before.checked))
            and (before.entry is None or before.entry == served or self._is_kept(before.entry))
        ):
            return before
        raw = file.read_bytes()
        checked = check_workflow(raw, path, folder, self._site, is_served=True)
        entry = None if checked.is_ignored else self._entry(raw, checked, folder, served)
        return _Read((*signature, *_named(folder, checked)), entry, checked)

    def _is_kept(self, entry: Entry) -> bool:
        """Whether the contents of an entry that no version has yet are still in the store."""
        return all(self._contents.path(digest).exists() for digest in entry.contents)

    def _entry(self, raw: bytes, checked: CheckedWorkflow, folder: DiskFolder, served: Entry | None) -> Entry:
        text = self._contents.put(raw)
        entry = Entry(text, stem(checked.file), site=self.site, environment=self._environment or "")
        if self._site_error or checked.context is None:
            error = self._site_error or "\n".join(map(str, checked.problems))
            return replace(entry, is_valid=False, error=error)
        pack = put_pack(self._contents, folder, checked.named_paths)
        files = tuple((file.path, file.digest, file.executable) for file in pack.files)
        entry = replace(entry, workflow=workflow_name(checked.context), files=files)
        error = "" if entry == served else self._validate(checked, self._site)
        return replace(entry, is_valid=False, error=error) if error else entry


def _held(before: Manifest, reads: Mapping[str, _Read]) -> dict[str, str]:
    """Workflow names that are taken: by files that still have this name, and by broken files, which keep their name."""
    held = {}
    for name, path in places(before).items():
        context = reads[path].checked.context if path in reads else None
        if path in reads and (context is None or workflow_name(context) == name):
            held[name] = path
    return held


def workflow_paths(folder: Path, unread: Callable[[Path], None] = lambda _: None) -> list[str]:
    """Paths of workflow files below a folder, relative to it; hidden folders are left out.

    ``unread`` is called with each folder that cannot be read. Raises ``SetupError`` if it is the folder itself.
    """

    def on_error(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise SetupError(f"the folder of workflows {folder} cannot be read: {error.strerror}")
        if not isinstance(error, FileNotFoundError):
            unread(Path(error.filename))

    found = []
    for top, folders, files in os.walk(folder, onerror=on_error):
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
    """The present state of the files that a workflow names."""
    if checked.context is None:
        # A missing file may appear later, so look again each time.
        yield object() if any(p.code in _MISSING for p in checked.problems) else None
        return
    for pattern in checked.named_paths:
        for entry in matches(folder, pattern):
            yield entry.path, entry.mode, _stat(folder.root / entry.path)
