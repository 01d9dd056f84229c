"""The shape of a sweep and its axes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hotswap_airflow.workflow.spec import references
from hotswap_airflow.workflow.spec.values import FileModel, Text, expected, fault, share

_TABLES = {("param", "csv"), ("param", "tsv"), ("param", "txt")}
_AXIS_KEYS = {"values": "list", "source": "from"}


class AxisSpec(FileModel):
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
            raise fault("conflict", f"{names} exclude each other", "keep one of them")
        return self

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


class SweepSpec(FileModel):
    """A sweep: one job that runs as many elements of a Slurm array."""

    over: dict[str, Annotated[AxisSpec, BeforeValidator(_axis)]] = {}
    mode: Literal["product", "zip"] = "product"
    max_parallel: Annotated[int, Field(ge=1)] | None = None
    tolerate: Annotated[int | str, BeforeValidator(_tolerate)] = 0
    chunk: Annotated[int, Field(ge=1)] = 1
