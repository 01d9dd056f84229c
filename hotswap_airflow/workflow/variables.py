"""Variables that a script uses although nobody declares them. Bash is only looked at, never run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import variable
from hotswap_airflow.workflow import vocabulary
from hotswap_airflow.workflow.document import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.document import Path
    from hotswap_airflow.workflow.source import Source

_USE = re.compile(r"(?<!\\)\$\{?[#!]?((PARAM|INPUT|OUTPUT|SWEEP|SECRET)_[A-Za-z0-9_]+)")
_ASSIGNED = re.compile(
    r"(?:^|[\s;&|(])(?:(?:export|local|declare|readonly|typeset)\s+(?:-\w+\s+)*)?([A-Z]+_[A-Za-z0-9_]+)\+?="
    r"|\bfor\s+([A-Z]+_\w+)\s+in\b|\bread\s+(?:-\w+\s+)*((?:\w+\s*)+)",
    re.MULTILINE,
)
_GIVEN = ("index", "count")
_HOME = {"PARAM": "params", "INPUT": "inputs", "OUTPUT": "outputs", "SWEEP": "sweep.over", "SECRET": "secrets"}


def check_variables(source: Source) -> Iterator[Problem]:
    """Judge the text of every ``run`` and of every bash ``script``."""
    for job, body in source.spec.jobs.items():
        known = _declared(source, job)
        if body.run is not None and source.raw("jobs", job, "run") is not None:
            yield from _run(source, job, known)
        if body.script is not None:
            yield from _script(source, job, known)


def _declared(source: Source, job: str) -> dict[str, set[str] | None]:
    """The variables of each prefix; None where the file declares them by keys that are not read yet."""
    body = source.spec.jobs[job]
    keys = source.keys_of("jobs", job)
    reuses = "extends" in keys
    axes = source.keys_of("jobs", job, "sweep", "over")
    return {
        "PARAM": {variable("PARAM", name) for name in source.keys_of("params")},
        "INPUT": None if reuses else {variable("INPUT", name) for name in body.inputs},
        "OUTPUT": None if reuses else {variable("OUTPUT", name) for name in body.outputs},
        "SWEEP": None if reuses else {variable("SWEEP", name) for name in (*axes, *(_GIVEN if axes else ()))},
        "SECRET": None if "secrets" in source.keys_of() else set(),
    }


def _unknown(text: str, known: dict[str, set[str] | None]) -> list[str]:
    """The names a script uses without declaring or assigning them, each once."""
    assigned: set[str] = set()
    for match in _ASSIGNED.finditer(text):
        assigned.update(word for group in match.groups() if group for word in group.split())
    found: dict[str, None] = {}
    for line in text.split("\n"):
        if line.lstrip().startswith("#"):
            continue
        for match in _USE.finditer(line):
            names = known[match[2]]
            if names is not None and match[1] not in names and match[1] not in assigned:
                found[match[1]] = None
    return list(found)


def _words(name: str, job: str, known: dict[str, set[str] | None]) -> tuple[str, str, str]:
    prefix = name.split("_", maxsplit=1)[0]
    code = "param-unknown" if prefix == "PARAM" else "variable-unknown"
    near = vocabulary.nearest(name, known[prefix] or ())
    remedy = f"did you mean `${near}`?" if near else f"declare it under `{_HOME[prefix]}`"
    return code, f"`${name}` in jobs.{job} is not declared under `{_HOME[prefix]}`", remedy


def _run(source: Source, job: str, known: dict[str, set[str] | None]) -> Iterator[Problem]:
    path: Path = ("jobs", job, "run")
    for name in _unknown(source.spec.jobs[job].run or "", known):
        place = _place(source, path, name)
        yield source.document.problem(place, *_words(name, job, known))


def _place(source: Source, path: Path, name: str) -> Place:
    """In a block scalar the ``$``, else where the value begins."""
    node = source.document.node(path)
    if node.style not in {"|", ">"}:
        return node.place
    used = re.compile(rf"(?<!\\)\$\{{?[#!]?{re.escape(name)}(?![A-Za-z0-9_])")
    for number, line in enumerate(source.document.text.split("\n")[node.place.line :], node.place.line + 1):
        if not line.lstrip().startswith("#") and (match := used.search(line)):
            return Place(number, match.start() + 1)
    return node.place


def _script(source: Source, job: str, known: dict[str, set[str] | None]) -> Iterator[Problem]:
    path = source.spec.jobs[job].script or ""
    if source.folder.entry(path) is None:
        return
    text = source.folder.read(path).decode("utf-8", "replace")
    first = text.split("\n", maxsplit=1)[0]
    if first.startswith("#!") and "bash" not in first and not first.rstrip().endswith("/sh"):
        return
    for name in _unknown(text, known):
        code, words, remedy = _words(name, job, known)
        number = next((n for n, line in enumerate(text.split("\n"), 1) if name in line), 1)
        yield source.at_value(("jobs", job, "script"), code, f"{path}:{number}: {words}", remedy)
