"""The shape of a workflow file: types, choices and ranges, checked by pydantic.

``hotswap_airflow.workflow.checked`` runs the checks that need more than one value at a time.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hotswap_airflow import units
from hotswap_airflow.slurm.causes import RetryCause
from hotswap_airflow.workflow.spec import references
from hotswap_airflow.workflow.text.diagnosis import looks_like_a_pair
from hotswap_airflow.workflow.text.numbers import plain_numbers

ParamType = Literal["string", "integer", "number", "boolean", "date", "datetime", "array", "object"]
When = Literal["success", "failed", "done"]
_PERCENT = re.compile(r"([0-9]{1,9})%")
_ALL = 100


class _Model(BaseModel):
    """Strict, frozen, and without extra keys. Null means the key's default, and removes values of lower layers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if isinstance(data, dict):
            # Null is kept if it is the default of its key: `model_fields_set` then shows that it was written.
            nullable = {key for key, field in cls.model_fields.items() if field.default is None}
            known = {field.alias or key for key, field in cls.model_fields.items()}
            return {k: value for k, value in data.items() if value is not None or k in nullable or k not in known}
        if isinstance(data, str) and (pair := looks_like_a_pair(data)):
            key, value = pair
            raise PydanticCustomError(
                "yaml-colon-space",
                "{words}",
                {"words": f"`{data}` has no space after the colon", "remedy": f"write `{key}: {value}`"},
            )
        return data


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise PydanticCustomError(
            "wrong-type", "{words}", {"words": "a text, a number, true or false", "expected": True}
        )
    return value


def _text(value: Any) -> Any:
    """Accept a number if a text is needed: `version: 2` means the text 2."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]
ScalarValue = Annotated[Any, BeforeValidator(_scalar)]


class Reference(_Model):
    """``{from: …}``: a value that is not known before the job starts."""

    source: str = Field(alias="from")


class ItemsSpec(_Model):
    """The type of each item of an array."""

    type: Literal["string", "integer", "number", "boolean", "object", "array"]


class ParamSpec(_Model):
    """A parameter: its type, its default (see ``has_default``) and the values that it allows."""

    type: ParamType
    default: Annotated[Any, AfterValidator(plain_numbers)] = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    enum: Annotated[list[ScalarValue] | None, AfterValidator(plain_numbers)] = None
    pattern: str | None = None
    items: ItemsSpec | None = None
    description: Text = ""

    @property
    def item_type(self) -> str | None:
        """The type of an array's items: from ``items``, or else the common type of the items of its default.

        None if the parameter is not an array, or if there is no common type.
        """
        if self.type != "array" or self.items is not None:
            return self.items.type if self.items is not None else None
        kinds = {_type_of(item) for item in self.default or ()}
        return kinds.pop() if len(kinds) == 1 else "number" if kinds == {"integer", "number"} else None

    @property
    def has_default(self) -> bool:
        """Whether a run can start if no value is given."""
        return self.default is not None


def _param(value: Any) -> Any:
    if isinstance(value, list):
        words = "`{type: array, default: …}` for a list"
        raise PydanticCustomError("wrong-type", "{words}", {"words": words, "expected": True})
    if not isinstance(value, dict):
        return {"type": _type_of(value), "default": value}
    if "type" not in value:
        return {**value, "type": _type_of(value.get("default"))}
    if value["type"] == "string":
        given = {key: value[key] for key in ("default", "enum") if key in value}
        return value | {k: [*map(_text, v)] if isinstance(v, list) else _text(v) for k, v in given.items()}
    return value


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "string")


class Schedule(_Model):
    """When runs start: a cron text with its time zone, or the assets that start a run."""

    cron: str | None = None
    timezone: str = "UTC"
    assets: list[str] | None = None


class NeedSpec(_Model):
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


class InputSpec(_Model):
    """A path below the run directory or elsewhere on the cluster, or a reference to a value."""

    path: Text | None = None
    source: str | None = Field(default=None, alias="from")
    type: Literal["file", "dir", "string", "integer", "number", "boolean", "json"] | None = None
    asset: str | None = None


class OutputSpec(_Model):
    """A path or a value that the job produces."""

    path: Text | None = None
    type: Literal["file", "dir", "string", "integer", "number", "boolean", "json"] = "string"
    asset: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _file_with_path(cls, data: Any) -> Any:
        if isinstance(data, dict) and "path" in data and "type" not in data:
            return {**data, "type": "file"}
        return data


def _path(value: Any) -> Any:
    if value is None:
        return {}
    return {"path": value} if isinstance(value, (str, int, float)) else value


def _empty(value: Any) -> Any:
    """Read a key without a value as an empty map. The checks report the missing keys."""
    return {} if value is None else value


class AxisSpec(_Model):
    """One axis of a sweep: its values, or their source."""

    values: list[Any] | None = Field(default=None, alias="list")
    linspace: list[int | float] | None = None
    range: list[int | float] | None = None
    source: str | None = Field(default=None, alias="from")
    column: Text | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in ("values", "linspace", "range", "source") if getattr(self, name) is not None]
        if len(kinds) > 1:
            names = " and ".join(f"`{_AXIS_KEYS.get(name, name)}`" for name in kinds)
            remedy = {"words": f"{names} exclude each other", "remedy": "keep one of them"}
            raise PydanticCustomError("conflict", "{words}", remedy)
        return self

    @property
    def reference(self) -> references.Reference | None:
        """The source of the values at run time; None if they are in this file, or in a table such as `params.csv`."""
        found = references.parse_reference(self.source) if self.source is not None else None
        is_table = self.column is not None or (found is not None and (found.kind, found.name) in _TABLES)
        return None if is_table else found


_TABLES = {("param", "csv"), ("param", "tsv"), ("param", "txt")}
_AXIS_KEYS = {"values": "list", "source": "from"}


def _axis(value: Any) -> Any:
    return {"list": value} if isinstance(value, list) else value


def _tolerate(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            words = {"words": f"`tolerate` is {value}", "remedy": "use 0 or more"}
            raise PydanticCustomError("out-of-range", "{words}", words)
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("wrong-type", "{words}", {"words": "a number or `N%`", "expected": True})
    if int(match[1]) > _ALL:
        raise PydanticCustomError(
            "out-of-range", "{words}", {"words": f"`tolerate` is {value}", "remedy": "use 100% or less"}
        )
    return value


class SweepSpec(_Model):
    """A sweep: one job that runs as many elements of a Slurm array."""

    over: dict[str, Annotated[AxisSpec, BeforeValidator(_axis)]] = {}
    mode: Literal["product", "zip"] = "product"
    max_parallel: Annotated[int, Field(ge=1)] | None = None
    tolerate: Annotated[int | str, BeforeValidator(_tolerate)] = 0
    chunk: Annotated[int, Field(ge=1)] = 1


def duration(value: Any) -> Any:
    """Seconds of a time: a duration such as ``2d``, one of Slurm's forms, or whole minutes."""
    return converted(value, units.parse_time, "duration-invalid", "a duration such as 2d")


def size(value: Any) -> Any:
    """KiB of a size such as ``8000M``."""
    return converted(value, units.parse_size, "size-invalid", "a size such as 8000M")


def converted(value: Any, parse: Any, code: Any, expected: str) -> Any:
    """The parsed value. Raises ``PydanticCustomError`` with this code if it cannot be parsed."""
    try:
        return parse(value)
    except (ValueError, TypeError):
        raise PydanticCustomError(code, "{words}", {"words": expected, "expected": True}) from None


def _positive(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 1:
        words = {"words": f"`factor` is {value}", "remedy": "use more than 1"}
        raise PydanticCustomError("out-of-range", "{words}", words)
    return value


class MemGrowth(_Model):
    """How memory grows after a try that had too little memory; ``max`` is in KiB."""

    factor: Annotated[int | float, BeforeValidator(_positive)]
    max: Annotated[int, BeforeValidator(size)]


class TimeGrowth(_Model):
    """How time grows after a try that had too little time; ``max`` is in seconds."""

    factor: Annotated[int | float, BeforeValidator(_positive)]
    max: Annotated[int, BeforeValidator(duration)]


class Escalate(_Model):
    """The resources that grow when a job is submitted again."""

    mem: MemGrowth | None = None
    time: TimeGrowth | None = None


Retries = Annotated[int, Field(ge=0, le=10)]


class RetrySpec(_Model):
    """The failures after which a job is submitted again, how often, and with which growth."""

    on: list[RetryCause] | None = None
    max: Retries = 2
    escalate: Escalate = Escalate()


class CheckpointSpec(_Model):
    """The signal on which a job saves its state, and whether exit status 85 means that the job saved it."""

    signal: str = "USR1@120"
    requeue: bool = True


SlurmMap = dict[str, Any]
EnvMap = dict[str, ScalarValue]


class Defaults(_Model):
    """Values for every job that does not set its own."""

    cluster: str | None = None
    slurm: SlurmMap | None = None
    env: EnvMap | None = None
    retries: Retries | None = None


class JobSpec(_Model):
    """One job as it is written in the file."""

    run: Text | None = None
    script: Text | None = None
    description: Text = ""
    needs: Annotated[list[NeedSpec], BeforeValidator(_needs)] = []
    cluster: str | None = None
    env: EnvMap | None = None
    slurm: SlurmMap | None = None
    inputs: dict[str, Annotated[InputSpec, BeforeValidator(_path)]] = {}
    outputs: dict[str, Annotated[OutputSpec, BeforeValidator(_path)]] = {}
    sweep: SweepSpec | None = None
    retry: RetrySpec | None = None
    retries: Retries | None = None
    checkpoint: CheckpointSpec | None = None


class WorkflowSpec(_Model):
    """A workflow file."""

    hotswap: str
    name: Text | None = None
    description: Text = ""
    owner: Text | None = None
    tags: list[Text] = []
    schedule: Annotated[Schedule | None, BeforeValidator(lambda v: {"cron": v} if isinstance(v, str) else v)] = None
    params: dict[str, Annotated[ParamSpec, BeforeValidator(_param)]] = {}
    defaults: Defaults = Defaults()
    files: list[Text] = []
    jobs: dict[str, Annotated[JobSpec, BeforeValidator(_empty)]] = {}
