"""References to values: ``params.X``, ``jobs.JOB.OUTPUT``, ``jobs.JOB.state``, ``sweep.X``, ``environment``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,62}"
_PARAM = re.compile(rf"params\.({_NAME})")
_SWEEP = re.compile(rf"sweep\.({_NAME})")
_JOB = re.compile(rf"jobs\.({_NAME})\.({_NAME})")


@dataclass(frozen=True)
class Reference:
    """The source of a value. Only the kinds ``output`` and ``state`` have a ``job``."""

    kind: Literal["param", "output", "state", "sweep", "environment"]
    name: str = ""
    job: str | None = None

    def __str__(self) -> str:
        """The reference as it is written in a file."""
        if self.job is not None:
            return f"jobs.{self.job}.{self.name}"
        return {"param": f"params.{self.name}", "sweep": f"sweep.{self.name}"}.get(self.kind, self.kind)


def references_in_arguments(value: Any) -> Iterator[Reference]:
    """The references in the arguments of an operator, also inside of lists and maps."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, (dict, list)):
        for below in value.values() if isinstance(value, dict) else value:
            yield from references_in_arguments(below)


def parse_reference(text: str) -> Reference | None:
    """Read a reference; None if the text is not a reference.

    >>> parse_reference("jobs.fit.rmse")
    Reference(kind='output', name='rmse', job='fit')
    """
    if text == "environment":
        return Reference("environment")
    if match := _PARAM.fullmatch(text):
        return Reference("param", match[1])
    if match := _SWEEP.fullmatch(text):
        return Reference("sweep", match[1])
    if match := _JOB.fullmatch(text):
        kind: Literal["state", "output"] = "state" if match[2] == "state" else "output"
        return Reference(kind, match[2], match[1])
    return None
