"""The plan of a workflow: everything that can be resolved before a run starts. Independent of Airflow."""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import SpecError
from hotswap_airflow.slurm import options as slurm_options
from hotswap_airflow.slurm.causes import NOT_THE_USERS, Kind
from hotswap_airflow.slurm.request import Output
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.workflow.checks import graph, resources
from hotswap_airflow.workflow.checks.files import Pack, named_paths, pack_of
from hotswap_airflow.workflow.checks.names import workflow_name
from hotswap_airflow.workflow.checks.sweep import axis_values
from hotswap_airflow.workflow.spec.references import Reference, parse_reference
from hotswap_airflow.workflow.spec.workflow_spec import RetrySpec
from hotswap_airflow.workflow.text.numbers import together, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.domain.cluster_target import ClusterTarget
    from hotswap_airflow.workflow.context import CheckContext, Folder
    from hotswap_airflow.workflow.site import ClusterConfig, Site
    from hotswap_airflow.workflow.spec.workflow_spec import ParamSpec, Schedule, SweepSpec, WorkflowSpec


@dataclass(frozen=True)
class PlannedOption:
    """An sbatch option: its text, or a reference that is resolved when the job starts."""

    name: str
    text: str | None = None
    reference: Reference | None = None


@dataclass(frozen=True)
class PlannedInput:
    """An input: a path, or a reference whose value may be a path."""

    name: str
    path: str | None = None
    reference: Reference | None = None
    type: str | None = None
    asset: str | None = None


@dataclass(frozen=True)
class PlannedOutput:
    """An output as the job declares it, and the asset that is updated if the job succeeds."""

    output: Output
    asset: str | None = None


@dataclass(frozen=True)
class PlannedAxis:
    """An axis of a sweep: its values, or a reference that is resolved when the job starts."""

    name: str
    values: tuple[Any, ...] = ()
    reference: Reference | None = None


@dataclass(frozen=True)
class PlannedSweep:
    """The elements of a job, which are the points of its axes.

    ``tolerate`` is a number of elements, or ``N%``. ``most_indices`` is the most indices that an array may have on the
    cluster; None if it is not known.
    """

    axes: tuple[PlannedAxis, ...]
    mode: str = "product"
    max_parallel: int | None = None
    tolerate: int | str = 0
    chunk: int = 1
    most_indices: int | None = None


@dataclass(frozen=True)
class PlannedJob:
    """One job with all layers merged. ``needs`` maps each needed job to the end that it must have."""

    name: str
    cluster: str
    target: ClusterTarget
    text: str | None
    script: str | None
    description: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    options: tuple[PlannedOption, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    inputs: tuple[PlannedInput, ...] = ()
    outputs: tuple[PlannedOutput, ...] = ()
    sweep: PlannedSweep | None = None
    retry: Retry = field(default_factory=Retry)
    saves: bool = False

    @property
    def needs_success(self) -> bool:
        """Whether all jobs that it needs must have succeeded."""
        return all(when == "success" for when in self.needs.values())

    def references(self) -> Iterator[Reference]:
        """The references to all values that are not known before the job starts."""
        found = [item.reference for item in self.inputs] + [option.reference for option in self.options]
        found += [axis.reference for axis in self.sweep.axes] if self.sweep is not None else []
        yield from (reference for reference in found if reference is not None)


@dataclass(frozen=True)
class Plan:
    """A workflow, resolved for one environment of one site."""

    workflow: str
    environment: str
    file: str
    jobs: tuple[PlannedJob, ...]
    params: Mapping[str, ParamSpec]
    schedule: Schedule | None = None
    description: str = ""
    owner: str | None = None
    tags: tuple[str, ...] = ()
    pack: Pack = field(default_factory=Pack)

    def job(self, name: str) -> PlannedJob:
        """The job with a name. Raises ``KeyError`` if there is none."""
        for job in self.jobs:
            if job.name == name:
                return job
        raise KeyError(name)

    @property
    def leaves(self) -> list[str]:
        """Jobs that no other job needs."""
        needed = {need for job in self.jobs for need in job.needs}
        return [job.name for job in self.jobs if job.name not in needed]

    @property
    def digest(self) -> str:
        """A short digest of everything that decides what a run does. The targets of the clusters are not part of it."""
        params = {name: param.model_dump(mode="json") for name, param in self.params.items()}
        jobs = [{**asdict(job), "needs": dict(job.needs), "target": None} for job in self.jobs]
        parts = [self.workflow, self.environment, jobs, params, self.pack.digest]
        text = json.dumps(parts, sort_keys=True, default=as_json)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_json(value: object) -> list[object]:
    """A set in a plan as a list, in the same order in every process. Raises ``TypeError`` for any other value."""
    if not isinstance(value, (set, frozenset)):
        raise TypeError(f"{type(value).__name__} has no place in a plan")
    return sorted(value)


def make_plan(source: CheckContext, site: Site, environment: str) -> Plan:
    """Resolve a valid workflow for an environment.

    Raises ``SpecError`` if the workflow names a cluster that the site does not have, and ``KeyError`` if the site does
    not have the environment.
    """
    spec = source.spec
    if problems := list(resources.unknown_clusters(source, site)):
        raise SpecError(problems)
    return Plan(
        workflow=workflow_name(source),
        environment=environment,
        file=source.document.file,
        jobs=tuple(_job(source, name, site, environment) for name in spec.jobs),
        params=spec.params,
        schedule=spec.schedule,
        description=spec.description,
        owner=spec.owner,
        tags=tuple(spec.tags),
        pack=pack_of(source.folder, named_paths(spec)),
    )


def _job(source: CheckContext, name: str, site: Site, environment: str) -> PlannedJob:
    spec = source.spec
    body = spec.jobs[name]
    cluster = site.clusters[resources.cluster_name(spec, name, site.environments[environment])]
    return PlannedJob(
        name=name,
        cluster=cluster.name,
        target=cluster.target,
        text=body.run,
        script=posixpath.normpath(body.script) if body.script is not None else None,
        description=body.description,
        needs=graph.needs_of(spec, name),
        options=tuple(_options(resources.options_of(spec, name, cluster))),
        retry=_retry(spec, name, cluster),
        saves=body.checkpoint is not None and body.checkpoint.requeue,
        env=tuple(_env(resources.layers_of("env", cluster.defaults, spec.defaults, body))),
        inputs=tuple(
            PlannedInput(key, item.path, parse_reference(item.source) if item.source else None, item.type, item.asset)
            for key, item in body.inputs.items()
        ),
        outputs=tuple(
            PlannedOutput(Output(key, item.type, posixpath.normpath(item.path) if item.path else None), item.asset)
            for key, item in body.outputs.items()
        ),
        sweep=_sweep(body.sweep, source.folder, cluster.max_array_size) if body.sweep is not None else None,
    )


def _retry(spec: WorkflowSpec, name: str, cluster: ClusterConfig) -> Retry:
    """The retry rule of a job, from the job or from the defaults; ``Retry()`` if they set none."""
    body = spec.jobs[name]
    rule = body.retry
    if rule is None:
        layers = (body, spec.defaults, cluster.defaults)
        # A null counts as a setting too, and ends the search.
        most = next((layer.retries for layer in layers if {"retry", "retries"} & layer.model_fields_set), None)
        if most is None:
            return Retry()
        rule = RetrySpec(max=most)
    mem, time = rule.escalate.mem, rule.escalate.time
    kinds: set[Kind] = {*NOT_THE_USERS, "failed"}
    kinds |= {"oom"} if mem is not None else set()
    kinds |= {"timeout"} if time is not None else set()
    return Retry(
        frozenset(kinds if rule.on is None else rule.on),
        rule.max,
        Growth(mem.factor, mem.max) if mem is not None else None,
        Growth(time.factor, time.max) if time is not None else None,
    )


def _sweep(sweep: SweepSpec, folder: Folder, most_indices: int) -> PlannedSweep:
    axes = []
    for name, axis in sweep.over.items():
        values = axis_values(axis, folder)
        if isinstance(values, Reference):
            axes.append(PlannedAxis(name, reference=values))
        else:
            axes.append(PlannedAxis(name, tuple(together([values[i] for i in range(len(values))]))))
    return PlannedSweep(tuple(axes), sweep.mode, sweep.max_parallel, sweep.tolerate, sweep.chunk, most_indices)


def _options(asked: Mapping[str, Any]) -> Iterator[PlannedOption]:
    for name, value in asked.items():
        if isinstance(value, dict):
            yield PlannedOption(name, reference=parse_reference(value["from"]))
            continue
        text = slurm_options.check(name, value)
        if text is not None:
            yield PlannedOption(name, text)


def _env(layers: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    together: dict[str, Any] = {}
    for layer in layers:
        together.update(layer)
    for name, value in together.items():
        if value is not None:
            yield name, written(value)
