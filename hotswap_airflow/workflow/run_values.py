"""The values of a run when a job starts: what references refer to, and whether a job's condition holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import JobFailed
from hotswap_airflow.workflow.expression import NotComparable, is_true, parse_expression, references
from hotswap_airflow.workflow.spec.references import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.workflow.plan import Plan, PlannedJob


@dataclass(frozen=True)
class RunValues:
    """The values of a run when a job starts. Times are ISO 8601 in UTC; a text is empty if there is no time."""

    run_id: str
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    interval_start: str = ""
    interval_end: str = ""


def value_of(plan: Plan, reference: Reference, values: RunValues) -> Any:
    """The value of a reference; None if the run has no such value, as after a job that did not succeed."""
    match reference.kind:
        case "environment":
            return plan.environment
        case "param":
            return values.params.get(reference.name)
        case "state":
            return values.states.get(reference.job or "")
        case "output":
            return values.outputs.get(reference.job or "", {}).get(reference.name)
        case "sweep":  # differs from element to element
            return None


def why_skipped(plan: Plan, job: PlannedJob, values: RunValues) -> str:
    """Why the condition of a job does not hold, with the values in it; an empty text if it holds.

    Raises ``JobFailed`` if its values cannot be compared.
    """
    if job.condition is None:
        return ""
    expression = parse_expression(job.condition)
    try:
        if is_true(expression, lambda reference: value_of(plan, reference, values)):
            return ""
    except NotComparable as fault:
        raise JobFailed(f"`if` of job {job.name} cannot be decided: {fault}") from None
    known = (f"{name} is {value_of(plan, name, values)!r}" for name in dict.fromkeys(references(expression)))
    return f"its `if` does not hold: {job.condition}" + "".join(f"; {text}" for text in known)


def resolved(plan: Plan, value: Any, values: RunValues) -> Any:
    """The arguments of an operator with the values of their references."""
    if isinstance(value, Reference):
        return value_of(plan, value, values)
    if isinstance(value, dict):
        return {key: resolved(plan, below, values) for key, below in value.items()}
    return [resolved(plan, below, values) for below in value] if isinstance(value, list) else value
