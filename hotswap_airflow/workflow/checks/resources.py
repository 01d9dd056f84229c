"""The Slurm options of jobs: each layer, the merged options, and whether the cluster can serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm import options
from hotswap_airflow.slurm.limits import limit_violations
from hotswap_airflow.workflow.job_layers import AUTO, options_of
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.text.document import Document, Path


def check_resources(context: CheckContext) -> Iterator[Problem]:
    """Find problems in every option as written, in the names of clusters, and in the merged options of each job."""
    faults = list(judge_options(context.document, ("defaults", "slurm"), "defaults"))
    for kind, bodies in (("templates", context.spec.templates), ("jobs", context.spec.jobs)):
        for name in bodies:
            faults += judge_options(context.document, (kind, name, "slurm"), f"{kind}.{name}")
    yield from faults
    if context.site is not None:
        yield from unknown_clusters(context, context.site)
    wrong = {(fault.line, fault.column) for fault in faults}
    yield from _limits(context, wrong)


def judge_options(document: Document, path: Path, owner: str) -> Iterator[Problem]:
    """Find problems in each option of one layer, and options of it that exclude each other."""
    keys = document.keys_of(*path)
    for name in keys:
        value = document.raw(*path, name)
        if name in options.RESERVED:
            remedy = options.RESERVED[name].replace("JOB", owner)
            words = f"`{name}` is reserved by hotswap"
            yield document.at_key((*path, name), "slurm-key-reserved", words, remedy)
        elif name not in options.OPTIONS:
            code, words, remedy = vocabulary.WORKFLOW.judge(("defaults", "slurm"), name)
            yield document.at_key((*path, name), code, f"{words} in {owner}.slurm", remedy)
        elif value is not None and not is_reference(value):
            yield from _value(document, (*path, name), name, value)
    for group in options.EXCLUSIVE_GROUPS:
        here = [name for name in keys if name in group and document.raw(*path, name) is not None]
        for name in here[1:]:
            words = f"`{here[0]}` and `{name}` exclude each other"
            yield document.at_key((*path, name), "conflict", words, "keep one of them")


def is_reference(value: Any) -> bool:
    """Whether the value of an option is a reference, which is not known before the job starts."""
    return isinstance(value, dict) and set(value) == {"from"} and isinstance(value["from"], str)


def _value(document: Document, path: Path, name: str, value: Any) -> Iterator[Problem]:
    if isinstance(value, dict) and isinstance(value.get("from"), str):
        for key in value.keys() - {"from"}:
            words = f"there is no key `{key}` beside the `from` of `{name}`"
            yield document.at_key((*path, key), "unknown-key", words, "remove it")
        return
    if isinstance(value, (list, dict)):
        kind = "a list" if isinstance(value, list) else "a map"
        words = f"`{name}` must be one value, not {kind}"
        yield document.at_value(path, "wrong-type", words, f"write `{name}: VALUE` or `{name}: {{from: params.X}}`")
        return
    try:
        options.check(name, value)
    except options.Refusal as refusal:
        yield document.at_value(path, refusal.code, refusal.message, refusal.remedy)


def unknown_clusters(context: CheckContext, site: Site) -> Iterator[Problem]:
    """Find clusters that a workflow names and the site does not have."""
    named: list[tuple[Path, str | None]] = [(("defaults", "cluster"), context.spec.defaults.cluster)]
    named += [(("jobs", job, "cluster"), body.cluster) for job, body in context.spec.jobs.items()]
    for path, name in named:
        if name not in {None, AUTO, *site.clusters}:
            remedy = vocabulary.choice(str(name), site.clusters)
            if context.site is None:
                remedy = "no site file is set that says what clusters there are; set [hotswap] site"
            yield context.at_value(path, "cluster-unknown", f"there is no cluster `{name}`", remedy)


def _limits(context: CheckContext, wrong: set[tuple[int, int]]) -> Iterator[Problem]:
    """Find merged options that the cluster of an environment cannot serve; one problem per place."""
    if context.site is None:
        return
    for job in context.spec.jobs:
        for cluster in context.clusters_of(job):
            if cluster.is_local:
                continue
            asked = readable(options_of(context.spec, job, cluster))
            for option, refusal in limit_violations(asked, cluster.limits):
                place = _place(context, job, option)
                words = f"{_overlay(context)}{refusal.message}"
                problem = context.document.problem(place, refusal.code, words, refusal.remedy)
                if (place.line, place.column) not in wrong:
                    wrong.add((place.line, place.column))
                    yield problem


def _overlay(context: CheckContext) -> str:
    """The words that name the environment of an overlay, since the place shown may lie outside of it."""
    named = [name for name in context.environments if context.raw("environments", name)]
    return f"in environment {named[0]}: " if named else ""


def readable(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options that can be compared with limits: those that have one value and no problem of their own."""
    good = {}
    for name, value in asked.items():
        if name not in options.OPTIONS or isinstance(value, (list, dict)):
            continue
        try:
            options.check(name, value)
        except options.Refusal:
            continue
        good[name] = value
    return good


def _place(context: CheckContext, job: str, option: str) -> Any:
    for path in (("jobs", job, "slurm", option), ("defaults", "slurm", option)):
        if context.raw(*path) is not None:
            return context.document.value_place(path)
    if context.keys_of("jobs", job, "slurm"):
        return context.document.key_place(("jobs", job, "slurm"))
    return context.document.key_place(("jobs", job))
