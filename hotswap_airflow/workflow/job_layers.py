"""The layers of a job's values: site defaults of its cluster, ``defaults`` of the file, the job with its templates.

A later layer wins: maps merge by key, lists and scalars replace, null removes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from hotswap_airflow.slurm import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hotswap_airflow.workflow.site import ClusterConfig
    from hotswap_airflow.workflow.spec.job_spec import Defaults, JobSpec
    from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec

AUTO = "auto"
"""The word for the best cluster for a job. Until jobs are routed, this is the cluster of the environment."""


def cluster_name(spec: WorkflowSpec, job: str, default: str) -> str:
    """The name of the cluster that a job runs on: from the job, from the defaults, or else ``default``."""
    body = spec.jobs[job]
    named = body.cluster if "cluster" in body.model_fields_set else spec.defaults.cluster
    return default if named in {None, AUTO} else str(named)


def is_routed(spec: WorkflowSpec, job: str) -> bool:
    """Whether a job leaves its cluster to the routing."""
    body = spec.jobs[job]
    return (body.cluster if "cluster" in body.model_fields_set else spec.defaults.cluster) == AUTO


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge layers of options. A later layer wins, null removes an option, exclusive options remove each other.

    >>> merged([{"mem": "4G"}, {"mem-per-cpu": "1G"}])
    {'mem-per-cpu': '1G'}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        given = {name for name, value in layer.items() if value is not None}
        for group in options.EXCLUSIVE_GROUPS:
            if given & group:
                for other in group - given:
                    result.pop(other, None)
        result.update(layer)
    return {name: value for name, value in result.items() if value is not None}


def layers_of(key: Literal["slurm", "env", "container"], *specs: Defaults | JobSpec) -> list[Mapping[str, Any]]:
    """The maps of some layers, in order. A layer with null instead of a map removes all layers before it."""
    layers: list[Mapping[str, Any]] = []
    for spec in specs:
        layer = getattr(spec, key)
        if layer is None and key in spec.model_fields_set:
            layers.clear()
        if layer is not None:
            layers.append(layer if isinstance(layer, dict) else layer.model_dump(exclude_unset=True))
    return layers


def options_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> dict[str, Any]:
    """The options of a job, merged from all layers. Their values are as written."""
    body = spec.jobs[job]
    checkpoint = {"signal": f"B:{body.checkpoint.signal}"} if body.checkpoint is not None else {}
    return merged([*layers_of("slurm", *_layers(spec, job, cluster)), checkpoint])


def env_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> dict[str, Any]:
    """The variables of a job that have a value, merged from all layers."""
    return merged(layers_of("env", *_layers(spec, job, cluster)))


def modules_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> list[str]:
    """The modules that a job loads, in order; a later layer's list replaces that of an earlier one."""
    return list(_nearest("modules", _layers(spec, job, cluster)) or ())


def container_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> dict[str, Any] | None:
    """The container of a job, merged from all layers; None if it has none, or if a later layer sets software."""
    container: dict[str, Any] | None = None
    for layer in _layers(spec, job, cluster):
        if "container" in layer.model_fields_set:
            below = container or {}
            container = None if layer.container is None else merged([below, *layers_of("container", layer)])
        elif layer.software is not None and container is not None and container.get("runtime") != "none":
            container = None
    return container


def software_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> str | None:
    """The software that a job uses; None if it has none, or if a later layer sets a container of runtime apptainer."""
    software: str | None = None
    runtime: str | None = None
    for layer in _layers(spec, job, cluster):
        if layer.container is not None:
            runtime = layer.container.runtime or runtime
        if "software" in layer.model_fields_set:
            software = layer.software
        elif layer.container is not None and runtime != "none":
            software = None
    return software


def retries_of(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> int | None:
    """The most further attempts of a job without a rule of its own; None if no layer sets them."""
    layers = reversed(_layers(spec, job, cluster))
    # A null counts as a setting too, and ends the search.
    return next((layer.retries for layer in layers if {"retry", "retries"} & layer.model_fields_set), None)


def _layers(spec: WorkflowSpec, job: str, cluster: ClusterConfig | None) -> list[Defaults | JobSpec]:
    site: list[Defaults | JobSpec] = [cluster.defaults] if cluster is not None else []
    return [*site, spec.defaults, spec.jobs[job]]


def _nearest(key: str, layers: list[Defaults | JobSpec]) -> Any:
    """The value of the latest layer that sets a key, also if it sets it to null."""
    return next((getattr(layer, key) for layer in reversed(layers) if key in layer.model_fields_set), None)
