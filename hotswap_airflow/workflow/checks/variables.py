"""Finds variables that a script uses but the workflow does not declare. Scripts are only read, never run."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import variable
from hotswap_airflow.workflow.checks import bash
from hotswap_airflow.workflow.checks.files import leads_out
from hotswap_airflow.workflow.spec import vocabulary
from hotswap_airflow.workflow.text.document import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.checks.bash import Use
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.text.document import Path

_GIVEN = ("index", "count")
_HOME = {"PARAM": "params", "INPUT": "inputs", "OUTPUT": "outputs", "SWEEP": "sweep.over", "SECRET": "secrets"}


def check_variables(source: CheckContext) -> Iterator[Problem]:
    """Find undeclared variables in the text of every ``run`` and of every bash ``script``."""
    for job, body in source.spec.jobs.items():
        known = _declared(source, job)
        if body.run is not None and source.raw("jobs", job, "run") is not None:
            yield from _run(source, job, known)
        if body.script is not None:
            yield from _script(source, job, known)


def _declared(source: CheckContext, job: str) -> dict[str, set[str] | None]:
    """The declared variables of each prefix; None if the file declares them by keys that are not supported yet."""
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


def _unknown(source: CheckContext, text: str, known: dict[str, set[str] | None]) -> list[Use]:
    """The variables that a script uses although they are neither declared nor set: the first use of each.

    If the script sources code that cannot be read here, that code may set any variable. Then a variable counts only if
    its name is similar to a declared name, because it is probably misspelled.
    """
    given, is_sure = _set_by(source, text, set())
    found: dict[str, Use] = {}
    for use in bash.uses(text):
        names = known[use.name.split("_", maxsplit=1)[0]]
        if names is not None and use.name not in names | given and (is_sure or _near(use.name, names)):
            found.setdefault(use.name, use)
    return list(found.values())


def _set_by(source: CheckContext, text: str, read: set[str]) -> tuple[set[str], bool]:
    """The variables that a text and the files it sources set, and whether all of these files could be read."""
    names, is_sure = bash.assigned(text), True
    for named in bash.sourced(text):
        path = posixpath.normpath(named) if named else ""
        if path in read:
            continue
        if not path or leads_out(path) or source.folder.entry(path) is None:
            is_sure = False
            continue
        read.add(path)
        more, is_known = _set_by(source, source.folder.read(path).decode("utf-8", "replace"), read)
        names, is_sure = names | more, is_sure and is_known
    return names, is_sure


def _near(name: str, names: Collection[str]) -> str | None:
    """The declared variable that is most similar in the part after the prefix; None if none is similar."""
    prefix, _, own = name.partition("_")
    near = vocabulary.nearest(own, [other.partition("_")[2] for other in names])
    return f"{prefix}_{near}" if near else None


def _words(name: str, job: str, known: dict[str, set[str] | None]) -> tuple[str, str, str]:
    prefix = name.split("_", maxsplit=1)[0]
    code = "param-unknown" if prefix == "PARAM" else "variable-unknown"
    near = _near(name, known[prefix] or ())
    own = f"write `# hotswap: known {name}` where the script gets it in another way"
    remedy = f"did you mean `${near}`? Else {own}" if near else f"declare it under `{_HOME[prefix]}`, or {own}"
    return code, f"`${name}` in jobs.{job} is not declared under `{_HOME[prefix]}`", remedy


def _run(source: CheckContext, job: str, known: dict[str, set[str] | None]) -> Iterator[Problem]:
    path: Path = ("jobs", job, "run")
    for use in _unknown(source, source.spec.jobs[job].run or "", known):
        yield source.document.problem(_place(source, path, use), *_words(use.name, job, known))


def _place(source: CheckContext, path: Path, use: Use) -> Place:
    """The place of the ``$`` in a block scalar; for other values, the place where the value begins."""
    node = source.document.node(path)
    if node.style not in {"|", ">"}:
        return node.place
    lines = source.document.text.split("\n")[node.place.line :]
    if node.style == "|" and use.line <= len(lines):
        written, said = lines[use.line - 1], node.value.split("\n")[use.line - 1]
        return Place(node.place.line + use.line, len(written.removesuffix("\r")) - len(said) + use.column)
    used = re.compile(rf"\$\{{?[#!]?{re.escape(use.name)}(?![A-Za-z0-9_])")
    found = ((number, used.search(line)) for number, line in enumerate(lines, node.place.line + 1))
    return next((Place(number, match.start() + 1) for number, match in found if match), node.place)


def _script(source: CheckContext, job: str, known: dict[str, set[str] | None]) -> Iterator[Problem]:
    path = source.spec.jobs[job].script or ""
    if source.folder.entry(path) is None:
        return
    text = source.folder.read(path).decode("utf-8", "replace")
    first = text.split("\n", maxsplit=1)[0]
    if first.startswith("#!") and "bash" not in first and not first.rstrip().endswith("/sh"):
        return
    for use in _unknown(source, text, known):
        code, words, remedy = _words(use.name, job, known)
        yield source.at_value(("jobs", job, "script"), code, f"{path}:{use.line}: {words}", remedy)
