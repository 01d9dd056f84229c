"""The shape of parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hotswap_airflow.workflow.spec.values import FileModel, ScalarValue, Text, as_written, expected
from hotswap_airflow.workflow.text.numbers import plain_numbers

ParamType = Literal["string", "integer", "number", "boolean", "date", "datetime", "array", "object"]


class ItemsSpec(FileModel):
    """The type of each item of an array."""

    type: Literal["string", "integer", "number", "boolean", "object", "array"] = Field(
        description="The type of each item."
    )


class ParamSpec(FileModel):
    """A parameter: its type, its default and the values that it allows."""

    type: ParamType = Field(
        description="The type of the value, which decides its field in the form. By default the type of `default`."
    )
    default: Annotated[Any, AfterValidator(plain_numbers)] = Field(
        default=None,
        description="The value of runs that give none; without it each run must give one, which a schedule cannot.",
    )
    minimum: int | float | None = Field(default=None, description="The smallest number that is allowed.")
    maximum: int | float | None = Field(default=None, description="The largest number that is allowed.")
    enum: Annotated[list[ScalarValue] | None, AfterValidator(plain_numbers)] = Field(
        default=None, description="All values that are allowed."
    )
    pattern: str | None = Field(default=None, description="A regular expression that a text must match somewhere.")
    items: ItemsSpec | None = Field(default=None, description="What the items of an array are.")
    description: Text = Field(default="", description="Is shown in the form.")

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
        raise expected("wrong-type", "`{type: array, default: …}` for a list")
    if not isinstance(value, dict):
        return {"type": _type_of(value), "default": value}
    if value.get("type") is None:
        value = {**value, "type": _type_of(value.get("default"))}
    if value["type"] == "string":
        given = {key: value[key] for key in ("default", "enum") if key in value}
        return value | {k: [*map(as_written, v)] if isinstance(v, list) else as_written(v) for k, v in given.items()}
    return value


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "string")


Param = Annotated[ParamSpec, BeforeValidator(_param, json_schema_input_type=ParamSpec | ScalarValue)]
