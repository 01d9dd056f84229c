"""The manifest of the provider: Airflow reads from it what we ship."""

from __future__ import annotations

from typing import Any

from hotswap_airflow import __version__
from hotswap_airflow.hooks.form import UI_FIELDS
from hotswap_airflow.settings import OPTIONS, Option

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
        "config": {
            "hotswap": {"description": "Workflows on Slurm clusters.", "options": {o.name: _option(o) for o in OPTIONS}}
        },
    }


def _listed(kind: str) -> list[dict[str, Any]]:
    modules = [f"hotswap_airflow.{kind}.{module}" for module in _MODULES[kind]]
    return [{"integration-name": _NAME, "python-modules": modules}]


def _option(option: Option) -> dict[str, Any]:
    return {
        "description": option.description,
        "version_added": "0.1.0",
        "type": "string",
        "example": option.example,
        "default": option.default,
    }
