"""Finds numbers that would reach a script in another form than they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm.request import as_text
from hotswap_airflow.workflow.text.numbers import WrittenFloat, WrittenInt, reads_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.text.document import Node, Path


def check_numbers(context: CheckContext) -> Iterator[Problem]:
    """Find problems in the numbers that reach a script: defaults of parameters, and values of axes.

    The author may mean a text that only looks like a number: a version, a commit, a name with leading zeros.
    """
    for name, param in context.spec.params.items():
        # A type that the file names leaves no doubt that a number is meant.
        is_meant = param.type in {"integer", "number"} and context.raw("params", name, "type") is not None
        if param.type not in {"string", "date", "datetime"} and not is_meant:
            yield from _altered(context, context.spelled_out(("params", name), "default"))
    for job, body in context.spec.jobs.items():
        for name, axis in (body.sweep.over if body.sweep is not None else {}).items():
            here: Path = ("jobs", job, "sweep", "over", name)
            if axis.values is not None and not any(isinstance(value, str) for value in axis.values):
                yield from _altered(context, context.spelled_out(here, "list"))
            for kind in ("range", "linspace"):
                yield from _altered(context, (*here, kind), WrittenInt)


def _altered(
    context: CheckContext, path: Path, kinds: type | tuple[type, ...] = (WrittenInt, WrittenFloat)
) -> Iterator[Problem]:
    node = context.document.exact_node(path)
    for place, number in _numbers(node) if node is not None else ():
        if isinstance(number, kinds) and not reads_back(number):
            words = f"`{number}` would arrive as {as_text(number)}"
            yield context.document.problem(place, "wrong-type", words, f"quote it, or write {as_text(number)}")


def _numbers(node: Node) -> Iterator[tuple[Any, WrittenInt | WrittenFloat]]:
    if isinstance(node.value, (WrittenInt, WrittenFloat)):
        yield node.place, node.value
    elif isinstance(node.value, (list, dict)):
        for child in node.value if isinstance(node.value, list) else node.value.values():
            yield from _numbers(child)
