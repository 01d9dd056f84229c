"""Runs all checks on a workflow file, before any job runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.checks.files import check_files, check_paths
from hotswap_airflow.workflow.checks.graph import check_graph
from hotswap_airflow.workflow.checks.names import check_names, workflow_name
from hotswap_airflow.workflow.checks.number_checks import check_numbers
from hotswap_airflow.workflow.checks.resources import check_resources
from hotswap_airflow.workflow.checks.retry_checks import check_recovery
from hotswap_airflow.workflow.checks.schedule_checks import check_timing
from hotswap_airflow.workflow.checks.sweep import check_sweeps
from hotswap_airflow.workflow.checks.variables import check_variables
from hotswap_airflow.workflow.context import CheckContext
from hotswap_airflow.workflow.spec import shape, vocabulary
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
from hotswap_airflow.workflow.text.diagnosis import with_invisible_named
from hotswap_airflow.workflow.text.document import each_place_once, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.workflow.context import Folder
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.text.document import Document

_BODIES = ("run", "script", "uses")
_CHECKS = (
    check_names,
    check_timing,
    check_numbers,
    check_graph,
    check_variables,
    check_paths,
    check_files,
    check_sweeps,
    check_recovery,
    check_resources,
)


@dataclass(frozen=True)
class CheckedWorkflow:
    """A workflow file after its checks: its problems in file order, and its ``source`` if there are none."""

    file: str
    problems: tuple[Problem, ...]
    source: CheckContext | None = None

    @property
    def is_valid(self) -> bool:
        """Whether the workflow can run."""
        return self.source is not None

    @property
    def is_ignored(self) -> bool:
        """Whether the file is not meant as a workflow: it has neither ``hotswap`` nor ``jobs``."""
        return any(problem.is_note for problem in self.problems)


def check_workflow(raw: bytes, file: str, folder: Folder, site: Site | None = None) -> CheckedWorkflow:
    """Read a workflow file and find its problems. Never raises because of the content of the file."""
    try:
        document = read_document(raw, file)
    except SpecError as error:
        return CheckedWorkflow(file, tuple(map(with_invisible_named, error.problems)))
    if found := _header(document):
        return CheckedWorkflow(file, (with_invisible_named(found),))
    spec, problems = shape.read_shape(document, WorkflowSpec, shape.judge_workflow_key)
    source = CheckContext(document, spec or WorkflowSpec(hotswap=vocabulary.WORKFLOW_HEADER), folder, site)
    if spec is not None:
        problems += _jobs(source)
        for check in _CHECKS:
            problems += check(source)
    if problems:
        return CheckedWorkflow(file, _told_once(problems))
    return CheckedWorkflow(file, (), source)


def _told_once(problems: list[Problem]) -> tuple[Problem, ...]:
    """Keep one problem per place, and report each not-yet-supported key only once."""
    kept = each_place_once(problems)
    told: set[str] = set()
    for place, problem in sorted(kept.items()):
        if problem.code == "not-supported" and problem.message in told:
            del kept[place]
        told.add(problem.message if problem.code == "not-supported" else "")
    return tuple(sorted(map(with_invisible_named, kept.values())))


def _header(document: Document) -> Problem | None:
    data = document.data
    remedy = f"begin with `hotswap: {vocabulary.WORKFLOW_HEADER}`"
    if not isinstance(data, dict):
        words = "the file is no map of keys"
        return document.problem(document.value_place(()), "wrong-type", words, remedy)
    if "hotswap" not in data:
        if "jobs" in data:
            words = "the file has `jobs` but no `hotswap`"
            return document.problem(document.key_place(()), "header-missing", words, remedy)
        words = "neither `hotswap` nor `jobs`, so this is not taken for a workflow"
        return Problem(document.file, 0, 0, "ignored", words, remedy)
    if data["hotswap"] != vocabulary.WORKFLOW_HEADER:
        place, words = document.value_place(("hotswap",)), f"`{data['hotswap']}` is no header this release reads"
        if data["hotswap"] == vocabulary.SITE_HEADER:
            words, remedy = (
                "this is a site file and no workflow",
                "name it in `[hotswap] site`, and do not end it in .hotswap.yaml",
            )
        else:
            remedy = f"write `hotswap: {vocabulary.WORKFLOW_HEADER}`"
        return document.problem(place, "header-unknown", words, remedy)
    return None


def _jobs(source: CheckContext) -> Iterator[Problem]:
    jobs = source.raw("jobs")
    if jobs is None or jobs == {}:
        where = ("jobs",) if "jobs" in source.keys_of() else ()
        yield source.at_key(where, "missing-key", "the file lacks `jobs` with at least one job", "add `jobs:`")
    for job in source.keys_of("jobs"):
        keys = source.keys_of("jobs", job)
        if source.raw("jobs", job) is None:
            yield source.at_key(("jobs", job), "missing-key", f"jobs.{job} is empty", "add `run:` or `script:`")
        elif keys or source.raw("jobs", job) == {}:
            yield from _body(source, job, [k for k in keys if k in _BODIES and source.raw("jobs", job, k) is not None])
            yield from _inputs(source, job)


def _body(source: CheckContext, job: str, bodies: list[str]) -> Iterator[Problem]:
    for second in bodies[1:]:
        words = f"`{bodies[0]}` and `{second}` exclude each other in jobs.{job}"
        yield source.at_key(("jobs", job, second), "conflict", words, f"keep one of `{bodies[0]}` and `{second}`")
    if not bodies and "extends" not in source.keys_of("jobs", job):
        yield source.at_key(("jobs", job), "missing-key", f"jobs.{job} lacks `run`", "add `run:` or `script:`")


def _inputs(source: CheckContext, job: str) -> Iterator[Problem]:
    for name in source.keys_of("jobs", job, "inputs"):
        keys = source.keys_of("jobs", job, "inputs", name)
        both = [key for key in keys if key in {"path", "from"}]
        here = ("jobs", job, "inputs", name)
        if len(both) > 1:
            words = f"`path` and `from` exclude each other in {'.'.join(here)}"
            yield source.at_key((*here, both[1]), "conflict", words, "keep one of them")
        elif set(keys) <= vocabulary.SUPPORTED["inputs"] - {"path", "from"} and (
            keys or source.raw(*here) in ({}, None)
        ):
            yield source.at_key(here, "missing-key", f"{'.'.join(here)} lacks `path`", "add `path:` or `from:`")


def taken_names(checked: list[CheckedWorkflow], held: Mapping[str, str] | None = None) -> list[Problem]:
    """Find workflows of one folder that have the same name. The problem is in the file with the later path.

    ``held`` maps names that are already taken to the files that have them.
    """
    first = dict(held or {})
    problems = []
    for source in sorted((c.source for c in checked if c.source is not None), key=lambda s: s.document.file):
        name = workflow_name(source)
        if first.setdefault(name, source.document.file) != source.document.file:
            words = f"`{name}` is already the name of {first[name]}"
            place = ("name",) if source.spec.name else ()
            problems.append(source.at_value(place, "name-taken", words, "give each workflow its own `name`"))
    return problems
