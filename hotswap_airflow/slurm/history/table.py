"""The results of a sweep as a table: for each element its point, how it ended, and its values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm.states import JobStatus, error_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.slurm.array import Array

SKIPPED = "SKIPPED"
"""The state of an element that was left out."""


@dataclass(frozen=True)
class ElementResult:
    """One row: the element's number, its values on the axes as text, Slurm's word for its end, and its outputs.

    ``error`` is the name of the error's class, empty if there is none. ``exit_status`` is None if it is not known.
    """

    element: int
    point: Mapping[str, str]
    state: str
    error: str = ""
    exit_status: int | None = None
    values: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        """The row as a line for people."""
        point = " ".join(f"{name}={value}" for name, value in self.point.items())
        values = " ".join(f"{name}={json.dumps(value)}" for name, value in (self.values or {}).items())
        status = f" (exit status {self.exit_status})" if self.exit_status else ""
        return f"{self.element}  {self.state}{status}  {point}{f'  -> {values}' if values else ''}"

    def to_json(self) -> str:
        """Write the row as one line."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, line: str) -> ElementResult:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(line))


def tabulate(
    array: Array,
    statuses: Mapping[int, JobStatus],
    values: Mapping[int, Mapping[str, Any]],
    errors: Mapping[int, str],
) -> tuple[ElementResult, ...]:
    """The table of a sweep that has ended.

    ``statuses`` are those of the elements of its last array, ``errors`` the names of the error classes of elements that
    went wrong in it.
    """
    table = []
    for element, row in enumerate(array.rows):
        point = dict(zip(array.variables, row or (), strict=False))
        status = statuses.get(element) or array.earlier.get(element)
        state = _state(array, element, status)
        exit_status = status.exit_status if status is not None else None
        error = errors.get(element) or _error(state, exit_status)
        table.append(ElementResult(element, point, state, error, exit_status, values.get(element)))
    return tuple(table)


def _error(state: str, exit_status: int | None) -> str:
    """The name of an element's error as its state and exit status show it; empty if it has none."""
    if state == "FAILED" and exit_status == 0:
        return "OutputMissing"
    return type(error).__name__ if (error := error_of(JobStatus(state), "")) is not None else ""


def _state(array: Array, element: int, status: JobStatus | None) -> str:
    if array.rows[element] is None:
        return SKIPPED
    if element in array.done:
        return "COMPLETED"
    if status is not None:
        return status.state
    return "FAILED" if element in array.lost or element in array.waiting else "PENDING"
