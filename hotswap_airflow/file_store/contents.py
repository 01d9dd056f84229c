"""Contents by digest: the contents that a run began with stay readable, even if files are edited later."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.errors import StoreError
from hotswap_airflow.workflow.checks.files import Pack, content_digest, pack_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

    from hotswap_airflow.workflow.checks.files import PackedFile
    from hotswap_airflow.workflow.context import Folder


_OLD = 86_400.0


class ContentStore:
    """A folder of contents, each in a file named after its digest. Several processes may write at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """The path of a content, whether it is there or not."""
        return self.root / "contents" / digest[:2] / digest

    def put(self, content: bytes) -> str:
        """Store a content; give its digest. Raises ``StoreError`` if it cannot be written."""
        digest = content_digest(content)
        path = self.path(digest)
        try:
            if path.exists():
                with contextlib.suppress(PermissionError):  # the file of another user, who also removes old ones
                    os.utime(path)  # it is needed again, so a removal that runs now must leave it
            else:
                write_whole(path, content)
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be written: {error.strerror}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """Give a content. Raises ``StoreError`` if this process cannot read it."""
        try:
            return self.path(digest).read_bytes()
        except OSError as error:
            raise StoreError(
                f"content {digest[:12]} is not in the store {self.root}: set [hotswap] store_path to one persistent "
                "folder that dag-processor, workers and triggerers all see"
            ) from error

    def collect(self, owners: Iterable[Callable[[], Collection[str]]], older_than: float = _OLD) -> int:
        """Remove what no owner needs; each owner gives the digests of its contents. Raises what an owner raises."""
        return self.sweep({digest for owner in owners for digest in owner()}, older_than)

    def sweep(self, needed: Collection[str], older_than: float = _OLD) -> int:
        """Remove contents that are not needed and that were not put for ``older_than`` seconds; give their number."""
        oldest = time.time() - older_than
        gone = [p for p in (self.root / "contents").glob("*/*") if p.name not in needed and _time(p) < oldest]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it first
        return math.inf


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # otherwise a loss of power may leave the name with an empty file
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def installation(store: Path) -> str:
    """A short id of an installation. It is made once and kept in the store."""
    path = store / "installation"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        made = secrets.token_hex(4)
        new = path.with_name(f".installation-{made}")
        write_whole(new, made.encode())
        with contextlib.suppress(FileExistsError):  # another process was first, so its id counts
            os.link(new, path)
        new.unlink()
        return path.read_text(encoding="utf-8").strip()


def put_pack(store: ContentStore, folder: Folder, patterns: list[str]) -> Pack:
    """Store the files that a workflow names, and their listing; if one changes meanwhile, all are read again.

    Raises ``OSError`` if a file cannot be read, and ``StoreError``.
    """
    while True:
        pack = pack_of(folder, patterns)
        if all(store.put(folder.read(file.path)) == file.digest for file in pack.files):
            break
    if pack.files:
        store.put(pack.listing)
    return pack


async def kept_archive(digest: str, store: ContentStore) -> AsyncIterator[bytes]:
    """Stream the pack of a digest, whose listing is in the store; no digest: an empty pack. Raises ``StoreError``."""
    listing = await asyncio.to_thread(store.get, digest) if digest else Pack().listing
    async for chunk in archive(Pack.from_listing(listing), store):
        yield chunk


async def archive(pack: Pack, store: ContentStore) -> AsyncIterator[bytes]:
    """Stream a pack as a tar archive, one file at a time, read outside the event loop. Raises ``StoreError``."""
    for file in pack.files:
        content = await asyncio.to_thread(store.get, file.digest)
        yield _header(file, len(content))
        yield content + bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(file: PackedFile, size: int) -> bytes:
    info = tarfile.TarInfo(file.path)
    info.size = size
    info.mode = 0o755 if file.executable else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)
