"""The shape of a job, and of the values that a file sets for all of its jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hotswap_airflow.slurm.causes import RetryCause
from hotswap_airflow.workflow.spec.sweep_spec import SweepSpec
from hotswap_airflow.workflow.spec.values import (
    FileModel,
    Kibibytes,
    Money,
    ScalarValue,
    Seconds,
    Text,
    TimeLimit,
    expected,
    fault,
)

When = Literal["success", "failed", "done"]
ValueType = Literal["file", "dir", "string", "integer", "number", "boolean", "json"]


class NeedSpec(FileModel):
    """A job that must have ended before, and the end that is needed."""

    job: str
    when: When = "success"


def _needs(value: Any) -> Any:
    if isinstance(value, str):
        return [{"job": value}]
    if isinstance(value, list):
        return [{"job": item} if isinstance(item, str) else item for item in value]
    if isinstance(value, dict):
        return [
            {"job": job, **how} if isinstance(how, dict) else {"job": job, "when": "success" if how is None else how}
            for job, how in value.items()
        ]
    return value


class InputSpec(FileModel):
    """A path below the run directory or elsewhere on the cluster, or a reference to a value."""

    path: Text | None = None
    source: str | None = Field(default=None, alias="from")
    type: ValueType | None = None
    asset: str | None = None


class OutputSpec(FileModel):
    """A path or a value that the job produces. ``publish`` is a folder on the cluster that gets a copy of the path."""

    path: Text | None = None
    type: ValueType = "string"
    asset: str | None = None
    publish: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _file_with_path(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("path") is not None and data.get("type") is None:
            return {**data, "type": "file"}
        return data


def _path(value: Any) -> Any:
    if value is None:
        return {}
    return {"path": value} if isinstance(value, (str, int, float)) else value


def _factor(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 1:
        raise fault("out-of-range", f"`factor` is {value}", "use more than 1")
    return value


class MemGrowth(FileModel):
    """How memory grows after a try that had too little memory; ``max`` is in KiB."""

    factor: Annotated[int | float, BeforeValidator(_factor)]
    max: Kibibytes


class TimeGrowth(FileModel):
    """How time grows after a try that had too little time; ``max`` is in seconds."""

    factor: Annotated[int | float, BeforeValidator(_factor)]
    max: TimeLimit


class Escalate(FileModel):
    """The resources that grow when a job is submitted again."""

    mem: MemGrowth | None = None
    time: TimeGrowth | None = None


Retries = Annotated[int, Field(ge=0, le=10)]


class RetrySpec(FileModel):
    """The failures after which a job is submitted again, how often, and with which growth."""

    on: list[RetryCause] | None = None
    max: Retries = 2
    escalate: Escalate = Escalate()


class CheckpointSpec(FileModel):
    """The signal on which a job saves its state, and whether exit status 85 means that the job saved it."""

    signal: str = "USR1@120"
    requeue: bool = True


class ContainerSpec(FileModel):
    """The container that a job runs in, and whether each task of the job runs the script."""

    image: str | None = None
    runtime: Literal["apptainer", "none"] | None = None
    launch: Literal["script", "srun"] | None = None
    binds: list[str] | None = None


class BurstWhen(FileModel):
    """The time after which a job that waits at home may go to the cloud."""

    pending: Seconds = 1800


class BurstSpec(FileModel):
    """The cloud cluster to which a job may go, when, and within which limits."""

    to: str
    when: BurstWhen = BurstWhen()
    max_nodes: Annotated[int, Field(ge=1)] | None = None
    max_cost: Money | None = None


SlurmMap = dict[str, Any]
EnvMap = dict[str, ScalarValue]


class Defaults(FileModel):
    """Values for every Slurm job that does not set its own."""

    cluster: str | None = None
    slurm: SlurmMap | None = None
    container: ContainerSpec | None = None
    modules: list[Text] | None = None
    software: str | None = None
    env: EnvMap | None = None
    retries: Retries | None = None


def _condition(value: Any) -> Any:
    """The text of an expression; YAML reads `true` and `false` as booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not isinstance(value, str):
        raise expected("wrong-type", 'an expression such as `params.mode == "full"`')
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Condition = Annotated[str | None, BeforeValidator(_condition)]


class JobSpec(FileModel):
    """One job as it is written in the file, with the templates that it extends. Templates have the same keys."""

    run: Text | None = None
    script: Text | None = None
    uses: str | None = None
    arguments: dict[str, Any] | None = Field(default=None, alias="with")
    description: Text = ""
    extends: Annotated[list[str], BeforeValidator(_listed)] = []
    needs: Annotated[list[NeedSpec], BeforeValidator(_needs)] = []
    condition: Condition = Field(default=None, alias="if")
    cluster: str | None = None
    inputs: dict[str, Annotated[InputSpec, BeforeValidator(_path)]] = {}
    outputs: dict[str, Annotated[OutputSpec, BeforeValidator(_path)]] = {}
    env: EnvMap | None = None
    shell: Text | None = None
    modules: list[Text] | None = None
    software: str | None = None
    sweep: SweepSpec | None = None
    slurm: SlurmMap | None = None
    container: ContainerSpec | None = None
    checkpoint: CheckpointSpec | None = None
    retry: RetrySpec | None = None
    retries: Retries | None = None
    burst: BurstSpec | None = None
