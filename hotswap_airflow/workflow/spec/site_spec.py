"""The shape of a site file: types, choices and ranges, checked by pydantic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hotswap_airflow import units
from hotswap_airflow.domain.cluster_target import POLL
from hotswap_airflow.slurm.paths import workdir_fault
from hotswap_airflow.workflow.spec.vocabulary import nearest
from hotswap_airflow.workflow.spec.workflow_spec import Defaults, converted, duration, size

if TYPE_CHECKING:
    from hotswap_airflow.workflow.text.document import Path

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class _SiteModel(BaseModel):
    """A part of a site file: strict, frozen, without extra keys. Keys of type ``Any`` are allowed but not used yet."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PartitionSpec(_SiteModel):
    """Nodes of one shape, and the limits of their partition."""

    nodes: Annotated[int, Field(ge=0)] | None = None
    cpus: Annotated[int, Field(ge=0)] | None = None
    mem: Annotated[int | None, BeforeValidator(size)] = None
    gpus: Annotated[int, Field(ge=0)] | dict[str, Annotated[int, Field(ge=0)]] = 0
    max_time: Annotated[int | None, BeforeValidator(duration)] = None
    max_nodes: int | None = None
    features: Any = None


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


class PollSpec(_SiteModel):
    """Seconds between two polls of a cluster: the least, the usual and the most."""

    min: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = int(POLL[0])
    usual: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = int(POLL[1])
    max: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = int(POLL[2])

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.min <= self.usual <= self.max:
            words = {"words": "the bounds of `poll` do not rise", "remedy": "write min <= usual <= max"}
            raise PydanticCustomError("out-of-range", "{words}", words)
        return self


class SiteDefaults(Defaults):
    """Values for every job on a cluster if the workflow file does not set its own."""

    container: Any = None
    modules: Any = None
    software: Any = None


class PricesSpec(_SiteModel):
    """The prices of hours and storage on a cluster."""

    currency: Any = None
    cpu_hour: Any = None
    gpu_hour: Any = None
    mem_gb_hour: Any = None
    storage: Any = None


class CloudSpec(_SiteModel):
    """Marks a cluster as a target for bursting, with its limits."""

    provider: Any = None
    region: Any = None
    max_nodes: Any = None
    max_cost: Any = None
    idle: Any = None


class SoftwareSpec(_SiteModel):
    """Where software environments are built, and how long unused environments are kept."""

    build_on: Any = None
    retention: Any = None


class ClusterSpec(_SiteModel):
    """One slurmctld: its target, its limits and its defaults."""

    kind: Literal["slurm", "local"] = "slurm"
    connection: str | None = None
    slurm_cluster: Annotated[str | None, BeforeValidator(_cluster_name)] = None
    workdir: Annotated[str, BeforeValidator(_workdir)] = "hotswap-runs"
    max_array_size: Annotated[int, Field(ge=1)] = 1001
    licenses: dict[str, Annotated[int, Field(ge=0)]] | None = None
    defaults: SiteDefaults = SiteDefaults()
    partitions: Annotated[
        dict[str, Annotated[list[PartitionSpec], BeforeValidator(_shapes)]],
        BeforeValidator(lambda value: {} if value == "probe" else value),
    ] = {}
    queue: str | None = None
    monitor: str | None = None
    poll: PollSpec = PollSpec()
    retention: Annotated[int, BeforeValidator(_seconds), Field(ge=86_400)] | None = None
    prices: PricesSpec | None = None
    cloud: CloudSpec | None = None
    software: SoftwareSpec | None = None


class EnvironmentSpec(_SiteModel):
    """An environment in the promotion order, and the cluster that it uses."""

    cluster: str
    approvals: Any = None
    soak: Any = None
    freeze: Any = None


class ProjectSpec(_SiteModel):
    """A project: its members, and the budget and account that pay for it."""

    members: Any = None
    budget: Any = None
    account: Any = None
    connection: Any = None
    folders: Any = None
    secrets: Any = None


class PolicySpec(_SiteModel):
    """Limits and rules for all workflows."""

    operators: Any = None
    max_jobs: Any = None
    max_sweep: Any = None
    max_active_runs: Any = None
    max_retries: Any = None
    images: Any = None
    require_project: Any = None
    secrets: Any = None


class SiteSpec(_SiteModel):
    """A site file."""

    hotswap: str
    environments: dict[str, EnvironmentSpec]
    clusters: dict[str, ClusterSpec]
    projects: dict[str, ProjectSpec] = {}
    policy: PolicySpec | None = None


_PLACES: dict[str, type[BaseModel]] = {
    "at the top of the file": SiteSpec,
    "under `environments.NAME:`": EnvironmentSpec,
    "under `clusters.NAME:`": ClusterSpec,
    "under `clusters.NAME.partitions.NAME:`": PartitionSpec,
    "under `clusters.NAME.defaults:`": SiteDefaults,
    "under `clusters.NAME.poll:`": PollSpec,
    "under `clusters.NAME.prices:`": PricesSpec,
    "under `clusters.NAME.cloud:`": CloudSpec,
    "under `clusters.NAME.software:`": SoftwareSpec,
    "under `projects.NAME:`": ProjectSpec,
    "under `policy:`": PolicySpec,
}
"""The kinds of map in a site file, by the words that name them in messages."""


def judge_site_key(path: Path, key: str) -> tuple[str, str, str]:
    """Code, words and remedy for a key that is not allowed in the map at a path of a site file."""
    here = _PLACES[_place(path)].model_fields
    near = nearest(key, here)
    if near and near.replace("_", "-") == key.lower().replace("_", "-"):
        return "unknown-key", f"there is no key `{key}`", f"did you mean `{near}`?"
    owner = next((words for words, model in _PLACES.items() if key in model.model_fields), None)
    if owner:
        return "misplaced-key", f"`{key}` does not belong", f"put it {owner}"
    remedy = f"did you mean `{near}`?" if near else f"known here: {', '.join(sorted(here))}"
    return "unknown-key", f"there is no key `{key}`", remedy


def _place(path: Path) -> str:
    names = [step if depth in _NAMED.get(str(path[0]), ()) else "NAME" for depth, step in enumerate(path)]
    keys = [str(step) for step in names if isinstance(step, str)]
    shown = f"under `{'.'.join(keys[: 4 if 'partitions' in keys else 3])}:`"
    return shown if shown in _PLACES else "at the top of the file"


_NAMED = {"clusters": (0, 2), "environments": (0,), "projects": (0,), "policy": (0,)}
"""The positions in a path that are keys. The other positions are names, or indices of a list."""
