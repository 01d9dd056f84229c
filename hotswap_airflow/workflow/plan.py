"""The plan of a workflow: everything that can be resolved before a run starts. Independent of Airflow."""

from __future__ import annotations

import hashlib
import json
import posixpath
import shlex
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from hotswap_airflow.errors import SpecError
from hotswap_airflow.slurm import options as slurm_options
from hotswap_airflow.slurm.causes import NOT_THE_USERS, Kind
from hotswap_airflow.slurm.request import Container, Output
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.workflow import job_layers
from hotswap_airflow.workflow.checks import graph, resources
from hotswap_airflow.workflow.checks.files import Pack, pack_of
from hotswap_airflow.workflow.checks.names import workflow_name
from hotswap_airflow.workflow.checks.sweep import axis_values
from hotswap_airflow.workflow.expression import parse_expression
from hotswap_airflow.workflow.expression import references as references_in
from hotswap_airflow.workflow.spec.job_spec import RetrySpec
from hotswap_airflow.workflow.spec.references import Reference, parse_reference, references_in_arguments
from hotswap_airflow.workflow.text.numbers import plain_numbers, together, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.domain.cluster_target import ClusterTarget
    from hotswap_airflow.workflow.checked import CheckedWorkflow
    from hotswap_airflow.workflow.context import CheckContext, Folder
    from hotswap_airflow.workflow.site import ClusterConfig, Site
    from hotswap_airflow.workflow.spec.job_spec import BurstSpec, JobSpec
    from hotswap_airflow.workflow.spec.param_spec import ParamSpec
    from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, DeploySpec, NotifySpec
    from hotswap_airflow.workflow.spec.sweep_spec import SweepSpec
    from hotswap_airflow.workflow.spec.workflow_spec import Schedule, SecretSpec, WorkflowSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
"""The start of a workflow without ``start_date``."""


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
    """An output as the job declares it, the asset that is updated if the job succeeds, and where it is published."""

    output: Output
    asset: str | None = None
    publish: str | None = None


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
    uses: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    condition: str | None = None
    shell: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    container: Container | None = None
    launch: Literal["script", "srun"] = "script"
    software: str | None = None
    is_local: bool = False
    is_routed: bool = False
    burst: BurstSpec | None = None

    @property
    def needs_success(self) -> bool:
        """Whether all jobs that it needs must have succeeded."""
        return all(when == "success" for when in self.needs.values())

    def to_json(self) -> dict[str, Any]:
        """The job as plain values, except for sets."""
        burst = self.burst.model_dump(mode="json") if self.burst is not None else None
        return {**asdict(replace(self, burst=None)), "needs": dict(self.needs), "burst": burst}

    def references(self) -> Iterator[Reference]:
        """The references to all values that are not known before the job starts."""
        found = [item.reference for item in self.inputs] + [option.reference for option in self.options]
        found += [axis.reference for axis in self.sweep.axes] if self.sweep is not None else []
        yield from (reference for reference in found if reference is not None)
        yield from references_in(parse_expression(self.condition)) if self.condition is not None else ()
        yield from references_in_arguments(self.arguments)


@dataclass(frozen=True)
class Plan:
    """A workflow, resolved for one environment of one site. ``timeout`` is in seconds."""

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
    named_version: str | None = None
    project: str | None = None
    start_date: datetime = START
    catchup: bool = False
    max_active_runs: int = 16
    timeout: int | None = None
    secrets: Mapping[str, SecretSpec] = field(default_factory=dict)
    deploy: DeploySpec | None = None
    budget: BudgetSpec | None = None
    notify: tuple[NotifySpec, ...] = ()

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
    def version(self) -> str:
        """The version that the file names, or else the digest of the plan."""
        return self.named_version or self.digest

    @property
    def digest(self) -> str:
        """A short digest of everything that decides what a run does. The targets of the clusters are not part of it."""
        params = {name: param.model_dump(mode="json") for name, param in self.params.items()}
        jobs = [job.to_json() | {"target": None, "burst": None} for job in self.jobs]
        secrets = {name: secret.model_dump() for name, secret in self.secrets.items()}
        parts = [self.workflow, self.environment, jobs, params, self.pack.digest, secrets, self.timeout]
        text = json.dumps(parts, sort_keys=True, default=as_json)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_json(value: object) -> list[object]:
    """A set in a plan as a list, in the same order in every process. Raises ``TypeError`` for any other value."""
    if not isinstance(value, (set, frozenset)):
        raise TypeError(f"{type(value).__name__} has no place in a plan")
    return sorted(value)


def make_plan(checked: CheckedWorkflow, site: Site, environment: str) -> Plan:
    """Resolve a workflow for an environment.

    Raises ``SpecError`` if the workflow has problems, or names a cluster that the site does not have, and ``KeyError``
    if the site does not have the environment.
    """
    context = checked.context_of(environment)
    if context is None:
        raise SpecError(checked.problems)
    if problems := list(resources.unknown_clusters(context, site)):
        raise SpecError(problems)
    spec = context.spec
    most = site.policy.max_active_runs
    return Plan(
        workflow=workflow_name(context),
        environment=environment,
        file=context.document.file,
        jobs=tuple(_job(context, name, site, environment) for name in spec.jobs),
        params=spec.params,
        schedule=spec.schedule,
        description=spec.description,
        owner=spec.owner,
        tags=tuple(spec.tags),
        pack=pack_of(context.folder, checked.named_paths),
        named_version=spec.version,
        project=spec.project,
        start_date=spec.start_date or START,
        catchup=spec.catchup,
        max_active_runs=spec.max_active_runs if most is None else min(spec.max_active_runs, most),
        timeout=spec.timeout,
        secrets=spec.secrets,
        deploy=spec.deploy,
        budget=spec.budget,
        notify=tuple(spec.notify),
    )


def _job(context: CheckContext, name: str, site: Site, environment: str) -> PlannedJob:
    spec = context.spec
    body = spec.jobs[name]
    cluster = site.clusters[job_layers.cluster_name(spec, name, site.environments[environment])]
    project = site.projects.get(spec.project or "")
    target = cluster.target
    if project is not None and project.connection is not None:
        target = replace(target, connection=project.connection)
    options = job_layers.options_of(spec, name, cluster)
    if project is not None and project.account is not None:
        options["account"] = project.account
    container = job_layers.container_of(spec, name, cluster) or {}
    return PlannedJob(
        name=name,
        cluster=cluster.name,
        target=target,
        text=body.run,
        script=posixpath.normpath(body.script) if body.script is not None else None,
        description=body.description,
        needs=graph.needs_of(spec, name),
        options=tuple(_options(options)),
        retry=_retry(spec, name, cluster),
        saves=body.checkpoint is not None and body.checkpoint.requeue,
        env=tuple((key, written(value)) for key, value in job_layers.env_of(spec, name, cluster).items()),
        inputs=tuple(
            PlannedInput(key, item.path, parse_reference(item.source) if item.source else None, item.type, item.asset)
            for key, item in body.inputs.items()
        ),
        outputs=tuple(_outputs(body)),
        sweep=_sweep(body.sweep, context.folder, cluster.max_array_size) if body.sweep is not None else None,
        uses=body.uses,
        arguments=_arguments(body.arguments or {}),
        condition=body.condition,
        shell=tuple(shlex.split(body.shell)) if body.shell is not None else (),
        modules=tuple(job_layers.modules_of(spec, name, cluster)),
        container=_container(container),
        launch=container.get("launch") or "script",
        software=job_layers.software_of(spec, name, cluster),
        is_local=cluster.is_local,
        is_routed=job_layers.is_routed(spec, name),
        burst=body.burst,
    )


def _outputs(body: JobSpec) -> Iterator[PlannedOutput]:
    for key, item in body.outputs.items():
        path = posixpath.normpath(item.path) if item.path else None
        yield PlannedOutput(Output(key, item.type, path), item.asset, item.publish)


def _container(container: Mapping[str, Any]) -> Container | None:
    if not container.get("image") or container.get("runtime") == "none":
        return None
    return Container(container["image"], tuple(container.get("binds") or ()))


def _arguments(value: Any) -> Any:
    """The arguments of an operator with plain values, and with references in place of ``{from: …}``."""
    if isinstance(value, dict):
        reference = (
            parse_reference(value["from"]) if set(value) == {"from"} and isinstance(value["from"], str) else None
        )
        return reference or {key: _arguments(below) for key, below in value.items()}
    return [_arguments(below) for below in value] if isinstance(value, list) else plain_numbers(value)


def _retry(spec: WorkflowSpec, name: str, cluster: ClusterConfig) -> Retry:
    """The retry rule of a job, from the job or from the defaults; ``Retry()`` if they set none."""
    rule = spec.jobs[name].retry
    if rule is None:
        most = job_layers.retries_of(spec, name, cluster)
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
