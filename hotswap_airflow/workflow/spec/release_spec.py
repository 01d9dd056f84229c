"""The shape of what a team sets for a workflow: how a release goes live, its budget, and its notices."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from hotswap_airflow.domain.currency import CURRENCIES
from hotswap_airflow.workflow.spec import value_schemas
from hotswap_airflow.workflow.spec.values import FileModel, Money, Seconds, Share, SomeSeconds, Text, fault

_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_CONNECTION = re.compile(r"[A-Za-z0-9_.-]+")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:[-+.][A-Za-z0-9.+-]+)?")


class SmokeSpec(FileModel):
    """One trial run of a release before any other: its parameters, its jobs (all if empty), its time limit."""

    params: dict[str, Any] = Field(default={}, description="Values of parameters for the trial run.")
    jobs: list[str] = Field(default=[], description="The jobs that the trial run has; all if there are none.")
    timeout: SomeSeconds | None = Field(default=None, description="How long the trial run may take.")


class StepSpec(FileModel):
    """A share of runs in percent; the step ends after some finished runs, or after some time."""

    weight: int = Field(
        description="The share of runs in percent that get the new release; it rises from step to step.",
        json_schema_extra={"minimum": 1, "maximum": 100},
    )
    runs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many finished runs of the new release end the step."
    )
    lasts: Seconds | None = Field(default=None, alias="for", description="How long the step lasts; excludes `runs`.")
    approve: bool = Field(default=False, description="Whether a person must agree before the next step.")


class MetricSpec(FileModel):
    """A value of the runs of a release that must not be worse than that of the baseline."""

    name: Text = Field(description="How the metric is called.")
    source: str = Field(
        alias="from",
        description=(
            "The value that is measured: `jobs.JOB.OUTPUT`, or `run.` with `success`, `duration`, `queue_wait`, "
            "`cpu_hours`, `gpu_hours` or `cost`."
        ),
    )
    compare: Literal["mean", "median", "p95", "max", "rate"] = Field(
        default="median", description="The statistic over the runs that is compared."
    )
    direction: Literal["lower", "higher", "same"] = Field(description="Which way is better.")
    tolerance: Share = Field(
        default=0, description="How much worse than the baseline is accepted, as a number or in percent."
    )
    min_runs: Annotated[int, Field(ge=1, examples=[5])] = Field(
        description="How many runs each side needs before there is a verdict."
    )


def _target(value: Any) -> Any:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if isinstance(text, str) and text not in {"previous", "baseline"} and not _VERSION.fullmatch(text):
        remedy = "write `previous`, `baseline`, or a version such as 1.4.0"
        raise fault("rollback-target", f"`{text}` is no release to go back to", remedy)
    return text


class RollbackSpec(FileModel):
    """What makes a release go back, to which one, and what becomes of its jobs."""

    on: list[Literal["failed", "metric", "smoke", "budget"]] = Field(
        default=["failed", "metric", "smoke", "budget"], description="What makes the release go back."
    )
    to: Annotated[str, BeforeValidator(_target), WithJsonSchema(value_schemas.RELEASE)] = Field(
        default="previous", description="The release that comes back: `previous`, `baseline`, or a version."
    )
    running_jobs: Literal["finish", "cancel", "requeue"] = Field(
        default="finish", description="What becomes of the jobs of the release that goes."
    )


class DeploySpec(FileModel):
    """How a new release of the workflow goes live."""

    strategy: Literal["direct", "progressive", "canary", "blue-green"] = Field(
        default="direct",
        description=(
            "How runs move to a new release: at once, in steps, in steps judged by metrics, or by a switch after a "
            "trial run."
        ),
    )
    baseline: Text = Field(
        default="current", description="The version that metrics compare with; `current` is the one in use."
    )
    smoke: SmokeSpec | None = Field(
        default=None, description="A trial run before anything else; `blue-green` needs it."
    )
    steps: list[StepSpec] = Field(
        default=[], description="The steps of `progressive` and `canary`, after which all runs get the release."
    )
    metrics: list[MetricSpec] = Field(default=[], description="What `canary` judges each step by.")
    rollback: RollbackSpec = Field(default=RollbackSpec(), description="When and how a release goes back.")
    keep: Annotated[int, Field(ge=1)] = Field(default=3, description="How many old releases stay ready to go back to.")


def _currency(value: Any) -> Any:
    if isinstance(value, str) and value not in CURRENCIES:
        raise fault("wrong-choice", f"`currency` cannot be {value}", "use a code of ISO 4217, such as EUR")
    return value


Currency = Annotated[str, BeforeValidator(_currency), WithJsonSchema(value_schemas.CURRENCY)]


class BudgetSpec(FileModel):
    """What may be used in a period: money, CPU hours, GPU hours; and what happens when it is used up."""

    amount: Money | None = Field(default=None, description="How much money may be used.")
    cpu_hours: Money | None = Field(default=None, description="How many hours of CPUs may be used.")
    gpu_hours: Money | None = Field(default=None, description="How many hours of GPUs may be used.")
    currency: Currency | None = Field(
        default=None, description="The currency of `amount`, a code of ISO 4217; by default that of the site's prices."
    )
    per: Literal["run", "day", "week", "month", "quarter", "year", "total"] = Field(
        default="month", description="The period after which counting begins anew."
    )
    thresholds: Annotated[list[int | float], WithJsonSchema(value_schemas.PERCENTAGES)] = Field(
        default=[80, 100], description="Rising percentages of the budget; a notice is sent at each."
    )
    on_exceed: Literal["notify", "hold", "cancel"] = Field(
        default="hold",
        description=(
            "What happens when the budget is used up: only a notice, no new jobs until someone agrees, or running "
            "jobs are cancelled too."
        ),
    )


def _addressee(value: Any) -> Any:
    if isinstance(value, str) and not _ADDRESS.fullmatch(value) and not _CONNECTION.fullmatch(value):
        raise fault(
            "wrong-choice", f"`{value}` is neither a mail address nor a connection", "write `to: ann@example.org`"
        )
    return value


class NotifySpec(FileModel):
    """The events that are notified, and the e-mail address or Airflow connection that gets the notice."""

    on: list[Literal["success", "failed", "rollback", "approval", "budget"]] = Field(
        description="The events that are told.", json_schema_extra={"minItems": 1}
    )
    to: Annotated[str, BeforeValidator(_addressee)] = Field(
        description="An e-mail address, or an Airflow connection.",
        json_schema_extra={"pattern": value_schemas.ADDRESSEE},
    )
