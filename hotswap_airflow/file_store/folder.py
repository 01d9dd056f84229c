"""A folder on disk, and nothing outside it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.workflow.context import FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterator


class DiskFolder:
    """The folder of a workflow file. A link counts as a file if its target is in the folder.

    Raises ``OSError`` for a file that cannot be looked at, because it is not known to be missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = Path(os.path.realpath(root))

    def walk(self, below: str, depth: int | None) -> Iterator[FileEntry]:
        """Give the files below a folder, in order of their paths."""
        top = self.root / below
        if "\0" not in below and self._inside(top):
            yield from self._walk(top, depth)

    def _walk(self, folder: Path, depth: int | None) -> Iterator[FileEntry]:
        try:
            paths = sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                if depth is None or depth > 1:
                    yield from self._walk(path, None if depth is None else depth - 1)
            elif (found := self._entry(path)) is not None:
                yield found

    def entry(self, path: str) -> FileEntry | None:
        """Give one regular file of the folder; None if there is none."""
        return self._entry(self.root / path)

    def _entry(self, path: Path) -> FileEntry | None:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise
        if not stat.S_ISREG(status.st_mode) or not self._inside(path):
            return None
        return FileEntry(path.relative_to(self.root).as_posix(), status.st_size, stat.S_IMODE(status.st_mode))

    def _inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._real)

    def read(self, path: str) -> bytes:
        """Give a file's content."""
        return (self.root / path).read_bytes()
