"""The shape of a site file: types, choices and ranges, checked by pydantic."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hotswap_airflow.domain.cluster_target import POLL
from hotswap_airflow.slurm.paths import workdir_fault
from hotswap_airflow.workflow.spec.job_spec import Defaults
from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, Currency
from hotswap_airflow.workflow.spec.values import (
    FileModel,
    Kibibytes,
    Money,
    Seconds,
    Text,
    TimeLimit,
    expected,
    fault,
)
from hotswap_airflow.workflow.spec.vocabulary import Vocabulary
from hotswap_airflow.workflow.text.numbers import is_number

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


ANY_GPU = "any"
"""Stands for GPUs whose type the site file does not name."""


def _by_type(value: Any) -> Any:
    return {ANY_GPU: value} if is_number(value) else value


class PartitionSpec(FileModel):
    """Nodes of one shape, and the limits of their partition."""

    nodes: Annotated[int, Field(ge=0)] | None = None
    cpus: Annotated[int, Field(ge=0)] | None = None
    mem: Kibibytes | None = None
    gpus: Annotated[dict[str, Annotated[int, Field(ge=0)]], BeforeValidator(_by_type)] = {}
    max_time: TimeLimit | None = None
    max_nodes: Annotated[int, Field(ge=0)] | None = None
    features: list[Text] = []


def _shapes(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _cluster_name(value: Any) -> Any:
    if isinstance(value, str) and not _CLUSTER_NAME.fullmatch(value):
        raise expected("wrong-type", "a name that `sacctmgr show cluster` has")
    return value


def _workdir(value: Any) -> Any:
    if isinstance(value, str) and (found := workdir_fault(value)):
        words, _, remedy = found.partition("; ")
        raise fault("wrong-type", words, remedy)
    return value


class PollSpec(FileModel):
    """Seconds between two polls of a cluster: the least, the usual and the most."""

    min: Annotated[Seconds, Field(ge=1)] = int(POLL[0])
    usual: Annotated[Seconds, Field(ge=1)] = int(POLL[1])
    max: Annotated[Seconds, Field(ge=1)] = int(POLL[2])

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.min <= self.usual <= self.max:
            raise fault("out-of-range", "the bounds of `poll` do not rise", "write min <= usual <= max")
        return self


class PricesSpec(FileModel):
    """The prices of an hour of a CPU, of a GPU by its type, and of a GB of memory; of a GB of storage and month."""

    currency: Currency
    cpu_hour: Money | None = None
    gpu_hour: dict[str, Money] = {}
    mem_gb_hour: Money | None = None
    storage: Money | None = None


class CloudSpec(FileModel):
    """Marks a cluster as a target for bursting, with its limits; ``idle`` are seconds until an idle node ends."""

    provider: Text
    region: Text | None = None
    max_nodes: Annotated[int, Field(ge=1)] | None = None
    max_cost: Money | None = None
    idle: Seconds | None = None


class BuildSpec(FileModel):
    """Where software environments are built, and the seconds for which unused environments are kept."""

    build_on: str = "login"
    retention: Seconds = 90 * 86_400


class ClusterSpec(FileModel):
    """One slurmctld: its target, its limits and its defaults."""

    kind: Literal["slurm", "local"] = "slurm"
    connection: str | None = None
    slurm_cluster: Annotated[str | None, BeforeValidator(_cluster_name)] = None
    workdir: Annotated[str, BeforeValidator(_workdir)] = "hotswap-runs"
    max_array_size: Annotated[int, Field(ge=1)] = 1001
    licenses: dict[str, Annotated[int, Field(ge=0)]] | None = None
    defaults: Defaults = Defaults()
    partitions: Annotated[
        dict[str, Annotated[list[PartitionSpec], BeforeValidator(_shapes)]],
        BeforeValidator(lambda value: {} if value == "probe" else value),
    ] = {}
    queue: str | None = None
    monitor: str | None = None
    poll: PollSpec = PollSpec()
    retention: Annotated[Seconds, Field(ge=86_400)] | None = None
    prices: PricesSpec | None = None
    cloud: CloudSpec | None = None
    software: BuildSpec = BuildSpec()


class FreezeSpec(FileModel):
    """A window without promotion: when it begins, and for how many seconds it lasts."""

    cron: str
    lasts: Seconds = Field(alias="for")


class EnvironmentSpec(FileModel):
    """An environment in the promotion order, the cluster that it uses, and what a promotion to it needs."""

    cluster: str
    approvals: Annotated[int, Field(ge=0)] = 0
    soak: Seconds | None = None
    freeze: list[FreezeSpec] = []


Role = Literal["viewer", "editor", "maintainer"]


def _by_member(value: Any) -> Any:
    """The members of a list are editors."""
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return {str(member): "editor" for member in value}
    return value


class ProjectSpec(FileModel):
    """A project: its members, the account and budget that pay for it, and what its files may use."""

    members: Annotated[dict[str, Role], BeforeValidator(_by_member)] = {}
    budget: BudgetSpec | None = None
    account: Text | None = None
    connection: str | None = None
    folders: list[Text] | None = None
    secrets: list[str] = []


class PolicySpec(FileModel):
    """Limits and rules for all workflows. None means without limit."""

    operators: list[str] = []
    max_jobs: Annotated[int, Field(ge=1)] | None = None
    max_sweep: Annotated[int, Field(ge=1)] | None = None
    max_active_runs: Annotated[int, Field(ge=1)] | None = None
    max_retries: Annotated[int, Field(ge=0)] | None = None
    images: list[str] | None = None
    require_project: bool = False
    secrets: list[str] = []


class SiteSpec(FileModel):
    """A site file."""

    hotswap: str
    environments: dict[str, EnvironmentSpec]
    clusters: dict[str, ClusterSpec]
    projects: dict[str, ProjectSpec] = {}
    policy: PolicySpec = PolicySpec()


SITE = Vocabulary(SiteSpec, extra={}, first=[(), ("environments", "NAME"), ("clusters", "NAME")])
"""The keys of site files."""
