"""Runs all checks on a workflow file, before any job runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.checks.conditions import check_conditions
from hotswap_airflow.workflow.checks.consequences import causes_only
from hotswap_airflow.workflow.checks.environments import judge_overlays
from hotswap_airflow.workflow.checks.files import check_files, check_paths, named_paths
from hotswap_airflow.workflow.checks.graph import check_graph
from hotswap_airflow.workflow.checks.jobs import check_jobs
from hotswap_airflow.workflow.checks.names import check_names, workflow_name
from hotswap_airflow.workflow.checks.policy import check_policy
from hotswap_airflow.workflow.checks.releases import check_releases
from hotswap_airflow.workflow.checks.resources import check_resources
from hotswap_airflow.workflow.checks.retry_checks import check_recovery
from hotswap_airflow.workflow.checks.schedule_checks import check_timing
from hotswap_airflow.workflow.checks.scripts.numbers_as_written import check_numbers
from hotswap_airflow.workflow.checks.scripts.variables import check_variables
from hotswap_airflow.workflow.checks.software import check_software
from hotswap_airflow.workflow.checks.sweep import check_sweeps
from hotswap_airflow.workflow.context import CheckContext
from hotswap_airflow.workflow.layers import merge_layers
from hotswap_airflow.workflow.spec import shape, vocabulary
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
from hotswap_airflow.workflow.text.diagnosis import with_invisible_named
from hotswap_airflow.workflow.text.document import each_place_once, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.workflow.context import Folder
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.text.document import Document

_CHECKS = (
    check_jobs,
    check_names,
    check_timing,
    check_numbers,
    check_graph,
    check_conditions,
    check_variables,
    check_paths,
    check_files,
    check_software,
    check_sweeps,
    check_recovery,
    check_resources,
    check_policy,
    check_releases,
)


@dataclass(frozen=True)
class CheckedWorkflow:
    """A workflow file after its checks: its problems in file order, and its text for each environment if it has none.

    ``is_ignored``: the file is not meant as a workflow, because it has neither ``hotswap`` nor ``jobs``. ``overlaid``
    are the environments with an overlay; ``context`` is the text for all others.
    """

    file: str
    problems: tuple[Problem, ...]
    context: CheckContext | None = None
    overlaid: Mapping[str, CheckContext] = field(default_factory=dict)
    is_ignored: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether the workflow can run."""
        return self.context is not None

    @property
    def named_paths(self) -> list[str]:
        """The paths and patterns of all files that the workflow names, in any environment."""
        contexts = [self.context, *self.overlaid.values()]
        found = (path for context in contexts if context is not None for path in named_paths(context.spec))
        return list(dict.fromkeys(found))

    def context_of(self, environment: str) -> CheckContext | None:
        """The text for an environment, with its overlay; None if the file has problems."""
        return self.overlaid.get(environment, self.context)


def check_workflow(
    raw: bytes, file: str, folder: Folder, site: Site | None = None, *, is_served: bool = False
) -> CheckedWorkflow:
    """Read a workflow file and find its problems. Never raises because of the content of the file.

    ``is_served``: ``file`` is relative to the DAGs folder, which decides which projects it may name.
    """
    try:
        document = read_document(raw, file)
    except SpecError as error:
        return CheckedWorkflow(file, tuple(map(with_invisible_named, error.problems)))
    if found := _header(document):
        return CheckedWorkflow(file, (with_invisible_named(found),), is_ignored=found.is_note)
    problems = [*document.slips, *judge_overlays(document, site)]
    contexts: dict[str | None, CheckContext] = {}
    for environment, served in _variants(document, site):
        merged = merge_layers(document, environment)
        below = file if is_served else None
        blank = WorkflowSpec(hotswap=vocabulary.WORKFLOW_HEADER)
        context = CheckContext(merged.document, blank, folder, site, served, bool(merged.problems), below)
        contexts[environment], found_here = _checked(context)
        problems += [*merged.problems, *found_here]
    if problems:
        kept = causes_only(each_place_once(problems).values(), document.root)
        return CheckedWorkflow(file, tuple(sorted(map(with_invisible_named, kept))))
    base = contexts.get(None, next(iter(contexts.values())))
    return CheckedWorkflow(file, (), base, {name: found for name, found in contexts.items() if name is not None})


def _variants(document: Document, site: Site | None) -> list[tuple[str | None, tuple[str, ...]]]:
    """Each text of a file: the environment of its overlay, None if it has none, and the environments it counts for."""
    overlays = [name for name in document.keys_of("environments") if document.raw("environments", name)]
    known = tuple(site.environments) if site is not None else ()
    plain = tuple(name for name in known if name not in overlays)
    variants: list[tuple[str | None, tuple[str, ...]]] = [(None, plain)] if plain or not known else []
    return variants + [
        (name, (name,) if site is not None else ()) for name in overlays if site is None or name in known
    ]


def _checked(context: CheckContext) -> tuple[CheckContext, list[Problem]]:
    """The text of a file for some environments with its spec, and its problems."""
    spec, problems = shape.read_shape(context.document, WorkflowSpec, vocabulary.WORKFLOW)
    if spec is not None:
        context = replace(context, spec=spec)
        problems += _jobs(context)
        for check in _CHECKS:
            problems += check(context)
    return context, problems


def _jobs(context: CheckContext) -> Iterator[Problem]:
    if context.raw("jobs") in (None, {}):
        where = ("jobs",) if "jobs" in context.keys_of() else ()
        yield context.at_key(where, "missing-key", "the file lacks `jobs` with at least one job", "add `jobs:`")


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
        return document.problem(document.value_place(("hotswap",)), "header-unknown", *_no_header(data["hotswap"]))
    return None


def _no_header(value: object) -> tuple[str, str]:
    if value == vocabulary.SITE_HEADER:
        remedy = "name it in `[hotswap] site`, and do not end it in .hotswap.yaml"
        return "this is a site file and no workflow", remedy
    said = f"`{value}`" if value and isinstance(value, str) else f"`hotswap` is {shape.shown(value)}, which"
    words = f"{said} is no header that this version of hotswap reads"
    return words, f"write `hotswap: {vocabulary.WORKFLOW_HEADER}`"


def taken_names(checked: list[CheckedWorkflow], held: Mapping[str, str] | None = None) -> list[Problem]:
    """Find workflows of one folder that have the same name. The problem is in the file with the later path.

    ``held`` maps names that are already taken to the files that have them.
    """
    first = dict(held or {})
    problems = []
    contexts = (c.context for c in checked if c.context is not None)
    for context in sorted(contexts, key=lambda found: found.document.file):
        name = workflow_name(context)
        if first.setdefault(name, context.document.file) != context.document.file:
            words = f"`{name}` is already the name of {first[name]}"
            place = ("name",) if context.spec.name else ()
            problems.append(context.at_value(place, "name-taken", words, "give each workflow its own `name`"))
    return problems
