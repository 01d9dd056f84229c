"""The shape of a workflow file: types, choices and ranges, checked by pydantic.

``hotswap_airflow.workflow.checked`` runs the checks that need more than one value at a time.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hotswap_airflow.workflow.spec.job_spec import Defaults, JobSpec
from hotswap_airflow.workflow.spec.param_spec import Param
from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, DeploySpec, NotifySpec
from hotswap_airflow.workflow.spec.value_schemas import SECRET_FIELD, WORKFLOW_NAME
from hotswap_airflow.workflow.spec.values import (
    Cron,
    FileModel,
    Moment,
    Name,
    SiteName,
    SomeSeconds,
    Text,
    expected,
    fault,
)


class Schedule(FileModel):
    """When runs start: a cron text with its time zone, or the assets that start a run."""

    cron: Cron | None = Field(default=None, description="A cron text with five fields, or a word such as `@daily`.")
    timezone: str = Field(default="UTC", description="The time zone of `cron`, such as `Europe/Berlin`.")
    assets: list[str] | None = Field(
        default=None, description="URIs of Airflow assets; a run starts when they are updated."
    )


class SecretSpec(FileModel):
    """The Airflow connection and its field, or the Airflow variable, that holds a secret."""

    connection: str | None = Field(default=None, description="The Airflow connection that holds the secret.")
    field: str | None = Field(
        default=None,
        description="The part of the connection: a field, or `extra.KEY`; the password by default.",
        json_schema_extra={"pattern": SECRET_FIELD},
    )
    variable: str | None = Field(default=None, description="The Airflow variable that holds the secret.")


class PythonSoftware(FileModel):
    """A Python environment from a requirements file or a lock file."""

    requirements: str | None = Field(default=None, description="A requirements file beside the workflow.")
    lock: str | None = Field(default=None, description="A lock file beside the workflow: `uv.lock` or `pylock.toml`.")
    version: Text | None = Field(
        default=None, description="The version of Python that the cluster must have, such as `3.11`."
    )


class CondaSoftware(FileModel):
    """A conda environment from its file."""

    file: str = Field(description="The environment file beside the workflow.")


class SoftwareSpec(FileModel):
    """An environment that is built once for each cluster: by Python, by conda, or by a script."""

    python: PythonSoftware | None = Field(
        default=None, description="A Python environment, from `requirements` or `lock`."
    )
    conda: CondaSoftware | None = Field(default=None, description="A conda environment.")
    setup: str | None = Field(
        default=None, description="A script beside the workflow that fills the folder `$HOTSWAP_SOFTWARE`."
    )
    files: list[Text] = Field(default=[], description="Further files that the build needs.")
    activate: Text | None = Field(
        default=None,
        description="Bash text that makes the software usable; by default its `bin` comes first in `PATH`.",
    )


_LITERAL = frozenset({"value", "password", "secret", "token", "key", "text", "default"})
"""Keys under which people write a secret itself."""


def _secret(value: Any) -> Any:
    literal = isinstance(value, dict) and _LITERAL & set(value)
    if (value is not None and not isinstance(value, dict)) or literal:
        remedy = "name an Airflow connection: `{connection: NAME}`, or a variable: `{variable: NAME}`"
        raise fault("secret-plaintext", "the secret `{key}` stands here for everybody to read", remedy)
    return value


def _empty(value: Any) -> Any:
    """Read a key without a value as an empty map. The checks report the missing keys."""
    return {} if value is None else value


def _cron(value: Any) -> Any:
    if value is not None and not isinstance(value, (str, dict)):
        raise expected("wrong-type", "a cron text such as `0 6 * * *`, or `{assets: [URI]}`")
    return {"cron": value} if isinstance(value, str) else value


JobEntry = Annotated[JobSpec, BeforeValidator(_empty, json_schema_input_type=JobSpec | None)]


class WorkflowSpec(FileModel):
    """A workflow file, with the overlay of one environment."""

    hotswap: str = Field(description="The header: what kind of file this is, and the version of its language.")
    name: Text | None = Field(
        default=None,
        description="The name of the workflow and of its Dag; by default that of the file.",
        json_schema_extra={"type": "string", "pattern": WORKFLOW_NAME},
    )
    version: Text | None = Field(
        default=None, description="The version to show, compare and go back to; by default made from the content."
    )
    description: Text = Field(default="", description="Is shown in the UI.")
    owner: Text | None = Field(default=None, description="Is shown in the UI.")
    project: Text | None = Field(default=None, description="The project of the site that pays.")
    tags: list[Text] = Field(default=[], description="Words to filter by in the UI.")
    schedule: Annotated[Schedule | None, BeforeValidator(_cron, json_schema_input_type=Schedule | Cron | None)] = Field(
        default=None, description="When runs start: a cron text, `{cron, timezone}`, or `{assets}`; without it by hand."
    )
    start_date: Moment | None = Field(
        default=None,
        description="No run is before this: a date, or a time with its offset. A date is midnight in UTC.",
        json_schema_extra={"default": "2024-01-01"},
    )
    catchup: bool = Field(
        default=False, description="Whether missed intervals since `start_date` are run; needs `start_date`."
    )
    max_active_runs: Annotated[int, Field(ge=1)] = Field(default=16, description="The most runs at the same time.")
    timeout: SomeSeconds | None = Field(
        default=None, description="How long a run may take before it is cancelled; for ever by default."
    )
    params: dict[Name, Param] = Field(
        default={}, description="The parameters of a run, in `$PARAM_X`: a default, or a map."
    )
    secrets: dict[Name, Annotated[SecretSpec, BeforeValidator(_secret)]] = Field(
        default={},
        description="Secrets for scripts, in `$SECRET_X`, from Airflow connections or variables that the site allows.",
    )
    defaults: Defaults = Field(default=Defaults(), description="Values for all Slurm jobs that do not set their own.")
    files: list[Text] = Field(
        default=[], description="Paths and globs of the workflow's own code, which stands in the run directory."
    )
    software: dict[Name, SoftwareSpec] = Field(
        default={}, description="Environments that are built once for each cluster and shared by all runs."
    )
    templates: dict[Name, JobEntry] = Field(
        default={}, description="Parts of jobs for `extends`, with the keys of a job."
    )
    jobs: dict[Name, JobEntry] = Field(default={}, description="The jobs.", json_schema_extra={"minProperties": 1})
    deploy: DeploySpec | None = Field(default=None, description="How a new release goes live.")
    budget: BudgetSpec | None = Field(default=None, description="What the workflow may use.")
    environments: dict[SiteName, dict[str, Any] | None] = Field(
        default={},
        description=(
            "What is different in an environment: any keys but `hotswap`, `name` and `environments`. Jobs are "
            "changed, none is added."
        ),
    )
    notify: list[NotifySpec] = Field(default=[], description="Who is told of what.")
