"""The shape of what a team sets for a workflow: how a release goes live, its budget, and its notices."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hotswap_airflow.domain.currency import CURRENCIES
from hotswap_airflow.workflow.spec.values import FileModel, Money, Seconds, Share, Text, fault

_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_CONNECTION = re.compile(r"[A-Za-z0-9_.-]+")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:[-+.][A-Za-z0-9.+-]+)?")


class SmokeSpec(FileModel):
    """One trial run of a release before any other: its parameters, its jobs (all if empty), its time limit."""

    params: dict[str, Any] = {}
    jobs: list[str] = []
    timeout: Seconds | None = None


class StepSpec(FileModel):
    """A share of runs in percent; the step ends after some finished runs, or after some time."""

    weight: int
    runs: Annotated[int, Field(ge=1)] | None = None
    lasts: Seconds | None = Field(default=None, alias="for")
    approve: bool = False


class MetricSpec(FileModel):
    """A value of the runs of a release that must not be worse than that of the baseline."""

    name: Text
    source: str = Field(alias="from")
    compare: Literal["mean", "median", "p95", "max", "rate"] = "median"
    direction: Literal["lower", "higher", "same"]
    tolerance: Share = 0
    min_runs: Annotated[int, Field(ge=1, examples=[5])]


def _target(value: Any) -> Any:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if isinstance(text, str) and text not in {"previous", "baseline"} and not _VERSION.fullmatch(text):
        remedy = "write `previous`, `baseline`, or a version such as 1.4.0"
        raise fault("rollback-target", f"`{text}` is no release to go back to", remedy)
    return text


class RollbackSpec(FileModel):
    """What makes a release go back, to which one, and what becomes of its jobs."""

    on: list[Literal["failed", "metric", "smoke", "budget"]] = ["failed", "metric", "smoke", "budget"]
    to: Annotated[str, BeforeValidator(_target)] = "previous"
    running_jobs: Literal["finish", "cancel", "requeue"] = "finish"


class DeploySpec(FileModel):
    """How a new release of the workflow goes live."""

    strategy: Literal["direct", "progressive", "canary", "blue-green"] = "direct"
    baseline: Text = "current"
    smoke: SmokeSpec | None = None
    steps: list[StepSpec] = []
    metrics: list[MetricSpec] = []
    rollback: RollbackSpec = RollbackSpec()
    keep: Annotated[int, Field(ge=1)] = 3


def _currency(value: Any) -> Any:
    if isinstance(value, str) and value not in CURRENCIES:
        raise fault("wrong-choice", f"`currency` cannot be {value}", "use a code of ISO 4217, such as EUR")
    return value


Currency = Annotated[str, BeforeValidator(_currency)]


class BudgetSpec(FileModel):
    """What may be used in a period: money, CPU hours, GPU hours; and what happens when it is used up."""

    amount: Money | None = None
    cpu_hours: Money | None = None
    gpu_hours: Money | None = None
    currency: Currency | None = None
    per: Literal["run", "day", "week", "month", "quarter", "year", "total"] = "month"
    thresholds: list[int | float] = [80, 100]
    on_exceed: Literal["notify", "hold", "cancel"] = "hold"


def _addressee(value: Any) -> Any:
    if isinstance(value, str) and not _ADDRESS.fullmatch(value) and not _CONNECTION.fullmatch(value):
        raise fault(
            "wrong-choice", f"`{value}` is neither a mail address nor a connection", "write `to: ann@example.org`"
        )
    return value


class NotifySpec(FileModel):
    """The events that are notified, and the e-mail address or Airflow connection that gets the notice."""

    on: list[Literal["success", "failed", "rollback", "approval", "budget"]]
    to: Annotated[str, BeforeValidator(_addressee)]
