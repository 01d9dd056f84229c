"""The shape of a sweep and its axes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from hotswap_airflow.workflow.spec import references, value_schemas
from hotswap_airflow.workflow.spec.values import FileModel, Text, expected, share

_TABLES = {("param", "csv"), ("param", "tsv"), ("param", "txt")}


class AxisSpec(FileModel):
    """One axis of a sweep: its values, or their source."""

    values: list[Any] | None = Field(default=None, alias="list", description="The values themselves.")
    linspace: list[int | float] | None = Field(
        default=None,
        description="`[FIRST, LAST, COUNT]`: so many numbers at equal distances, with both ends.",
        json_schema_extra={"minItems": 3, "maxItems": 3},
    )
    range: list[int | float] | None = Field(
        default=None,
        description="`[FIRST, END]` or `[FIRST, END, STEP]`: numbers up to the end, which is not one of them.",
        json_schema_extra={"minItems": 2, "maxItems": 3},
    )
    source: str | None = Field(
        default=None,
        alias="from",
        description="A file beside the workflow, or a reference to a list that is known when the job starts.",
    )
    column: Text | None = Field(
        default=None,
        description="The column of a CSV file with a header line; without it each line of the file is a value.",
    )

    @property
    def reference(self) -> references.Reference | None:
        """The source of the values at run time; None if they are in this file, or in a table such as `params.csv`."""
        found = references.parse_reference(self.source) if self.source is not None else None
        is_table = self.column is not None or (found is not None and (found.kind, found.name) in _TABLES)
        return None if is_table else found


def _axis(value: Any) -> Any:
    return {"list": value} if isinstance(value, list) else value


def _tolerate(value: Any) -> Any:
    if isinstance(value, float):
        raise expected("wrong-type", "a whole number or `N%`")
    return share(value)


AxisName = Annotated[str, WithJsonSchema(value_schemas.AXIS_NAME)]


class SweepSpec(FileModel):
    """A sweep: one job that runs as many elements of a Slurm array."""

    over: dict[AxisName, Annotated[AxisSpec, BeforeValidator(_axis, json_schema_input_type=AxisSpec | list[Any])]] = (
        Field(default={}, description="The axes and their values, which are in `$SWEEP_X`.")
    )
    mode: Literal["product", "zip"] = Field(
        default="product",
        description="`product` combines every value with every other, `zip` takes the axes side by side.",
    )
    max_parallel: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most elements that run at the same time; by default the cluster decides."
    )
    tolerate: Annotated[int | str, BeforeValidator(_tolerate), WithJsonSchema(value_schemas.WHOLE_SHARE)] = Field(
        default=0, description="How many elements may fail, as a number or in percent, while the job still succeeds."
    )
    chunk: Annotated[int, Field(ge=1)] = Field(
        default=1, description="How many elements run one after the other in one array index."
    )
