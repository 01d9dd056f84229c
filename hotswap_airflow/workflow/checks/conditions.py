"""The conditions of jobs: whether each can be read, and whether what it refers to is declared and needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.workflow.checks.graph import needs_of, reference_fault
from hotswap_airflow.workflow.expression import ExpressionFault, parse_expression, references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.spec.references import Reference


def check_conditions(context: CheckContext) -> Iterator[Problem]:
    """Find problems in every ``if``."""
    for job, body in context.spec.jobs.items():
        if body.condition is None:
            continue
        place = ("jobs", job, "if")
        try:
            expression = parse_expression(body.condition)
        except ExpressionFault as fault:
            yield context.at_value(place, "expression-invalid", fault.words, fault.remedy)
            continue
        for reference in references(expression):
            if found := _fault(context, job, reference):
                yield context.at_value(place, *found)
                break


def _fault(context: CheckContext, job: str, reference: Reference) -> tuple[str, str, str] | None:
    if found := reference_fault(context.spec, job, reference):
        return found
    if reference.kind == "sweep":
        words = f"`{reference}` differs from element to element, but `if` of jobs.{job} decides for the whole job"
        return "expression-invalid", words, "test it in `run:`"
    if reference.job is not None and reference.job not in needs_of(context.spec, job):
        words = f"`{reference}` in jobs.{job} refers to a job that is not in its `needs`"
        return "reference-not-needed", words, f"add `needs: [{reference.job}]`"
    return None
