"""The ``[hotswap]`` section as typed values. Entry points read it once, with Airflow's or the command line's reader."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal, cast

from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECTION = "hotswap"
BUNDLE = "hotswap_airflow.bundle.WorkflowFolder"
"""The class that `[dag_processor] dag_bundle_config_list` names."""
DEFAULT_CONNECTION = "slurm_default"
"""The connection that is used if none is named."""
RECONCILE = "*/15 * * * *"
Discovery = Literal["auto", "stub"]
FinishIn = Literal["auto", "trigger", "worker"]


@dataclass(frozen=True)
class Option:
    """One option of the section, as Airflow's configuration reference, our docs and ``hotswap doctor`` describe it.

    ``choices`` are all allowed values, if there are only a few.
    """

    name: str
    description: str
    example: str
    default: str | None = None
    choices: tuple[str, ...] = ()


OPTIONS = (
    Option(
        "store_path",
        "A persistent folder that dag-processor, workers and triggerers all see (default: hotswap below AIRFLOW_HOME).",
        "/shared/airflow/hotswap",
    ),
    Option("site", "The site file: clusters, environments and their limits.", "/etc/hotswap/site.yaml"),
    Option("environment", "Which environment of the site this Airflow runs (default: the site's first).", "prod"),
    Option(
        "reconcile",
        "When to cancel jobs whose tasks have ended, if an earlier cancellation failed: five cron fields, or off.",
        "0 * * * *",
        RECONCILE,
    ),
    Option(
        "finish_in",
        "Where a success without outlets ends: trigger (no worker is needed), worker, or auto: trigger unless a plugin "
        "listens to task events.",
        "worker",
        "auto",
        ("auto", "trigger", "worker"),
    ),
    Option(
        "discovery",
        "How YAML files are found: auto patches one function, stub writes files.",
        "stub",
        "auto",
        ("auto", "stub"),
    ),
)
"""All options of the section. A new one is an entry here and a field of ``Settings``."""


@dataclass(frozen=True)
class Settings:
    """What an installation sets. ``site`` is None if no site file was named.

    ``reconcile`` is a cron expression, None if the reconciliation is turned off.
    """

    store_path: Path
    site: Path | None = None
    environment: str | None = None
    discovery: Discovery = "auto"
    reconcile: str | None = RECONCILE
    finish_in: FinishIn = "auto"


def read_settings(get: Callable[[str], str | None], home: Path) -> Settings:
    """Read the section with ``get(key)``; ``home`` is Airflow's home. Raises ``SetupError``."""
    values = {option.name: get(option.name) or option.default for option in OPTIONS}
    for option in OPTIONS:
        if option.choices and values[option.name] not in option.choices:
            *others, last = option.choices
            words = f"[hotswap] {option.name} is {values[option.name]!r}"
            raise SetupError(f"{words}; use {', '.join(others)} or {last}")
    reconcile = values["reconcile"]
    if reconcile is not None and reconcile not in {"off", RECONCILE} and not _is_cron(reconcile):
        raise SetupError(f"[hotswap] reconcile is {reconcile!r}; write five cron fields, or off")
    site = values["site"]
    return Settings(
        store_path=Path(values["store_path"] or home / "hotswap").expanduser(),
        site=Path(site).expanduser() if site else None,
        environment=values["environment"],
        discovery=cast("Discovery", values["discovery"]),
        reconcile=None if reconcile == "off" else reconcile,
        finish_in=cast("FinishIn", values["finish_in"]),
    )


def _is_cron(text: str) -> bool:
    # Imported only here: every task reads the settings, but few installations set this value.
    from hotswap_airflow.workflow.checks.schedule_checks import cron_fault

    return not cron_fault(text)


def airflow_home(environ: Mapping[str, str]) -> Path:
    """Airflow's home folder, found in the same way as Airflow finds it."""
    return Path(environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder in which this user's runs and sandboxes are recorded."""
    env = os.environ if environ is None else environ
    return Path(env.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "hotswap"


def read_without_airflow(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the section as Airflow would, without importing it: environment first, then airflow.cfg."""
    env = os.environ if environ is None else environ
    home = airflow_home(env)
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(env.get("AIRFLOW_CONFIG") or home / "airflow.cfg", encoding="utf-8")

    def get(key: str) -> str | None:
        name = f"AIRFLOW__{SECTION.upper()}__{key.upper()}"
        value = env.get(name) or config.get(SECTION, key, fallback=None)
        return Template(value).safe_substitute({"AIRFLOW_HOME": str(home), **env}) if value else value

    return read_settings(get, home)
