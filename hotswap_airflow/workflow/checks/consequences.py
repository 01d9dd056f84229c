"""Leaves out problems that only follow from another one, so that one mistake is one error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.workflow.text.document import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.text.document import Node

_ABSENT = {"missing-key", "smoke-missing", "param-default", "sweep-empty"}
"""What is said of a map that lacks something, which may only be misspelt or wrong inside of it."""
_MISSPELT = {"unknown-key", "misplaced-key", "yaml-colon-space", "wrong-type", "name-invalid"}
_DECLARED: Mapping[str, frozenset[str]] = {
    "params": frozenset({"param-unknown"}),
    "templates": frozenset({"template-unknown", "missing-key"}),
    "inputs": frozenset({"variable-unknown"}),
    "outputs": frozenset({"variable-unknown", "output-unknown"}),
    "sweep": frozenset({"variable-unknown", "param-unknown"}),
    "over": frozenset({"variable-unknown", "missing-key"}),
    "secrets": frozenset({"variable-unknown"}),
    "software": frozenset({"software-unknown"}),
    "needs": frozenset({"reference-not-needed", "input-race"}),
    "jobs": frozenset({"missing-key"}),
}
"""What follows if the map of this key is misspelt, and so declares nothing."""
_OF_NEEDS = frozenset({"reference-not-needed", "input-race"})


def causes_only(problems: Iterable[Problem], root: Node) -> list[Problem]:
    """The problems of a file without those that only follow from another one."""
    found = list(problems)
    places = {Place(problem.line, problem.column) for problem in found if problem.code not in _ABSENT}
    excused = {place for owners, inner in _maps(root) if inner & places for place in owners}
    silent = {code for problem in found for code in _implied(problem)}
    return [problem for problem in found if not _follows(problem, excused, silent)]


def _follows(problem: Problem, excused: set[Place], silent: set[str]) -> bool:
    if problem.code in _ABSENT and Place(problem.line, problem.column) in excused:
        return True
    return problem.code in silent


def _implied(problem: Problem) -> Iterator[str]:
    """The codes of the problems that follow from one."""
    if problem.code == "needs-unknown":
        yield from _OF_NEEDS
    if problem.code in _MISSPELT and not problem.message.startswith("`<<`"):
        for key, codes in _DECLARED.items():
            if f"`{key}`" in problem.remedy or f"`{key}:`" in problem.remedy or f"`{key}` is" in problem.message:
                yield from codes


def _maps(node: Node, key: Place | None = None) -> Iterator[tuple[set[Place], set[Place]]]:
    """Each map: the places by which a problem may name it, and the places of its keys and values."""
    if isinstance(node.value, dict):
        own = {node.place} if key is None else {node.place, key}
        top = {Place(1, 1)} if key is None else set()
        yield own | top, {*node.key_places.values(), *_values(node)}
        for name, below in node.value.items():
            yield from _maps(below, node.key_places.get(name, below.place))
    elif isinstance(node.value, list):
        for below in node.value:
            yield from _maps(below, below.place)


def _values(node: Node) -> Iterator[Place]:
    """The places of a map's values, and of the items of its lists."""
    for below in node.value.values():
        yield below.place
        if isinstance(below.value, list):
            yield from (item.place for item in below.value)
