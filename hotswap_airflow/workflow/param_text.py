"""Reads parameters from the texts of a command line."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import SetupError
from hotswap_airflow.workflow.checks.schedule_checks import value_fault
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hotswap_airflow.workflow.spec.param_spec import ParamSpec


def read_params(params: Mapping[str, ParamSpec], given: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` texts by the types of the parameters, and add the defaults. Raises ``SetupError``."""
    values: dict[str, Any] = {name: param.default for name, param in params.items() if param.has_default}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals:
            raise SetupError(f"--param {item!r}: write NAME=VALUE")
        if name not in params:
            near = vocabulary.nearest(name, params)
            known = f"did you mean {near}?" if near else f"use one of: {', '.join(params) or 'none'}"
            raise SetupError(f"--param {name}: the workflow has no such parameter; {known}")
        values[name] = _typed(name, params[name], text)
    missing = [name for name in params if name not in values]
    if missing:
        raise SetupError(f"parameters without a value: {', '.join(missing)}; give them as --param NAME=VALUE")
    return values


def _refuse(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    """Read a finite number, because JSON has no other. Raises ``ValueError``."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _typed(name: str, param: ParamSpec, text: str) -> Any:
    value: Any = text
    if param.type not in {"string", "date", "datetime"}:
        try:
            value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except ValueError:
            raise SetupError(f"--param {name}: {text!r} is not of type {param.type}") from None
    if fault := value_fault(param, value):
        raise SetupError(f"--param {name}: the value {fault}")
    return value
