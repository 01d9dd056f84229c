"""What Airflow knows of us by our manifest."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers_manager import ProvidersManager

from hotswap_airflow import settings
from hotswap_airflow.plugin import SlurmJobLink
from hotswap_airflow.provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
KINDS = ("hooks", "operators", "sensors", "triggers")


def test_airflow_finds_the_provider() -> None:
    manager = ProvidersManager()
    assert get_provider_info().items() <= manager.providers["hotswap-airflow"].data.items()
    hook = manager.hooks["slurm"]
    assert hook is not None
    assert hook.hook_class_name == "hotswap_airflow.hooks.slurm.SlurmHook"


def test_the_manifest_names_every_module_and_no_other() -> None:
    info = get_provider_info()
    for kind in KINDS:
        named = {module for entry in info[kind] for module in entry["python-modules"]}
        for module in named:
            importlib.import_module(module)
        folder = ROOT / "hotswap_airflow" / kind
        ships = re.compile(r"^class [A-Z]\w*(Hook|Operator|Sensor|Trigger)\(", re.MULTILINE)
        there = {f"hotswap_airflow.{kind}.{p.stem}" for p in folder.glob("*.py") if ships.search(p.read_text())}
        assert named == there, kind


def test_every_setting_is_described() -> None:
    options = get_provider_info()["config"]["hotswap"]["options"]
    assert set(options) == set(settings.Settings.__dataclass_fields__)
    assert options["reconcile"]["default"] == settings.RECONCILE
    page = (ROOT / "docs" / "airflow.md").read_text()
    assert [name for name in options if f"| `{name}` |" not in page] == []


def test_the_link_of_a_task_is_a_page_of_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://lab.example/airflow/")
    key = TaskInstanceKey("fit", "a", "manual__2026-01-01T00:00:00+00:00", 1, 3)
    page = "/airflow/dags/fit/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/a/mapped/3/xcom"
    assert SlurmJobLink().get_link(None, ti_key=key) == page
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    assert (
        SlurmJobLink().get_link(None, ti_key=key._replace(run_id="r", map_index=-1)) == "/dags/fit/runs/r/tasks/a/xcom"
    )


def test_the_entry_points_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        *project["entry-points"]["airflow.plugins"].values(),
        *project["entry-points"]["apache_airflow_provider"].values(),
    ]
    for name in (*named, project["scripts"]["hotswap"]):
        module, _, attribute = name.partition(":")
        assert hasattr(importlib.import_module(module), attribute)
