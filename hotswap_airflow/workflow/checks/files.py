"""The files of a workflow: the files that its patterns name, and one digest for all of them."""

from __future__ import annotations

import codecs
import hashlib
import json
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.paths import literal_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext, FileEntry, Folder
    from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec

MAX_FILES = 2_000
MAX_BYTES = 100 * 1024**2
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, order=True)
class PackedFile:
    """A file of a pack: its path in the run directory, the sha256 of its content, and whether it is executable."""

    path: str
    digest: str
    executable: bool


@dataclass(frozen=True)
class Pack:
    """The files that a workflow names, by path. The same files have the same digest everywhere."""

    files: tuple[PackedFile, ...] = ()

    @property
    def listing(self) -> bytes:
        """The path, digest and executable flag of each file as JSON; the store keeps it under the pack's digest."""
        return json.dumps([[f.path, f.digest, f.executable] for f in self.files]).encode()

    @property
    def digest(self) -> str:
        """The digest of the listing; an empty text if there are no files."""
        return content_digest(self.listing) if self.files else ""

    @classmethod
    def from_listing(cls, listing: bytes) -> Pack:
        """Make a pack from its ``listing``."""
        return cls(tuple(PackedFile(*entry) for entry in json.loads(listing)))


def content_digest(content: bytes) -> str:
    """The sha256 of a content, which is its name in the store."""
    return hashlib.sha256(content).hexdigest()


def leads_out(path: str) -> bool:
    """Whether a relative path leaves its folder, or is absolute.

    >>> leads_out("a/../../b"), leads_out("a/../b")
    (True, False)
    """
    return path.startswith("/") or posixpath.normpath(path).split("/")[0] == ".."


def matches(folder: Folder, pattern: str) -> Iterator[FileEntry]:
    """Give the files that a path or glob names. A folder means all files below it."""
    pattern = posixpath.normpath(pattern)
    found = folder.entry(pattern)
    if found is not None:  # also if its name looks like a glob
        yield found
        return
    if not _WILD.search(pattern):
        pattern = "**" if pattern == "." else f"{pattern}/**"
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if _WILD.search(part))
    depth = None if "**" in parts else len(parts) - fixed
    below = "/".join(parts[:fixed])
    wanted = _compiled(tuple(parts[fixed:]))
    for entry in folder.walk(below, depth):
        rest = entry.path.removeprefix(f"{below}/") if below else entry.path
        if wanted.fullmatch(rest):
            yield entry


def _compiled(parts: tuple[str, ...]) -> re.Pattern[str]:
    """The regular expression of a glob. It matches hidden files and ``__pycache__`` only if the glob names them."""
    expression = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            any_folders = r"(?:(?!\.|__pycache__/)[^/]+/)*"
            expression += any_folders + (r"(?!\.)[^/]+" if last else "")
        else:
            expression += _part(part) + ("" if last else "/")
    return re.compile(expression)


def _part(part: str) -> str:
    guard = "" if part.startswith(".") else r"(?!\.)"
    guard += "" if "__pycache__" in part else r"(?!__pycache__(?:/|$))"
    text = ""
    position = 0
    while position < len(part):
        char = part[position]
        end = part.find("]", position + 2) if char == "[" else -1
        if char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif end > 0:
            inner = part[position + 1 : end].replace("\\", "\\\\")
            text += f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            position = end
        else:
            text += re.escape(char)
        position += 1
    return guard + text


def check_paths(context: CheckContext) -> Iterator[Problem]:
    """Find paths with parts that would have to be replaced: nothing is replaced in a path."""
    for place, path in _paths(context):
        if fault := literal_fault(path):
            words, remedy = fault
            is_beside = place[0] == "files" or place[-1] in {"script", "from"}
            if is_beside and path.startswith("~"):
                remedy = "put it beside the workflow file, and write its path from there"
            yield context.at_value(place, "wrong-type", words, remedy)


def check_files(context: CheckContext) -> Iterator[Problem]:
    """Find problems in ``files``, in every ``script``, and in the text of every ``run``."""
    for job, body in context.spec.jobs.items():
        if body.script is not None:
            yield from _script(context, job, body.script)
        elif fault := script_fault((body.run or "").encode("utf-8", "surrogatepass")):
            yield context.at_value(("jobs", job, "run"), "wrong-type", *fault)
    seen: dict[str, int] = {}
    is_too_much = False
    for index, pattern in enumerate(context.spec.files):
        if pattern and context.raw("files", index) is not None:
            entries = [] if leads_out(pattern) else list(matches(context.folder, pattern))
            yield from _item(context, index, pattern, entries)
            seen.update((entry.path, entry.size) for entry in entries)
            if not is_too_much and (len(seen) > MAX_FILES or sum(seen.values()) > MAX_BYTES):
                is_too_much = True
                megabytes = sum(seen.values()) / 1024**2
                words = f"with `{pattern}` the workflow has {len(seen)} files and {megabytes:.0f} MB"
                remedy = f"at most {MAX_FILES} files and {MAX_BYTES // 1024**2} MB: keep data on the cluster"
                yield context.at_value(("files", index), "files-too-large", words, remedy)
    yield from _overwritten(context, set(seen))


def _paths(context: CheckContext) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every path that a workflow names, with its place."""
    yield from ((("files", index), pattern) for index, pattern in enumerate(context.spec.files))
    for job, body in context.spec.jobs.items():
        if body.script is not None:
            yield ("jobs", job, "script"), body.script
        for kind, items in (("inputs", body.inputs), ("outputs", body.outputs)):
            for name, item in items.items():
                if item.path is not None:
                    yield context.spelled_out(("jobs", job, kind, name), "path"), item.path
        for name, axis in (body.sweep.over if body.sweep is not None else {}).items():
            if axis.source is not None and axis.reference is None:
                yield ("jobs", job, "sweep", "over", name, "from"), axis.source


def _script(context: CheckContext, job: str, path: str) -> Iterator[Problem]:
    place = ("jobs", job, "script")
    if leads_out(path):
        words = f"`{path}` must lie in the folder of the workflow"
        yield context.at_value(place, "script-missing", words, "move it into the folder, beside the workflow")
    elif context.folder.entry(posixpath.normpath(path)) is None:
        words = f"there is no file `{path}`"
        yield context.at_value(place, "script-missing", words, "put it beside the workflow file, or correct the path")
    elif fault := script_fault(context.folder.read(posixpath.normpath(path))):
        words, remedy = fault
        yield context.at_value(place, "wrong-type", f"`{path}`: {words}", remedy)


def script_fault(content: bytes) -> tuple[str, str] | None:
    r"""Why a node cannot run a script as it was saved, in sbatch's own words, and the remedy; None for binary files.

    >>> script_fault(b"#!/bin/sh\r\necho\r\n")[1]
    'save it with UNIX line breaks, as `dos2unix` does'
    """
    if b"\0" in content:
        return None
    if content.startswith(codecs.BOM_UTF8):
        words = "This does not look like a batch script. A byte order mark stands before its first line"
        return words, "save it as UTF-8 without a byte order mark"
    if b"\r\n" in content:
        words = r"Batch script contains DOS line breaks (\r\n) instead of expected UNIX line breaks (\n)"
        return words, "save it with UNIX line breaks, as `dos2unix` does"
    return None


def _item(context: CheckContext, index: int, pattern: str, entries: list[FileEntry]) -> Iterator[Problem]:
    if leads_out(pattern):
        words = f"`{pattern}` must lie in the folder of the workflow"
        yield context.at_value(("files", index), "file-missing", words, "move it into the folder of the workflow")
    elif not entries:
        words = f"`{pattern}` matches no file"
        yield context.at_value(("files", index), "file-missing", words, "put it beside the workflow file, or remove it")


def _overwritten(context: CheckContext, packed: set[str]) -> Iterator[Problem]:
    for job, body in context.spec.jobs.items():
        for name, output in body.outputs.items():
            path = posixpath.normpath(output.path) if output.path else ""
            if path in packed or (path and path in {posixpath.normpath(item) for item in context.spec.files if item}):
                words = f"`{output.path}` of jobs.{job} is one of the workflow's own `files`"
                place = ("jobs", job, "outputs", name, "path")
                yield context.at_value(place, "output-duplicate", words, "give the output its own path")


def named_paths(spec: WorkflowSpec) -> list[str]:
    """The paths and patterns of all files that a workflow names."""
    scripts = [body.script for body in spec.jobs.values() if body.script is not None]
    axes = [axis for body in spec.jobs.values() if body.sweep is not None for axis in body.sweep.over.values()]
    tables = [axis.source for axis in axes if axis.source is not None and axis.reference is None]
    return [*spec.files, *scripts, *tables, *_sources_of_software(spec)]


def _sources_of_software(spec: WorkflowSpec) -> Iterator[str]:
    for body in spec.software.values():
        python = (body.python.requirements, body.python.lock) if body.python is not None else ()
        named = (*python, body.conda.file if body.conda is not None else None, body.setup)
        yield from (path for path in named if path is not None)
        yield from body.files


def pack_of(folder: Folder, patterns: list[str]) -> Pack:
    """Read all files that a valid workflow names. Raises ``OSError`` if a file was removed meanwhile."""
    entries: dict[str, FileEntry] = {}
    for pattern in patterns:
        entries.update((entry.path, entry) for entry in matches(folder, pattern))
    files = (
        PackedFile(entry.path, content_digest(folder.read(entry.path)), bool(entry.mode & 0o111))
        for entry in entries.values()
    )
    return Pack(tuple(sorted(files)))
