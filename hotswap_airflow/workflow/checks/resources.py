"""The Slurm options of jobs: each layer, the merged options, and whether the cluster can serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from hotswap_airflow.slurm import options
from hotswap_airflow.slurm.limits import limit_violations
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.site import ClusterConfig, Site
    from hotswap_airflow.workflow.spec.workflow_spec import Defaults, JobSpec, WorkflowSpec
    from hotswap_airflow.workflow.text.document import Document, Path


def check_resources(source: CheckContext) -> Iterator[Problem]:
    """Find problems in every option as written, in the names of clusters, and in the merged options of each job."""
    faults = list(judge_options(source.document, ("defaults", "slurm"), "defaults"))
    for job in source.spec.jobs:
        faults += judge_options(source.document, ("jobs", job, "slurm"), f"jobs.{job}")
    yield from faults
    if source.site is not None:
        yield from unknown_clusters(source, source.site)
    wrong = {(fault.line, fault.column) for fault in faults}
    yield from _limits(source, wrong)


def merged(layers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge layers of options. A later layer wins, null removes an option, exclusive options remove each other.

    >>> merged([{"mem": "4G"}, {"mem-per-cpu": "1G"}])
    {'mem-per-cpu': '1G'}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for name in layer:
            for group in options.EXCLUSIVE_GROUPS:
                if name in group:
                    for other in group - set(layer):
                        result.pop(other, None)
        result.update(layer)
    return {name: value for name, value in result.items() if value is not None}


def layers_of(key: Literal["slurm", "env"], *specs: Defaults | JobSpec) -> list[Mapping[str, Any]]:
    """The maps of some layers, in order. A layer with null instead of a map removes all layers before it."""
    layers: list[Mapping[str, Any]] = []
    for spec in specs:
        layer = spec.slurm if key == "slurm" else spec.env
        if layer is None and key in spec.model_fields_set:
            layers.clear()
        layers.append(layer or {})
    return layers


def cluster_name(spec: WorkflowSpec, job: str, default: str) -> str:
    """The name of the cluster that a job runs on: from the job, from the defaults, or else ``default``."""
    body = spec.jobs[job]
    return (body.cluster if "cluster" in body.model_fields_set else spec.defaults.cluster) or default


def options_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> dict[str, Any]:
    """The options of a job, merged from all layers. Their values are as written."""
    body = spec.jobs[job]
    checkpoint = {"signal": f"B:{body.checkpoint.signal}"} if body.checkpoint is not None else {}
    site = (cluster.defaults,) if cluster is not None else ()
    return merged([*layers_of("slurm", *site, spec.defaults, body), checkpoint])


def judge_options(document: Document, path: Path, owner: str) -> Iterator[Problem]:
    """Find problems in each option of one layer, and options of it that exclude each other."""
    keys = document.keys_of(*path)
    for name in keys:
        value = document.raw(*path, name)
        if name in options.RESERVED:
            remedy = options.RESERVED[name].replace("JOB", owner)
            words = f"`{name}` is set by hotswap"
            yield document.at_key((*path, name), "slurm-key-reserved", words, remedy)
        elif name not in options.OPTIONS:
            code, words, remedy = vocabulary.judge_key("slurm", name)
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
    if isinstance(value, (list, dict)):
        kind = "a list" if isinstance(value, list) else "a map"
        words = f"`{name}` must be one value, not {kind}"
        yield document.at_value(path, "wrong-type", words, f"write `{name}: VALUE` or `{name}: {{from: params.X}}`")
        return
    try:
        options.check(name, value)
    except options.Refusal as refusal:
        yield document.at_value(path, refusal.code, refusal.message, refusal.remedy)


def unknown_clusters(source: CheckContext, site: Site) -> Iterator[Problem]:
    """Find clusters that a workflow names and the site does not have."""
    named: list[tuple[Path, str | None]] = [(("defaults", "cluster"), source.spec.defaults.cluster)]
    named += [(("jobs", job, "cluster"), body.cluster) for job, body in source.spec.jobs.items()]
    for path, name in named:
        if name is not None and name not in site.clusters:
            near = vocabulary.nearest(name, site.clusters)
            remedy = f"did you mean `{near}`?" if near else f"use one of: {', '.join(site.clusters)}"
            if source.site is None:
                remedy = "no site file is set that says what clusters there are; set [hotswap] site"
            yield source.at_value(path, "cluster-unknown", f"there is no cluster `{name}`", remedy)


def _limits(source: CheckContext, wrong: set[tuple[int, int]]) -> Iterator[Problem]:
    """Find merged options that the cluster of an environment cannot serve; one problem per place."""
    if source.site is None:
        return
    for job in source.spec.jobs:
        for default in dict.fromkeys(source.site.environments.values()):
            cluster = source.site.clusters.get(cluster_name(source.spec, job, default))
            if cluster is None or cluster.is_local:
                continue
            asked = _readable(options_of(source.spec, job, cluster))
            for option, refusal in limit_violations(asked, cluster.limits):
                place = _place(source, job, option)
                problem = source.document.problem(place, refusal.code, refusal.message, refusal.remedy)
                if (place.line, place.column) not in wrong:
                    wrong.add((place.line, place.column))
                    yield problem


def _readable(asked: Mapping[str, Any]) -> dict[str, Any]:
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


def _place(source: CheckContext, job: str, option: str) -> Any:
    for path in (("jobs", job, "slurm", option), ("defaults", "slurm", option)):
        if source.raw(*path) is not None:
            return source.document.value_place(path)
    if source.keys_of("jobs", job, "slurm"):
        return source.document.key_place(("jobs", job, "slurm"))
    return source.document.key_place(("jobs", job))
