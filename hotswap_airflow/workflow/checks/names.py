"""Names: the characters that they may have, and names that become the same variable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import variable
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.text.document import Document, Path

_LONGEST_TAG = 100
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READ_ONLY = frozenset("BASHOPTS BASH_VERSINFO EUID FUNCNAME GROUPS PPID SHELLOPTS UID".split())
RESERVED_PREFIX = "hotswap-"
_ALLOWED = "use a letter first, then letters, digits, `-` and `_`, 63 characters at most"


def check_names(context: CheckContext) -> Iterator[Problem]:
    """Find problems in the names of the workflow, of jobs, params, inputs, outputs, axes and variables."""
    yield from _workflow_name(context)
    yield from _names(context, ("params",), "PARAM")
    yield from _names(context, ("secrets",), "SECRET")
    for kind in ("templates", "jobs", "software"):
        yield from _names(context, (kind,), None)
    for job in context.keys_of("jobs"):
        yield from _names(context, ("jobs", job, "inputs"), "INPUT")
        yield from _names(context, ("jobs", job, "outputs"), "OUTPUT")
        yield from _names(context, ("jobs", job, "sweep", "over"), "SWEEP")
        yield from _taken_axes(context, job)
        yield from _outputs_called_state(context, job)
        yield from judge_variables(context.document, ("jobs", job, "env"))
    yield from judge_variables(context.document, ("defaults", "env"))
    for index, tag in enumerate(context.spec.tags):
        if len(tag) > _LONGEST_TAG and context.raw("tags", index) is not None:
            words = f"the tag `{tag[:20]}…` has {len(tag)} characters"
            yield context.at_value(("tags", index), "wrong-type", words, f"use {_LONGEST_TAG} or fewer")


def stem(file: str) -> str:
    """The name of a workflow that has no ``name``: the name of its file without the suffix.

    >>> stem("dags/fit.hotswap.yaml")
    'fit'
    """
    name = file.rsplit("/", maxsplit=1)[-1]
    suffixes = (*vocabulary.WORKFLOW_SUFFIXES, ".yaml", ".yml", ".json")
    return next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)


def workflow_name(context: CheckContext) -> str:
    """The ``name`` of a workflow, or else the name of its file without the suffix."""
    return context.spec.name or stem(context.document.file)


def _workflow_name(context: CheckContext) -> Iterator[Problem]:
    name = context.spec.name
    if name is None and context.raw("name") is not None:
        return  # of the wrong type, which is reported already
    chosen = name if name is not None else stem(context.document.file)
    place: Path = ("name",) if name is not None else ()
    if chosen.startswith(RESERVED_PREFIX):
        words = f"`{chosen}`: names that begin with `{RESERVED_PREFIX}` are those of hotswap's own Dags"
        remedy = f"{'write' if name is not None else 'add'} `name: my-{offer(chosen)}`"
        yield context.at_value(place, "name-invalid", words, remedy)
    elif vocabulary.NAME.fullmatch(chosen):
        return
    elif name is not None:
        yield context.at_value(place, "name-invalid", *invalid_name(name))
    else:
        words = f"the file's name `{chosen}` cannot be the workflow's"
        yield context.at_key((), "name-invalid", words, f"add `name: {offer(chosen)}`")


def invalid_name(name: str) -> tuple[str, str]:
    """What is wrong with a name, and a name that may do."""
    return f"`{name}` is no name: {_ALLOWED.removeprefix('use ')}", f"write `{offer(name)}`"


def offer(name: str) -> str:
    """A valid name that is like the given name.

    >>> offer("fit; touch pwned")
    'fit-touch-pwned'
    """
    clean = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:63] or "name"
    return clean if clean[0].isalpha() else f"x-{clean}"[:63]


def _names(context: CheckContext, path: Path, prefix: str | None) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in context.keys_of(*path):
        if not vocabulary.NAME.fullmatch(name):
            yield context.at_key((*path, name), "name-invalid", *invalid_name(name))
            continue
        key = variable(prefix, name) if prefix else name
        if key in seen:
            words = f"`{seen[key]}` and `{name}` both become ${key}"
            yield context.at_key((*path, name), "name-collision", words, "rename one of them")
        seen.setdefault(key, name)


def _outputs_called_state(context: CheckContext, job: str) -> Iterator[Problem]:
    if "state" in context.keys_of("jobs", job, "outputs"):
        words = f"`jobs.{job}.state` is how the job ended, so no output can be called `state`"
        yield context.at_key(
            ("jobs", job, "outputs", "state"), "name-invalid", words, "rename it, for example `end-state`"
        )


def _taken_axes(context: CheckContext, job: str) -> Iterator[Problem]:
    for axis in context.keys_of("jobs", job, "sweep", "over"):
        if variable("SWEEP", axis) in {"SWEEP_INDEX", "SWEEP_COUNT"}:
            words = f"${variable('SWEEP', axis)} is set by hotswap, so no axis can be called `{axis}`"
            place: Path = ("jobs", job, "sweep", "over", axis)
            yield context.at_key(place, "name-invalid", words, f"rename it, for example `my-{axis}`")


def judge_variables(document: Document, path: Path) -> Iterator[Problem]:
    """Find problems in the names of variables for scripts, and variables that look like secrets."""
    for name in document.keys_of(*path):
        place = (*path, name)
        if not _VARIABLE.fullmatch(name):
            shown = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")
            words = f"`{name}` is no variable's name: a letter or `_` first, then letters, digits and `_`"
            better = shown.replace("-", "_") or "NAME"
            better = better if _VARIABLE.fullmatch(better) else f"N{better}"
            yield document.at_key(place, "name-invalid", words, f"write `{better}`")
        elif name in _READ_ONLY:
            words = f"bash sets `{name}` itself, and a job cannot change it"
            yield document.at_key(place, "name-invalid", words, f"write for example `MY_{name}`")
        elif vocabulary.RESERVED_VARIABLES.fullmatch(name):
            words = f"variables that begin with `{name.split('_')[0]}_` are set by hotswap"
            yield document.at_key(place, "name-invalid", words, f"write for example `MY_{name}`")
        elif vocabulary.SECRET_NAMES.search(name) and document.raw(*place) is not None:
            words = f"`{name}` looks like a secret, and its value stands here for everybody to read"
            yield document.at_value(
                place, "secret-plaintext", words, "keep it in an Airflow connection and use `secrets`"
            )
