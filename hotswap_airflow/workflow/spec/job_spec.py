"""The shape of a job, and of the values that a file sets for all of its jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from hotswap_airflow.slurm.causes import RetryCause
from hotswap_airflow.workflow.spec import value_schemas
from hotswap_airflow.workflow.spec.sweep_spec import SweepSpec
from hotswap_airflow.workflow.spec.values import (
    FileModel,
    Money,
    Name,
    ScalarValue,
    SomeKibibytes,
    SomeSeconds,
    SomeTimeLimit,
    Text,
    expected,
    fault,
)

When = Literal["success", "failed", "done"]
ValueType = Literal["file", "dir", "string", "integer", "number", "boolean", "json"]


class NeedSpec(FileModel):
    """A job that must have ended before, and the end that is needed."""

    job: str = Field(description="The job that must have ended before.")
    when: When = Field(default="success", description="The end that is needed; `done` is any end, also a skip.")


class NeedEnd(FileModel):
    """The end that is needed of the job under whose name it stands."""

    when: When = Field(default="success", description="The end that is needed; `done` is any end, also a skip.")


_WrittenNeeds = str | list[str | NeedSpec] | dict[Name, When | NeedEnd | None] | None


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

    path: Text | None = Field(
        default=None,
        description="A path in the run directory, or elsewhere on the cluster, that must exist before the job starts.",
    )
    source: str | None = Field(
        default=None, alias="from", description="A reference to a value or to an output of another job."
    )
    type: ValueType | None = Field(default=None, description="What the input is: a path or a kind of value.")
    asset: str | None = Field(default=None, description="The URI of the Airflow asset that the job reads.")


class OutputSpec(FileModel):
    """A path or a value that the job produces. ``publish`` is a folder on the cluster that gets a copy of the path."""

    path: Text | None = Field(
        default=None,
        description="Where the job writes the file or the folder; it must exist when the script ends well.",
    )
    type: ValueType = Field(
        default="string",
        description=(
            "What the output is; `file` if there is a path. Other types than `file` and `dir` are values for "
            "`$HOTSWAP_OUTPUT`."
        ),
    )
    asset: str | None = Field(
        default=None, description="The URI of the Airflow asset that is updated when the job succeeds."
    )
    publish: str | None = Field(
        default=None,
        description=(
            "A folder on the cluster that gets a copy after success. `{workflow} {environment} {run} {date}` are "
            "filled in; nothing there is overwritten."
        ),
        json_schema_extra={"pattern": value_schemas.PUBLISH},
    )

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


Factor = Annotated[int | float, BeforeValidator(_factor), WithJsonSchema(value_schemas.FACTOR)]


class MemGrowth(FileModel):
    """How memory grows after a try that had too little memory."""

    factor: Factor = Field(description="Memory is multiplied by this after each try that ran out of it.")
    max: SomeKibibytes = Field(description="Memory never grows above this.")


class TimeGrowth(FileModel):
    """How time grows after a try that had too little time."""

    factor: Factor = Field(description="The time limit is multiplied by this after each try that ran into it.")
    max: SomeTimeLimit = Field(description="The time limit never grows above this.")


class Escalate(FileModel):
    """The resources that grow when a job is submitted again."""

    mem: MemGrowth | None = Field(default=None, description="How memory grows after a try that ran out of it.")
    time: TimeGrowth | None = Field(default=None, description="How the time limit grows after a try that ran into it.")


Retries = Annotated[int, Field(ge=0, le=10)]


class RetrySpec(FileModel):
    """The failures after which a job is submitted again, how often, and with which growth."""

    on: list[RetryCause] | None = Field(
        default=None,
        description=(
            "The failures after which the job is tried again. By default `node_fail`, `preempted` and `failed`, with "
            "`escalate.time` also `timeout`, with `escalate.mem` also `oom`."
        ),
    )
    max: Retries = Field(
        default=2, description="How many more tries there are; of a sweep only the failed elements run again."
    )
    escalate: Escalate = Field(default=Escalate(), description="What a try gets more of than the try before.")


class CheckpointSpec(FileModel):
    """The signal on which a job saves its state, and whether exit status 85 means that the job saved it."""

    signal: str = Field(
        default="USR1@120",
        description="The signal that tells the script to save its state, and how many seconds before its end it comes.",
        json_schema_extra={"pattern": value_schemas.SIGNAL},
    )
    requeue: bool = Field(
        default=True,
        description=(
            "Whether exit status 85 means that the state is saved and the job goes on later, without counting as a try."
        ),
    )


class ContainerSpec(FileModel):
    """The container that a job runs in, and whether each task of the job runs the script."""

    image: str | None = Field(
        default=None,
        description=(
            "The image: `docker://…`, `oras://…`, or a path on the cluster. Required unless `runtime` is `none`."
        ),
    )
    runtime: Literal["apptainer", "none"] | None = Field(
        default=None,
        description="What runs the container; `none` runs the job on the node itself.",
        json_schema_extra={"default": "apptainer"},
    )
    launch: Literal["script", "srun"] | None = Field(
        default=None,
        description="`srun` runs the script once for each task, `script` once for the job.",
        json_schema_extra={"default": "script"},
    )
    binds: list[Annotated[str, WithJsonSchema({"type": "string", "pattern": value_schemas.BIND})]] | None = Field(
        default=None,
        description=(
            "Folders of the node that the container sees: `/SRC`, `/SRC:/DST` or `/SRC:/DST:ro`. The run directory "
            "is always there."
        ),
    )


class BurstWhen(FileModel):
    """The time after which a job that waits at home may go to the cloud."""

    pending: SomeSeconds = Field(
        default=1800, description="How long the job waits at home before it may go to the cloud."
    )


class BurstSpec(FileModel):
    """The cloud cluster to which a job may go, when, and within which limits."""

    to: str = Field(description="The cluster with `cloud` that takes the job.")
    when: BurstWhen = Field(default=BurstWhen(), description="When the job goes there.")
    max_nodes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most nodes that this job may have there; by default the limit of the site."
    )
    max_cost: Money | None = Field(
        default=None,
        description=(
            "The most that this job may cost there, in the currency of the budget; by default the limit of the site."
        ),
    )


SlurmMap = Annotated[dict[str, Any], WithJsonSchema(value_schemas.SLURM)]
EnvMap = dict[Annotated[str, WithJsonSchema(value_schemas.VARIABLE)], ScalarValue]
Module = Annotated[Text, WithJsonSchema(value_schemas.MODULE)]


class Defaults(FileModel):
    """Values for every Slurm job that does not set its own."""

    cluster: str | None = Field(
        default=None, description="Where jobs run: a cluster of the site, or `auto` for the best one for each job."
    )
    slurm: SlurmMap | None = Field(default=None, description="Options of sbatch, without the dashes.")
    container: ContainerSpec | None = Field(default=None, description="The container that jobs run in.")
    modules: list[Module] | None = Field(default=None, description="Environment modules that are loaded in this order.")
    software: str | None = Field(default=None, description="The software that is activated before the script.")
    env: EnvMap | None = Field(default=None, description="Variables for scripts.")
    retries: Retries | None = Field(default=None, description="How many more tries a job has after a failure.")


def _condition(value: Any) -> Any:
    """The text of an expression; YAML reads `true` and `false` as booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not isinstance(value, str):
        raise expected("wrong-type", 'an expression such as `params.mode == "full"`')
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Condition = Annotated[str | None, BeforeValidator(_condition), WithJsonSchema(value_schemas.CONDITION)]


class JobSpec(FileModel):
    """One job as it is written in the file, with the templates that it extends. Templates have the same keys."""

    run: Text | None = Field(
        default=None, description="The text of the script, for bash unless `shell` names another program."
    )
    script: Text | None = Field(
        default=None,
        description="A script beside the workflow file; its first line says what runs it, bash if it does not.",
    )
    uses: str | None = Field(
        default=None, description="The class of an Airflow operator that the site allows, with its module."
    )
    arguments: dict[str, Any] | None = Field(
        default=None,
        alias="with",
        description="The arguments of the operator; `{from: REFERENCE}` may stand for a value.",
    )
    description: Text = Field(default="", description="Is shown in the UI.")
    extends: Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str] | None)] = Field(
        default=[], description="The template or templates whose keys the job takes over; later ones win."
    )
    needs: Annotated[list[NeedSpec], BeforeValidator(_needs, json_schema_input_type=_WrittenNeeds)] = Field(
        default=[],
        description="The jobs that must have ended before, and how: a name, a list, or `{JOB: {when: END}}`.",
    )
    condition: Condition = Field(
        default=None, alias="if", description="An expression over references; the job is skipped if it is false."
    )
    cluster: str | None = Field(
        default=None,
        description=(
            "Where the job runs: a cluster of the site, or `auto` for the best one. By default that of the environment."
        ),
    )
    inputs: dict[Name, Annotated[InputSpec, BeforeValidator(_path, json_schema_input_type=InputSpec | Text | None)]] = (
        Field(default={}, description="Paths and values that the job reads, as `$INPUT_X`.")
    )
    outputs: dict[
        Name, Annotated[OutputSpec, BeforeValidator(_path, json_schema_input_type=OutputSpec | Text | None)]
    ] = Field(default={}, description="Paths and values that the job makes; paths are in `$OUTPUT_X`.")
    env: EnvMap | None = Field(default=None, description="Variables for the script.")
    shell: Text | None = Field(
        default=None,
        description="The command that runs the text of `run`, such as `python3` or `bash -l`; bash by default.",
    )
    modules: list[Module] | None = Field(
        default=None,
        description="Environment modules that are loaded in this order, instead of those of the layers below.",
    )
    software: str | None = Field(
        default=None, description="The software of this file that is activated before the script."
    )
    sweep: SweepSpec | None = Field(
        default=None, description="Runs the job once for each point of its axes, as one array."
    )
    slurm: SlurmMap | None = Field(default=None, description="Options of sbatch, without the dashes.")
    container: ContainerSpec | None = Field(default=None, description="The container that the job runs in.")
    checkpoint: CheckpointSpec | None = Field(default=None, description="How the job saves its state and goes on.")
    retry: RetrySpec | None = Field(
        default=None,
        description=(
            "After which failures the job is tried again, and with what. Without it, lost nodes and preemptions are "
            "made good twice."
        ),
    )
    retries: Retries | None = Field(default=None, description="Short for `retry: {max: N}`.")
    burst: BurstSpec | None = Field(default=None, description="Lets a job that waits too long run in the cloud.")
