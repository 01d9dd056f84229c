"""Finds variables that a script uses but the workflow does not declare. Scripts are only read, never run."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import variable
from hotswap_airflow.workflow.checks.files import leads_out
from hotswap_airflow.workflow.checks.scripts import bash
from hotswap_airflow.workflow.spec import vocabulary
from hotswap_airflow.workflow.text.document import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.checks.scripts.bash import Use
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.text.document import Path

_GIVEN = ("index", "count")
_HOME = {"PARAM": "params", "INPUT": "inputs", "OUTPUT": "outputs", "SWEEP": "sweep.over", "SECRET": "secrets"}


def check_variables(context: CheckContext) -> Iterator[Problem]:
    """Find undeclared variables in the text of every ``run`` and of every bash ``script``."""
    for job, body in context.spec.jobs.items():
        known = _declared(context, job)
        if body.run is not None and _is_bash(body.shell) and context.raw("jobs", job, "run") is not None:
            yield from _run(context, job, known)
        if body.script is not None:
            yield from _script(context, job, known)


def _declared(context: CheckContext, job: str) -> dict[str, set[str]]:
    """The declared variables of each prefix."""
    body = context.spec.jobs[job]
    axes = context.keys_of("jobs", job, "sweep", "over")
    return {
        "PARAM": {variable("PARAM", name) for name in context.keys_of("params")},
        "INPUT": {variable("INPUT", name) for name in (*body.inputs, *context.keys_of("jobs", job, "inputs"))},
        "OUTPUT": {variable("OUTPUT", name) for name in (*body.outputs, *context.keys_of("jobs", job, "outputs"))},
        "SWEEP": {variable("SWEEP", name) for name in (*axes, *(_GIVEN if axes else ()))},
        "SECRET": {variable("SECRET", name) for name in context.keys_of("secrets")},
    }


def _is_bash(shell: str | None) -> bool:
    """Whether a shell is bash: only its variables can be checked."""
    return shell is None or posixpath.basename((shell.split() or [""])[0]) == "bash"


def _unknown(context: CheckContext, text: str, known: dict[str, set[str]]) -> list[Use]:
    """The variables that a script uses although they are neither declared nor set: the first use of each.

    If the script sources code that cannot be read here, that code may set any variable. Then a variable counts only if
    its name is similar to a declared name, because it is probably misspelled.
    """
    if all(names <= known[prefix] for prefix, names in bash.mentioned(text).items()):
        return []  # the usual case, without reading the script closely
    given, is_sure = _set_by(context, text, set())
    found: dict[str, Use] = {}
    for use in bash.uses(text):
        names = known[use.name.split("_", maxsplit=1)[0]]
        if use.name not in names | given and (is_sure or _near(use.name, names)):
            found.setdefault(use.name, use)
    return list(found.values())


def _set_by(context: CheckContext, text: str, read: set[str]) -> tuple[set[str], bool]:
    """The variables that a text and the files it sources set, and whether all of these files could be read."""
    names, is_sure = bash.assigned(text), True
    for named in bash.sourced(text):
        path = posixpath.normpath(named) if named else ""
        if path in read:
            continue
        if not path or leads_out(path) or context.folder.entry(path) is None:
            is_sure = False
            continue
        read.add(path)
        more, is_known = _set_by(context, context.folder.read(path).decode("utf-8", "replace"), read)
        names, is_sure = names | more, is_sure and is_known
    return names, is_sure


def _near(name: str, names: Collection[str]) -> str | None:
    """The declared variable that is most similar in the part after the prefix; None if none is similar."""
    prefix, _, own = name.partition("_")
    near = vocabulary.nearest(own, [other.partition("_")[2] for other in names])
    return f"{prefix}_{near}" if near else None


def _words(name: str, job: str, known: dict[str, set[str]]) -> tuple[str, str, str]:
    prefix = name.split("_", maxsplit=1)[0]
    code = "param-unknown" if prefix == "PARAM" else "variable-unknown"
    near = _near(name, known[prefix])
    own = f"write `# hotswap: known {name}` where the script gets it in another way"
    remedy = f"did you mean `${near}`? Else {own}" if near else f"declare it under `{_HOME[prefix]}`, or {own}"
    return code, f"`${name}` in jobs.{job} is not declared under `{_HOME[prefix]}`", remedy


def _run(context: CheckContext, job: str, known: dict[str, set[str]]) -> Iterator[Problem]:
    path: Path = ("jobs", job, "run")
    for use in _unknown(context, context.spec.jobs[job].run or "", known):
        yield context.document.problem(_place(context, path, use), *_words(use.name, job, known))


def _place(context: CheckContext, path: Path, use: Use) -> Place:
    """The place of the ``$`` in a block scalar; for other values, the place where the value begins."""
    node = context.document.node(path)
    if node.style not in {"|", ">"}:
        return node.place
    lines = context.document.text.split("\n")[node.place.line :]
    if node.style == "|" and use.line <= len(lines):
        written, said = lines[use.line - 1], node.value.split("\n")[use.line - 1]
        return Place(node.place.line + use.line, len(written.removesuffix("\r")) - len(said) + use.column)
    used = re.compile(rf"\$\{{?[#!]?{re.escape(use.name)}(?![A-Za-z0-9_])")
    found = ((number, used.search(line)) for number, line in enumerate(lines, node.place.line + 1))
    return next((Place(number, match.start() + 1) for number, match in found if match), node.place)


def _script(context: CheckContext, job: str, known: dict[str, set[str]]) -> Iterator[Problem]:
    path = context.spec.jobs[job].script or ""
    if context.folder.entry(path) is None:
        return
    text = context.folder.read(path).decode("utf-8", "replace")
    first = text.split("\n", maxsplit=1)[0]
    if first.startswith("#!") and "bash" not in first and not first.rstrip().endswith("/sh"):
        return
    for use in _unknown(context, text, known):
        code, words, remedy = _words(use.name, job, known)
        yield context.at_value(("jobs", job, "script"), code, f"{path}:{use.line}: {words}", remedy)
