"""The software of a workflow: one way to build each, and the files that it is built from."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from hotswap_airflow.workflow.checks.files import leads_out, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.spec.workflow_spec import SoftwareSpec
    from hotswap_airflow.workflow.text.document import Path

_LOCKS = ("uv.lock", "pylock.toml")
_KINDS = ("python", "conda", "setup")


def check_software(context: CheckContext) -> Iterator[Problem]:
    """Find software with no or two kinds of build, and sources that do not exist beside the workflow."""
    for name, body in context.spec.software.items():
        here: Path = ("software", name)
        yield from _one_of(context, here, _KINDS)
        if body.python is not None:
            yield from _one_of(context, (*here, "python"), ("requirements", "lock"))
            lock = body.python.lock
            if lock is not None and posixpath.basename(lock) not in _LOCKS:
                words = f"`{lock}` is no lock file that can be read"
                remedy = f"use {' or '.join(_LOCKS)}, or `requirements:`"
                yield context.at_value((*here, "python", "lock"), "software-source", words, remedy)
        yield from _sources(context, here, body)


def _one_of(context: CheckContext, path: Path, kinds: tuple[str, ...]) -> Iterator[Problem]:
    owner = ".".join(map(str, path))
    found = [key for key in context.keys_of(*path) if key in kinds and context.raw(*path, key) is not None]
    names = [f"`{kind}`" for kind in kinds]
    if not found:
        words = f"{owner} lacks {' or '.join(names)}"
        yield context.at_key(path, "missing-key", words, f"add one of {', '.join(names)}")
    for second in found[1:]:
        words = f"`{found[0]}` and `{second}` exclude each other in {owner}"
        yield context.at_key((*path, second), "conflict", words, f"keep one of {', '.join(names)}")


def _sources(context: CheckContext, here: Path, body: SoftwareSpec) -> Iterator[Problem]:
    for place, path in _named(here, body):
        if leads_out(path):
            words = f"`{path}` must lie in the folder of the workflow"
            yield context.at_value(place, "software-source", words, "move it into the folder, beside the workflow")
        elif context.folder.entry(posixpath.normpath(path)) is None:
            words = f"there is no file `{path}`"
            yield context.at_value(
                place, "software-source", words, "put it beside the workflow file, or correct the path"
            )
    for index, pattern in enumerate(body.files):
        if leads_out(pattern) or not list(matches(context.folder, pattern)):
            words = f"`{pattern}` matches no file in the folder of the workflow"
            yield context.at_value((*here, "files", index), "file-missing", words, "put it beside the workflow file")


def _named(here: Path, body: SoftwareSpec) -> Iterator[tuple[Path, str]]:
    """The files that an environment is built from, each with its place."""
    named: list[tuple[Path, str | None]] = [((*here, "setup"), body.setup)]
    if body.python is not None:
        named += [((*here, "python", key), getattr(body.python, key)) for key in ("requirements", "lock")]
    if body.conda is not None:
        named.append(((*here, "conda", "file"), body.conda.file))
    yield from ((place, path) for place, path in named if path is not None)
