"""Dependencies of jobs: needs, references that imply needs, cycles, and paths that two jobs use."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm.request import PATH_TYPES
from hotswap_airflow.workflow.spec.references import Reference, parse_reference
from hotswap_airflow.workflow.spec.vocabulary import choice, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.spec.job_spec import When
    from hotswap_airflow.workflow.spec.sweep_spec import AxisSpec
    from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
    from hotswap_airflow.workflow.text.document import Path, Place

_LONGEST_URI = 1_500
_ELEMENT = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\[.*\]|\..*)")


@dataclass(frozen=True)
class Mention:
    """A ``{from: …}`` of a job: its path in the file and its text."""

    path: Path
    text: str


def mentions(spec: WorkflowSpec, job: str) -> Iterator[Mention]:
    """Give every reference of a job: in inputs, axes, arguments and slurm options, also those of the defaults."""
    for name, item in spec.jobs[job].inputs.items():
        if item.source is not None:
            yield Mention(("jobs", job, "inputs", name, "from"), item.source)
    for name, axis in _axes(spec, job):
        if axis.source is not None and axis.reference is not None:
            yield Mention(("jobs", job, "sweep", "over", name, "from"), axis.source)
    for layer, path in ((spec.defaults.slurm, ("defaults", "slurm")), (spec.jobs[job].slurm, ("jobs", job, "slurm"))):
        for option, value in (layer or {}).items():
            if isinstance(value, dict) and isinstance(value.get("from"), str):
                yield Mention((*path, option, "from"), value["from"])
    yield from _in_arguments(spec.jobs[job].arguments or {}, ("jobs", job, "with"))


def _in_arguments(value: Any, path: Path) -> Iterator[Mention]:
    """The references among the arguments of an operator, also inside of lists and maps."""
    if isinstance(value, dict) and set(value) == {"from"} and isinstance(value["from"], str):
        yield Mention((*path, "from"), value["from"])
    elif isinstance(value, (dict, list)):
        for step, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _in_arguments(below, (*path, step))


def _axes(spec: WorkflowSpec, job: str) -> Iterator[tuple[str, AxisSpec]]:
    sweep = spec.jobs[job].sweep
    yield from sweep.over.items() if sweep is not None else ()


def needs_of(spec: WorkflowSpec, job: str) -> dict[str, When]:
    """Give the jobs that a job waits for, from its ``needs`` and its references, and how they must end."""
    said: dict[str, When] = {need.job: need.when for need in spec.jobs[job].needs if need.job}
    for mention in mentions(spec, job):
        reference = parse_reference(mention.text)
        if reference and reference.job in spec.jobs and reference.job not in said and reference.job != job:
            said[str(reference.job)] = "success"
    return said


def check_graph(context: CheckContext) -> Iterator[Problem]:
    """Find problems in needs and references, and in the paths and assets that jobs share."""
    for job in context.spec.jobs:
        yield from _needs(context, job)
        for mention in mentions(context.spec, job):
            yield from _reference(context, job, mention)
    yield from _cycles(context)
    yield from _outputs(context)
    yield from _races(context)


def _need_places(context: CheckContext, job: str) -> list[tuple[str, Place]]:
    path: Path = ("jobs", job, "needs")
    raw = context.raw(*path)
    if isinstance(raw, str):
        return [(raw, context.document.value_place(path))]
    if isinstance(raw, dict):
        return [(name, context.document.key_place((*path, name))) for name in raw]
    places = []
    for index, item in enumerate(raw if isinstance(raw, list) else []):
        name = item.get("job") if isinstance(item, dict) else item
        places.append((str(name), context.document.value_place((*path, index))))
    return places


def _needs(context: CheckContext, job: str) -> Iterator[Problem]:
    said = {need.job for need in context.spec.jobs[job].needs}
    for name, place in _need_places(context, job):
        if name not in said or name in context.spec.jobs:
            if name == job:
                words = f"jobs.{job} needs itself"
                yield context.document.problem(place, "needs-self", words, "remove it")
            continue
        element = _ELEMENT.fullmatch(name)
        if element and element[1] in context.spec.jobs:
            words = f"`{name}` is one element, but a sweep is needed as a whole"
            yield context.document.problem(place, "needs-element", words, f"write `{element[1]}`")
            continue
        words = f"jobs.{job} needs `{name}`, but there is no such job"
        yield context.document.problem(
            place, "needs-unknown", words, choice(name, [other for other in context.spec.jobs if other != job])
        )


def _reference(context: CheckContext, job: str, mention: Mention) -> Iterator[Problem]:
    reference = parse_reference(mention.text)
    if reference is None:
        words = f"`{mention.text}` is no reference"
        remedy = "write `params.NAME`, `jobs.JOB.OUTPUT`, `jobs.JOB.state` or `environment`"
        yield context.at_value(mention.path, "output-unknown", words, remedy)
    elif fault := reference_fault(context.spec, job, reference):
        yield context.at_value(mention.path, *fault)
    elif reference.kind == "sweep" and mention.path[2] != "inputs":
        words = f"`{reference}` differs from element to element, and `{mention.path[2]}` is for all of them"
        yield context.at_value(mention.path, "param-unknown", words, "use it under `inputs:`, or `$SWEEP_X` in `run:`")


def reference_fault(spec: WorkflowSpec, job: str, reference: Reference) -> tuple[str, str, str] | None:
    """Code, words and remedy for a reference of a job to what the file does not declare; None if it does."""
    if reference.kind == "param" and reference.name not in spec.params:
        words = f"`{reference}` in jobs.{job} is not declared under `params`"
        near = nearest(reference.name, spec.params)
        return (
            "param-unknown",
            words,
            f"did you mean `params.{near}`?" if near else (f"declare `{reference.name}` under `params`"),
        )
    if reference.kind == "sweep":
        axes = dict(_axes(spec, job))
        words = f"`{reference}`: jobs.{job} has no axis `{reference.name}`"
        return None if reference.name in axes else ("param-unknown", words, choice(reference.name, axes, "sweep."))
    return _job_fault(spec, job, reference) if reference.job is not None else None


def _job_fault(spec: WorkflowSpec, job: str, reference: Reference) -> tuple[str, str, str] | None:
    other, output = str(reference.job), reference.name
    if other == job:
        return "needs-self", f"jobs.{job} waits for its own output", "remove it"
    if other not in spec.jobs:
        return "output-unknown", f"`{reference}`: there is no job `{other}`", choice(other, spec.jobs)
    if output != "state" and output not in spec.jobs[other].outputs:
        words = f"`{output}` is no output of jobs.{other}"
        return "output-unknown", words, choice(output, spec.jobs[other].outputs)
    return None


def _edges(spec: WorkflowSpec) -> dict[str, list[str]]:
    return {job: [need for need in needs_of(spec, job) if need in spec.jobs and need != job] for job in spec.jobs}


def _cycles(context: CheckContext) -> Iterator[Problem]:
    edges = _edges(context.spec)
    told: set[str] = set()
    for job in context.spec.jobs:
        circle = None if job in told else _way_back(edges, job)
        if circle is None or told & set(circle):
            continue
        told |= set(circle)
        words = f"these jobs wait for each other: {' -> '.join(circle)}"
        place = _edge_place(context, circle[0], circle[1])
        yield context.document.problem(place, "needs-cycle", words, "remove one of these needs to break the circle")


def _way_back(edges: Mapping[str, list[str]], start: str) -> list[str] | None:
    """The shortest way from a job along its needs back to itself; None if there is none."""
    came: dict[str, str] = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for there in edges[here]:
            if there == start:
                way = [start, here] if here != start else [start]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1] if way[-1] == start and len(way) > 1 else [start, start]
            if there not in came:
                came[there] = here
                queue.append(there)
    return None


def _edge_place(context: CheckContext, job: str, other: str) -> Place:
    for name, place in _need_places(context, job):
        if name == other:
            return place
    for mention in mentions(context.spec, job):
        reference = parse_reference(mention.text)
        if reference and reference.job == other:
            return context.document.value_place(mention.path)
    return context.document.key_place(("jobs", job))


def normal(path: str) -> str:
    """The normal form in which paths are compared: ``./a//b`` becomes ``a/b``."""
    return posixpath.normpath(path)


def is_inside(path: str, folder: str) -> bool:
    """Whether a normal path is the folder itself or lies in it."""
    return folder in {path, "."} or path.startswith(f"{folder}/")


def _produced(spec: WorkflowSpec) -> Iterator[tuple[str, str, str, bool]]:
    """Every output with a path: job, output, normal path, and whether it is a directory."""
    for job, body in spec.jobs.items():
        for name, output in body.outputs.items():
            if output.path:
                yield job, name, normal(output.path), output.type == "dir"


def _outputs(context: CheckContext) -> Iterator[Problem]:
    seen: list[tuple[str, str, bool]] = []
    for job, name, path, is_dir in _produced(context.spec):
        place: Path = ("jobs", job, "outputs", name, "path")
        for other, there, other_is_dir in seen:
            overlaps = path == there or (other_is_dir and is_inside(path, there)) or (is_dir and is_inside(there, path))
            if other != job and overlaps:
                words = f"`{path}` is already made by jobs.{other}"
                yield context.at_value(place, "output-duplicate", words, "give each its own path")
                break
        seen.append((job, path, is_dir))
    yield from _assets(context)
    for job, body in context.spec.jobs.items():
        for name in body.outputs:
            yield from _output_shape(context, job, name)


def _assets(context: CheckContext) -> Iterator[Problem]:
    makers: dict[str, str] = {}
    for job, body in context.spec.jobs.items():
        for name, output in body.outputs.items():
            place = ("jobs", job, "outputs", name, "asset")
            if output.asset is not None and (fault := asset_fault(output.asset)):
                yield context.at_value(place, "wrong-type", *fault)
            elif output.asset and makers.setdefault(output.asset, job) != job:
                words = f"asset `{output.asset}` is already made by jobs.{makers[output.asset]}"
                yield context.at_value(place, "output-duplicate", words, "give each its own asset")


def asset_fault(uri: str) -> tuple[str, str] | None:
    """Why a text cannot be the URI of an asset, and the remedy; None if it can.

    >>> asset_fault("airflow://x")[0]
    '`airflow://x` is an asset of Airflow itself'
    """
    if not uri.strip() or len(uri) > _LONGEST_URI or not uri.isascii() or any(char.isspace() for char in uri):
        return f"`{uri[:60]}` is no URI of an asset", "write for example `hotswap://project/table`"
    if uri.startswith("airflow:"):
        return f"`{uri}` is an asset of Airflow itself", "write for example `hotswap://project/table`"
    return None


def _output_shape(context: CheckContext, job: str, name: str) -> Iterator[Problem]:
    output = context.spec.jobs[job].outputs[name]
    here: Path = ("jobs", job, "outputs", name)
    if output.type in PATH_TYPES and output.path is None:
        words = f"output `{name}` is a {output.type} without `path`"
        yield context.at_key(here, "missing-key", words, f"add `path:`, for example `path: {name}`")
    elif output.path is not None and output.type not in PATH_TYPES:
        words = f"`path` and type `{output.type}` exclude each other"
        second = [key for key in context.keys_of(*here) if key in {"path", "type"}][-1]
        yield context.at_key((*here, second), "conflict", words, "remove `path`, or write `type: file`")
    elif output.path is not None and normal(output.path).split("/")[0] == "..":
        words = f"`{output.path}` leads out of the run directory"
        yield context.at_value((*here, "path"), "wrong-type", words, "use a path below it")


def _races(context: CheckContext) -> Iterator[Problem]:
    edges = _edges(context.spec)
    produced = list(_produced(context.spec))
    for job, body in context.spec.jobs.items():
        before = _all_before(edges, job)
        for name, item in body.inputs.items():
            if item.path is None:
                continue
            path = normal(item.path)
            for other, _, made, is_dir in produced:
                hit = path == made or (is_dir and is_inside(path, made))
                if hit and other != job and other not in before:
                    words = f"`{item.path}` is made by jobs.{other}, which jobs.{job} does not wait for"
                    place = ("jobs", job, "inputs", name, "path")
                    yield context.at_value(place, "input-race", words, f"add `needs: [{other}]`")


def _all_before(edges: Mapping[str, list[str]], job: str) -> set[str]:
    found: set[str] = set()
    queue = list(edges[job])
    while queue:
        here = queue.pop()
        if here not in found:
            found.add(here)
            queue += edges[here]
    return found
