"""The shape of a workflow file: types, choices and ranges, checked by pydantic.

``hotswap_airflow.workflow.checked`` runs the checks that need more than one value at a time.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hotswap_airflow.workflow.spec.job_spec import Defaults, JobSpec
from hotswap_airflow.workflow.spec.param_spec import Param
from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, DeploySpec, NotifySpec
from hotswap_airflow.workflow.spec.values import FileModel, Moment, Seconds, Text, fault


class Schedule(FileModel):
    """When runs start: a cron text with its time zone, or the assets that start a run."""

    cron: str | None = None
    timezone: str = "UTC"
    assets: list[str] | None = None


class SecretSpec(FileModel):
    """The Airflow connection and its field, or the Airflow variable, that holds a secret."""

    connection: str | None = None
    field: str | None = None
    variable: str | None = None


class PythonSoftware(FileModel):
    """A Python environment from a requirements file or a lock file."""

    requirements: str | None = None
    lock: str | None = None
    version: Text | None = None


class CondaSoftware(FileModel):
    """A conda environment from its file."""

    file: str


class SoftwareSpec(FileModel):
    """An environment that is built once for each cluster: by Python, by conda, or by a script."""

    python: PythonSoftware | None = None
    conda: CondaSoftware | None = None
    setup: str | None = None
    files: list[Text] = []
    activate: Text | None = None


def _secret(value: Any) -> Any:
    if value is not None and not isinstance(value, dict):
        remedy = "name an Airflow connection: `{connection: NAME}`, or a variable: `{variable: NAME}`"
        raise fault("secret-plaintext", "the secret `{key}` stands here for everybody to read", remedy)
    return value


def _empty(value: Any) -> Any:
    """Read a key without a value as an empty map. The checks report the missing keys."""
    return {} if value is None else value


def _cron(value: Any) -> Any:
    return {"cron": value} if isinstance(value, str) else value


JobEntry = Annotated[JobSpec, BeforeValidator(_empty)]


class WorkflowSpec(FileModel):
    """A workflow file, with the overlay of one environment."""

    hotswap: str
    name: Text | None = None
    version: Text | None = None
    description: Text = ""
    owner: Text | None = None
    project: Text | None = None
    tags: list[Text] = []
    schedule: Annotated[Schedule | None, BeforeValidator(_cron)] = None
    start_date: Moment | None = None
    catchup: bool = False
    max_active_runs: Annotated[int, Field(ge=1)] = 16
    timeout: Seconds | None = None
    params: dict[str, Param] = {}
    secrets: dict[str, Annotated[SecretSpec, BeforeValidator(_secret)]] = {}
    defaults: Defaults = Defaults()
    files: list[Text] = []
    software: dict[str, SoftwareSpec] = {}
    templates: dict[str, JobEntry] = {}
    jobs: dict[str, JobEntry] = {}
    deploy: DeploySpec | None = None
    budget: BudgetSpec | None = None
    environments: dict[str, dict[str, Any] | None] = {}
    notify: list[NotifySpec] = []
