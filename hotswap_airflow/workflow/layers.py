"""Merges the layers of a file before it is checked: the overlay of an environment, and the templates of each job.

The merged file is a document like any other: each part keeps its place in the text, so that a problem is shown where
it was written, however many jobs and environments it reaches. Maps merge by key, lists and scalars replace, and null
removes. The layers below a job's templates, which are ``defaults`` and those of the site, are merged in the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.options import EXCLUSIVE_GROUPS
from hotswap_airflow.workflow.spec.vocabulary import NOT_IN_AN_OVERLAY, choice
from hotswap_airflow.workflow.text.document import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.text.document import Document, Path, Place

Pattern = tuple[str, ...]
_JOB = ("jobs", "NAME")
_NAMED = {
    *((kind,) for kind in ("params", "secrets", "jobs", "templates", "software")),
    *((*_JOB, kind) for kind in ("inputs", "outputs", "needs", "with")),
    (*_JOB, "sweep", "over"),
}
"""Maps from names that people choose; null removes such a name whole."""
_SHORT = {
    ("schedule",): "cron",
    ("params", "NAME"): "default",
    (*_JOB, "inputs", "NAME"): "path",
    (*_JOB, "outputs", "NAME"): "path",
    (*_JOB, "sweep", "over", "NAME"): "list",
}
"""Values that may stand alone, and the key for which they are short."""
_EXCLUSIVE: Mapping[Pattern, tuple[tuple[str, ...], ...]] = {
    ("schedule",): (("cron", "timezone"), ("assets",)),
    ("secrets", "NAME"): (("connection", "field"), ("variable",)),
    ("software", "NAME"): (("python",), ("conda",), ("setup",)),
    ("software", "NAME", "python"): (("requirements",), ("lock",)),
    (*_JOB, "inputs", "NAME"): (("path",), ("from",)),
    (*_JOB, "sweep", "over", "NAME"): (("list",), ("linspace",), ("range",), ("from", "column")),
}
"""Keys that exclude each other, each with the keys that belong to it. A later layer's drops those of an earlier one."""
_EXCLUSIVE_OF_JOBS = (
    (("run", "shell"), ("script",), ("uses", "with")),
    (("retry",), ("retries",)),
)


@dataclass(frozen=True)
class Merged:
    """A document with the layers of one environment merged, and the problems of its templates."""

    document: Document
    problems: tuple[Problem, ...] = ()


def merge_layers(document: Document, environment: str | None) -> Merged:
    """Merge the overlay of an environment into a file, and its templates into each job that extends them."""
    root = document.root
    overlay = document.exact_node(("environments", environment)) if environment is not None else None
    if overlay is not None and isinstance(overlay.value, dict):
        root = _merged(root, _allowed(overlay, document.keys_of("jobs")), (), removes=True)
    return _with_templates(replace(document, root=root))


def _allowed(overlay: Node, jobs: list[str]) -> Node:
    """An overlay without the keys that it cannot have, and without new jobs; the checks report both."""
    overlay = _without(overlay, set(NOT_IN_AN_OVERLAY & set(overlay.value)))
    changed = overlay.value.get("jobs")
    if changed is None or not isinstance(changed.value, dict):
        return overlay
    known = _without(changed, set(changed.value) - set(jobs))
    return replace(overlay, value={**overlay.value, "jobs": known})


def _with_templates(document: Document) -> Merged:
    templates = _Templates(document)
    jobs = document.exact_node(("jobs",))
    if jobs is None or not isinstance(jobs.value, dict):
        return Merged(document, tuple(templates.problems()))
    built = {name: templates.applied(("jobs", name), node) for name, node in jobs.value.items()}
    root = replace(document.root, value={**document.root.value, "jobs": replace(jobs, value=built)})
    return Merged(replace(document, root=root), tuple(templates.problems()))


class _Templates:
    """The templates of a file, each with the templates that it extends itself merged into it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        node = document.exact_node(("templates",))
        self.nodes: dict[str, Node] = node.value if node is not None and isinstance(node.value, dict) else {}
        self.cycles = list(self._cycles())
        self.in_cycles = {name for way, _ in self.cycles for name in way}
        self.built: dict[str, Node] = {}

    def applied(self, path: Path, node: Node) -> Node:
        """A job or a template with its templates merged below it; an unknown template adds nothing."""
        result: Node | None = None
        for name, _ in _extended(self.document, path):
            if name in self.nodes and name not in self.in_cycles:
                result = self.built_of(name) if result is None else _merged(result, self.built_of(name), _JOB)
        if result is None or not isinstance(node.value, dict) or not isinstance(result.value, dict):
            return node
        return replace(_merged(result, node, _JOB), place=node.place)

    def built_of(self, name: str) -> Node:
        if name not in self.built:
            self.built[name] = self.applied(("templates", name), self.nodes[name])
        return self.built[name]

    def problems(self) -> Iterator[Problem]:
        """Templates that do not exist, and templates that extend each other in a circle."""
        for kind in ("templates", "jobs"):
            for owner in self.document.keys_of(kind):
                for name, place in _extended(self.document, (kind, owner)):
                    if name not in self.nodes:
                        words = f"{kind}.{owner} extends `{name}`, but there is no such template"
                        yield self.document.problem(place, "template-unknown", words, choice(name, self.nodes))
        for way, place in self.cycles:
            words = f"these templates extend each other: {' -> '.join(way)}"
            yield self.document.problem(place, "template-cycle", words, "remove one `extends` to break the circle")

    def _cycles(self) -> Iterator[tuple[list[str], Place]]:
        known: set[str] = set()
        for name in self.nodes:
            way = None if name in known else self._way_back(name, name, [name], set())
            if way is not None and not known & set(way):
                known |= set(way)
                yield way, next(place for to, place in _extended(self.document, ("templates", name)) if to == way[1])

    def _way_back(self, start: str, here: str, way: list[str], seen: set[str]) -> list[str] | None:
        """The way from a template along ``extends`` back to itself; None if there is none."""
        for name, _ in _extended(self.document, ("templates", here)):
            if name == start:
                return [*way, name]
            if name in self.nodes and name not in seen:
                seen.add(name)
                if found := self._way_back(start, name, [*way, name], seen):
                    return found
        return None


def _extended(document: Document, path: Path) -> Iterator[tuple[str, Place]]:
    """The templates that a job or a template extends, in order, each with its place."""
    here = (*path, "extends")
    raw = document.raw(*here)
    if isinstance(raw, str):
        yield raw, document.value_place(here)
    for index, name in enumerate(raw if isinstance(raw, list) else ()):
        if isinstance(name, str):
            yield name, document.value_place((*here, index))


def _merged(lower: Node, upper: Node, pattern: Pattern, *, removes: bool = False) -> Node:
    """The later layer over the earlier one; ``pattern`` is the place of both in a file.

    ``removes``: null takes a key out of the earlier layer. Otherwise it stays, to remove the key from ``defaults`` too.
    """
    lower, upper = _spelled_out(lower, upper, pattern), _spelled_out(upper, lower, pattern)
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    if pattern not in _SHORT and (_is_reference(lower) or _is_reference(upper)):
        return upper
    lower = _without_excluded(lower, upper, pattern)
    value, places = dict(lower.value), {**lower.key_places, **upper.key_places}
    for key, node in upper.value.items():
        if node.value is None and (pattern in _NAMED or (removes and key in value)):
            value.pop(key, None)
            places.pop(key)
        elif key in value:
            value[key] = _merged(value[key], node, _below(pattern, key), removes=removes)
        else:
            value[key] = node
    return Node(upper.place, value, key_places=places)


def _is_reference(node: Node) -> bool:
    """Whether a map is a value by reference, ``{from: …}``."""
    return set(node.value) == {"from"} and isinstance(node.value["from"].value, str)


def _below(pattern: Pattern, key: str) -> Pattern:
    if pattern == ("templates",):
        return _JOB
    return (*pattern, "NAME" if (*pattern, "NAME") in _WITH_NAMES else key)


_WITH_NAMES = {pattern[:end] for pattern in (*_SHORT, *_EXCLUSIVE) for end in range(1, len(pattern) + 1)}


def _spelled_out(node: Node, other: Node, pattern: Pattern) -> Node:
    """A value that stands alone as the map for which it is short, if it meets a map."""
    key = _SHORT.get(pattern)
    if key is None or node.value is None or isinstance(node.value, dict) or not isinstance(other.value, dict):
        return node
    return Node(node.place, {key: node}, key_places={key: node.place})


def _without(node: Node, keys: set[str]) -> Node:
    if not keys:
        return node
    places = {key: place for key, place in node.key_places.items() if key not in keys}
    return replace(node, value={key: below for key, below in node.value.items() if key not in keys}, key_places=places)


def _without_excluded(lower: Node, upper: Node, pattern: Pattern) -> Node:
    """An earlier layer without the keys that a key of the later layer excludes."""
    given = {key for key, node in upper.value.items() if node.value is not None}
    dropped = {key for group in _exclusive(pattern) for key in _excluded(group, given)}
    if pattern in {_JOB, ("defaults",)}:
        dropped |= _software_or_container(lower, upper, given)
    if pattern != _JOB:
        return _without(lower, dropped & set(lower.value))
    signal = _child(_child(upper, "slurm"), "signal")
    if signal is not None and signal.value is not None and "checkpoint" not in given:
        dropped.add("checkpoint")
    slurm = _child(lower, "slurm")
    if "checkpoint" in given and slurm is not None and isinstance(slurm.value, dict) and "signal" in slurm.value:
        lower = replace(lower, value={**lower.value, "slurm": _without(slurm, {"signal"})})
    return _without(lower, dropped & set(lower.value))


def _software_or_container(lower: Node, upper: Node, given: set[str]) -> set[str]:
    """What a later layer's software or container of runtime apptainer excludes."""
    runtimes = (_child(_child(layer, "container"), "runtime") for layer in (upper, lower))
    runtime = next((node.value for node in runtimes if node is not None and node.value is not None), "apptainer")
    both = {"software", "container"}
    return both - given if given & both and runtime != "none" else set()


def _exclusive(pattern: Pattern) -> tuple[tuple[tuple[str, ...], ...], ...]:
    if pattern == _JOB:
        return _EXCLUSIVE_OF_JOBS
    if pattern in {(*_JOB, "slurm"), ("defaults", "slurm")}:
        return tuple(tuple((name,) for name in group) for group in EXCLUSIVE_GROUPS)
    return (_EXCLUSIVE[pattern],) if pattern in _EXCLUSIVE else ()


def _excluded(group: tuple[tuple[str, ...], ...], given: set[str]) -> set[str]:
    """The keys of a group that the given keys exclude."""
    if not given & {alternative[0] for alternative in group}:
        return set()
    return {key for alternative in group if alternative[0] not in given for key in alternative}


def _child(node: Node | None, key: str) -> Node | None:
    return node.value.get(key) if node is not None and isinstance(node.value, dict) else None
