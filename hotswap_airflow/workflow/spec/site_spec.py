"""The shape of a site file: types, choices and ranges, checked by pydantic."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hotswap_airflow.domain.cluster_target import POLL
from hotswap_airflow.slurm.paths import workdir_fault
from hotswap_airflow.workflow.spec import value_schemas
from hotswap_airflow.workflow.spec.job_spec import Defaults, Retries
from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, Currency
from hotswap_airflow.workflow.spec.values import (
    Cron,
    FileModel,
    Money,
    Seconds,
    SiteName,
    SomeKibibytes,
    SomeSeconds,
    SomeTimeLimit,
    Text,
    TextWord,
    Word,
    expected,
    fault,
)
from hotswap_airflow.workflow.spec.vocabulary import WORKFLOW_HEADER, Vocabulary, keys_of_model
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
from hotswap_airflow.workflow.text.numbers import is_number

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


ANY_GPU = "any"
"""Stands for GPUs whose type the site file does not name."""


def _by_type(value: Any) -> Any:
    return {ANY_GPU: value} if is_number(value) else value


_Gpus = dict[str, Annotated[int, Field(ge=0)]]


class PartitionSpec(FileModel):
    """Nodes of one shape, and the limits of their partition."""

    nodes: Annotated[int, Field(ge=1)] | None = Field(default=None, description="How many nodes there are.")
    cpus: Annotated[int, Field(ge=1)] | None = Field(default=None, description="How many CPUs one node has.")
    mem: SomeKibibytes | None = Field(default=None, description="How much memory one node has.")
    gpus: Annotated[_Gpus, BeforeValidator(_by_type, json_schema_input_type=_Gpus | Annotated[int, Field(ge=0)])] = (
        Field(default={}, description="How many GPUs one node has: a number, or a number for each type.")
    )
    max_time: SomeTimeLimit | None = Field(default=None, description="The longest time limit of a job.")
    max_nodes: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The most nodes of a job.")
    features: list[Text] = Field(default=[], description="Features of the nodes, for `constraint`.")


def _shapes(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _cluster_name(value: Any) -> Any:
    if isinstance(value, str) and not _CLUSTER_NAME.fullmatch(value):
        raise expected("wrong-type", "a name that `sacctmgr show cluster` has")
    return value


def _workdir(value: Any) -> Any:
    if value == "":
        raise expected("wrong-type", "a folder such as hotswap-runs")
    if isinstance(value, str) and (found := workdir_fault(value)):
        words, _, remedy = found.partition("; ")
        raise fault("wrong-type", words, remedy)
    return value


class PollSpec(FileModel):
    """The time between two polls of a cluster: the least, the usual and the most."""

    min: Annotated[Seconds, Field(ge=1)] = Field(
        default=int(POLL[0]), description="The shortest time between two polls, at least 1s."
    )
    usual: Annotated[Seconds, Field(ge=1)] = Field(
        default=int(POLL[1]), description="The time between two polls if nothing speaks for another."
    )
    max: Annotated[Seconds, Field(ge=1)] = Field(
        default=int(POLL[2]), description="The longest time between two polls."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.min <= self.usual <= self.max:
            raise fault("out-of-range", "the bounds of `poll` do not rise", "write min <= usual <= max")
        return self


class PricesSpec(FileModel):
    """The prices of an hour of a CPU, of a GPU by its type, and of a GB of memory; of a GB of storage and month."""

    currency: Currency = Field(description="The currency of all prices, a code of ISO 4217.")
    cpu_hour: Money | None = Field(default=None, description="The price of one CPU for one hour.")
    gpu_hour: dict[str, Money] = Field(
        default={}, description="The price of one GPU for one hour by its type; `any` is for every other type."
    )
    mem_gb_hour: Money | None = Field(default=None, description="The price of one GB of memory for one hour.")
    storage: Money | None = Field(default=None, description="The price of one GB of storage for one month.")


class CloudSpec(FileModel):
    """Marks a cluster as a target for bursting, with its limits."""

    provider: Text = Field(description="Who runs the cloud.")
    region: Text | None = Field(default=None, description="Where the cloud runs.")
    max_nodes: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The most nodes of one job there.")
    max_cost: Money | None = Field(default=None, description="The most that one job may cost there.")
    idle: Seconds | None = Field(default=None, description="How long a node without a job is kept.")


class BuildSpec(FileModel):
    """Where software environments are built, and how long unused environments are kept."""

    build_on: str = Field(
        default="login", description="Where software is built: `login` for the login node, or a partition."
    )
    retention: SomeSeconds = Field(default=90 * 86_400, description="How long software stays that no run uses.")


def _listed_partitions(value: Any) -> Any:
    if isinstance(value, str) and value != "probe":
        remedy = "write `partitions: probe`, or a map of the partitions"
        raise fault("wrong-choice", f"`{{key}}` cannot be {value or 'empty'}", remedy)
    return {} if value == "probe" else value


_Partitions = dict[str, PartitionSpec | list[PartitionSpec]] | Literal["probe"]


class ClusterSpec(FileModel):
    """One slurmctld: its target, its limits and its defaults."""

    kind: Literal["slurm", "local"] = Field(
        default="slurm", description="`slurm`, or `local`: jobs are processes of this machine, without a connection."
    )
    connection: Word | None = Field(
        default=None,
        description="The Airflow connection, of type slurm or ssh; by default the one with the cluster's name.",
    )
    slurm_cluster: Annotated[str | None, BeforeValidator(_cluster_name)] = Field(
        default=None,
        description="The name of the cluster for `-M`, if one login serves several.",
        json_schema_extra={"pattern": value_schemas.CLUSTER},
    )
    workdir: Annotated[str, BeforeValidator(_workdir)] = Field(
        default="hotswap-runs",
        description="The folder of our files on the cluster; a relative path is below the home folder.",
        json_schema_extra={"pattern": value_schemas.WORKDIR},
    )
    max_array_size: Annotated[int, Field(ge=1)] = Field(
        default=1001, description="`MaxArraySize` of the cluster: the most indices of one array, and one more."
    )
    licenses: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="How many licenses the cluster has of each name."
    )
    defaults: Defaults = Field(
        default=Defaults(), description="Values for jobs on this cluster that neither the workflow nor the job sets."
    )
    partitions: Annotated[
        dict[str, Annotated[list[PartitionSpec], BeforeValidator(_shapes)]],
        BeforeValidator(_listed_partitions, json_schema_input_type=_Partitions),
    ] = Field(default={}, description="The partitions and their nodes; `probe` asks the cluster itself, once a day.")
    queue: Word | None = Field(default=None, description="The queue of the triggerer that watches this cluster.")
    monitor: Word | None = Field(
        default=None, description="A connection that may see the jobs of all accounts, and asks for them."
    )
    poll: PollSpec = Field(default=PollSpec(), description="The bounds of the time between two polls.")
    retention: Annotated[Seconds, Field(ge=86_400)] | None = Field(
        default=None, description="How long folders of finished runs stay, at least 1d; for ever by default."
    )
    prices: PricesSpec | None = Field(default=None, description="What usage costs.")
    cloud: CloudSpec | None = Field(default=None, description="Marks the cluster as one that `burst` may use.")
    software: BuildSpec = Field(default=BuildSpec(), description="Where software is built, and how long it stays.")


class FreezeSpec(FileModel):
    """A window without promotion: when it begins, and how long it lasts."""

    cron: Cron = Field(description="When the window begins, as a cron text in UTC.")
    lasts: Seconds = Field(alias="for", description="How long the window lasts.")


class EnvironmentSpec(FileModel):
    """An environment in the promotion order, the cluster that it uses, and what a promotion to it needs."""

    cluster: str = Field(description="The cluster on which jobs of this environment run.")
    approvals: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many people must agree to a promotion to it."
    )
    soak: Seconds | None = Field(
        default=None, description="How long a release stays in the environment before it can be promoted further."
    )
    freeze: list[FreezeSpec] = Field(default=[], description="Windows without promotion.")


Role = Literal["viewer", "editor", "maintainer"]


def _by_member(value: Any) -> Any:
    """The members of a list are editors. ``checks.sites`` refuses items that are no names, each at its place."""
    if isinstance(value, list):
        return {str(member): "editor" for member in value if is_member(member)}
    return value


def is_member(value: Any) -> bool:
    """Whether an item of ``members`` is a name."""
    return isinstance(value, str) or is_number(value)


class ProjectSpec(FileModel):
    """A project: its members, the account and budget that pay for it, and what its files may use."""

    members: Annotated[
        dict[str, Role], BeforeValidator(_by_member, json_schema_input_type=dict[str, Role] | list[str | int])
    ] = Field(default={}, description="Its members: a list of editors, or the role of each.")
    budget: BudgetSpec | None = Field(default=None, description="What the project may use.")
    account: TextWord | None = Field(default=None, description="The Slurm account of its jobs.")
    connection: Word | None = Field(
        default=None, description="The connection as which its jobs run; by default that of the cluster."
    )
    folders: list[Text] | None = Field(
        default=None, description="The folders below the DAGs folder whose files may name the project; any by default."
    )
    secrets: list[Word] = Field(
        default=[], description="The Airflow connections and variables that files of the project may use."
    )


class PolicySpec(FileModel):
    """Limits and rules for all workflows; without a key there is no limit."""

    operators: list[str] = Field(default=[], description="The classes of Airflow operators that `uses` may name.")
    max_jobs: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The most jobs of one file.")
    max_sweep: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The most elements of one sweep.")
    max_active_runs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most runs of a workflow at the same time."
    )
    max_retries: Retries | None = Field(default=None, description="The most further tries of a job.")
    images: list[str] | None = Field(
        default=None, description="How the images of containers must begin; any way by default."
    )
    require_project: bool = Field(default=False, description="Whether each workflow must name a project.")
    secrets: list[Word] = Field(default=[], description="The Airflow connections and variables that any file may use.")


class SiteSpec(FileModel):
    """A site file."""

    hotswap: str = Field(description="The header: what kind of file this is, and the version of its language.")
    environments: dict[SiteName, EnvironmentSpec] = Field(
        description="The environments, in the order of promotion.", json_schema_extra={"minProperties": 1}
    )
    clusters: dict[SiteName, ClusterSpec] = Field(description="The clusters.", json_schema_extra={"minProperties": 1})
    projects: dict[SiteName, ProjectSpec] = Field(default={}, description="The projects that workflows may name.")
    policy: PolicySpec = Field(default=PolicySpec(), description="Limits and rules for all workflows.")


SITE = Vocabulary(
    SiteSpec,
    extra={},
    first=[(), ("environments", "NAME"), ("clusters", "NAME")],
    other=(WORKFLOW_HEADER, keys_of_model(WorkflowSpec)),
)
"""The keys of site files."""
