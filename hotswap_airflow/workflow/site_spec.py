"""The shape of a site file: types, choices and ranges, checked by pydantic."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hotswap_airflow import units
from hotswap_airflow.slurm.paths import workdir_fault
from hotswap_airflow.workflow.spec import Defaults, converted, duration, size

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class _OpenModel(BaseModel):
    """A part of a site file: keys that this release does not read are left alone."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class PartitionSpec(_OpenModel):
    """Nodes of one shape, and the limits of the partition they are in."""

    nodes: int | None = None
    cpus: int | None = None
    mem: Annotated[int | None, BeforeValidator(size)] = None
    gpus: int | dict[str, int] = 0
    max_time: Annotated[int | None, BeforeValidator(duration)] = None
    max_nodes: int | None = None


def _shapes(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _seconds(value: Any) -> Any:
    return converted(value, units.parse_duration, "duration-invalid", "a duration such as 15s")


def _cluster_name(value: Any) -> Any:
    if isinstance(value, str) and not _CLUSTER_NAME.fullmatch(value):
        words = "a name that `sacctmgr show cluster` has"
        raise PydanticCustomError("wrong-type", "{words}", {"words": words, "expected": True})
    return value


def _workdir(value: Any) -> Any:
    if isinstance(value, str) and (fault := workdir_fault(value)):
        words, _, remedy = fault.partition("; ")
        raise PydanticCustomError("wrong-type", "{words}", {"words": words, "remedy": remedy})
    return value


class PollSpec(_OpenModel):
    """Seconds between two questions to a cluster."""

    min: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = 2
    usual: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = 15
    max: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = 60

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.min <= self.usual <= self.max:
            words = {"words": "the bounds of `poll` do not rise", "remedy": "write min <= usual <= max"}
            raise PydanticCustomError("out-of-range", "{words}", words)
        return self


class SiteDefaults(Defaults):
    """What every job on a cluster has unless its file says otherwise."""

    model_config = ConfigDict(extra="ignore")


class ClusterSpec(_OpenModel):
    """One slurmctld: how it is reached and what it has."""

    kind: Literal["slurm", "local"] = "slurm"
    connection: str | None = None
    slurm_cluster: Annotated[str | None, BeforeValidator(_cluster_name)] = None
    workdir: Annotated[str, BeforeValidator(_workdir)] = "hotswap-runs"
    max_array_size: int = 1001
    licenses: dict[str, int] | None = None
    defaults: SiteDefaults = SiteDefaults()
    partitions: Annotated[
        dict[str, Annotated[list[PartitionSpec], BeforeValidator(_shapes)]],
        BeforeValidator(lambda value: {} if value == "probe" else value),
    ] = {}
    queue: str | None = None
    monitor: str | None = None
    poll: PollSpec = PollSpec()
    retention: Annotated[int, BeforeValidator(_seconds), Field(ge=86_400)] | None = None


class EnvironmentSpec(_OpenModel):
    """A step of the promotion order: which cluster it runs on."""

    cluster: str


class SiteSpec(_OpenModel):
    """A site file, as far as this release reads it."""

    hotswap: str
    environments: dict[str, EnvironmentSpec]
    clusters: dict[str, ClusterSpec]
