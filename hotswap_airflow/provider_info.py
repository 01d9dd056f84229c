"""The manifest of the provider: what Airflow reads to know what we ship."""

from __future__ import annotations

from typing import Any

from hotswap_airflow import __version__
from hotswap_airflow.hooks.form import UI_FIELDS

_NAME = "Slurm (hotswap)"
_MODULES = {
    "hooks": ["slurm"],
    "operators": ["slurm", "workflow", "maintenance"],
    "sensors": ["slurm"],
    "triggers": ["job", "foreign_job", "maintenance", "reconcile", "retention"],
}


def get_provider_info() -> dict[str, Any]:
    """Give the manifest."""
    return {
        "package-name": "hotswap-airflow",
        "name": "Hotswap",
        "description": "Research workflows on Slurm clusters.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": _NAME, "external-doc-url": "https://slurm.schedmd.com/", "tags": ["service"]}
        ],
        **{kind: _listed(kind) for kind in _MODULES},
        "connection-types": [
            {
                "hook-class-name": "hotswap_airflow.hooks.slurm.SlurmHook",
                "hook-name": "Slurm",
                "connection-type": "slurm",
                "ui-field-behaviour": {name.replace("_", "-"): value for name, value in UI_FIELDS.items()},
            }
        ],
        "config": {"hotswap": {"description": "Workflows on Slurm clusters.", "options": _OPTIONS}},
    }


def _listed(kind: str) -> list[dict[str, Any]]:
    modules = [f"hotswap_airflow.{kind}.{module}" for module in _MODULES[kind]]
    return [{"integration-name": _NAME, "python-modules": modules}]


def _option(description: str, example: str, default: str | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": default,
    }


_OPTIONS: dict[str, Any] = {
    "store_path": _option(
        "A persistent folder that dag-processor, workers and triggerers all see (default: hotswap below AIRFLOW_HOME).",
        "/shared/airflow/hotswap",
    ),
    "site": _option("The site file: clusters, environments and their limits.", "/etc/hotswap/site.yaml"),
    "environment": _option("Which environment of the site this Airflow runs (default: the site's first).", "prod"),
    "reconcile": _option(
        "When jobs whose tasks are over are cancelled, should all else have failed: five cron fields, or off.",
        "0 * * * *",
        "*/15 * * * *",
    ),
    "finish_in": _option(
        "Where a success without outlets ends: trigger (no worker is needed), worker, or auto: trigger unless a plugin "
        "listens to task events.",
        "worker",
        "auto",
    ),
    "discovery": _option("How YAML files are found: auto patches one function, stub writes files.", "stub", "auto"),
}
