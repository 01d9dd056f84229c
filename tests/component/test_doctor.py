"""`hotswap doctor`: what it says of an installation that is well, and of each thing that is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.cli import cluster_checks, main
from hotswap_airflow.settings import BUNDLE
from hotswap_airflow.slurm.probe import ClusterFacts
from hotswap_airflow.slurm.site import ClusterLimits, Partition
from hotswap_airflow.store.contents import ContentStore
from hotswap_airflow.store.scan import FolderScan
from hotswap_airflow.store.versions import VersionStore
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.workflow.site import Cluster

BUNDLES = json.dumps([{"name": "workflows", "classpath": BUNDLE, "kwargs": {}}])
FACTS = ClusterFacts("slurm 23.02.1", "ann", 0.0, "/w", has_accounting=True, partitions={"debug": True})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slurm_sandbox: Sandbox) -> pytest.MonkeyPatch:
    settings = {
        "AIRFLOW__HOTSWAP__STORE_PATH": str(tmp_path / "store"),
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": BUNDLES,
        "AIRFLOW_CONN_SLURM_MAIN": slurm_sandbox.connection_uri("main"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    capsys.readouterr()
    status = main(["doctor", "--json", *arguments])
    return status, {found["message"]: found["level"] for found in json.loads(capsys.readouterr().out)}


def _level(said: dict[str, str], words: str) -> str:
    (level,) = {level for message, level in said.items() if words in message}
    return level


@pytest.mark.usefixtures("installed")
def test_a_sound_installation(slurm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--site", str(slurm_sandbox.site_file)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("versions\n  ok       hotswap ")
    assert "0 problem(s)" in shown
    said = _said(capsys, "--site", str(slurm_sandbox.site_file))[1]
    assert _level(said, "workflow files are found by patch") == "ok"
    assert _level(said, "connection slurm_main reaches it as") == "ok"
    assert _level(said, "its clock agrees") == "ok"
    assert _level(said, "partitions debug, batch, gpu") == "ok"
    assert _level(said, "sacct does not answer") == "warning"
    assert _level(said, "bundle workflows has no version yet") == "warning"


def test_what_is_wrong_is_named_with_its_remedy(
    installed: pytest.MonkeyPatch, tmp_path: Path, slurm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "30")
    installed.setenv("AIRFLOW__DAG_PROCESSOR__DISABLE_BUNDLE_VERSIONING", "True")
    installed.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", "[]")
    (tmp_path / "file").touch()
    installed.setenv("AIRFLOW__HOTSWAP__STORE_PATH", str(tmp_path / "file"))
    site = json.loads(slurm_sandbox.site_file.read_text())
    site["clusters"]["main"]["partitions"]["none"] = {"nodes": 1}
    site["clusters"]["away"] = {"kind": "slurm", "connection": "slurm_away"}
    site["clusters"]["deaf"] = {"kind": "slurm", "connection": "slurm_deaf"}
    installed.setenv("AIRFLOW_CONN_SLURM_AWAY", "slurm://ann@127.0.0.1:1/")
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    status, said = _said(capsys, "--site", str(tmp_path / "site.yaml"))
    assert status == 1
    problems = " | ".join(message for message, level in said.items() if level == "problem")
    for words in (
        "min_serialized_dag_update_interval is 30",
        "disable_bundle_versioning",
        "no bundle of workflows",
        "cannot be written",
        "it has no partition none",
        "slurm_away cannot be reached",
        "slurm_deaf",
    ):
        assert words in problems


@pytest.mark.usefixtures("installed")
def test_a_broken_site_file_or_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text("hotswap: site/v1\n")
    status, said = _said(capsys, "--site", str(tmp_path / "site.yaml"))
    assert (status, _level(said, "missing-key")) == (1, "problem")
    assert _level(_said(capsys, "--site", "nowhere.yaml")[1], "nowhere.yaml cannot be read") == "problem"


@pytest.mark.parametrize(
    ("changes", "skew", "level", "words"),
    [
        ({"version": "sh: sbatch: not found"}, 0.0, "problem", "sbatch does not answer"),
        ({"version": "slurm 19.05.1"}, 0.0, "problem", "too old"),
        ({}, 0.0, "ok", "slurm 23.02.1"),
        ({}, -70.0, "warning", "70 s behind ours"),
        ({}, 70.0, "warning", "70 s ahead of ours"),
        ({}, 0.0, "ok", "sacct answers"),
        ({"has_accounting": False, "config": {"MinJobAge": "2 sec"}}, 0.0, "warning", "forgets ended jobs after 2 s"),
        ({"partitions": {"debug": False}}, 0.0, "warning", "partition debug is down"),
        ({"partitions": {}}, 0.0, "problem", "no partition debug"),
    ],
)
def test_facts_of_a_cluster(changes: dict[str, Any], skew: float, level: str, words: str) -> None:
    limits = ClusterLimits("main", {"debug": Partition("debug")})
    cluster = Cluster("main", "slurm_main", "w", limits)
    (found,) = [f for f in cluster_checks.judge(cluster, replace(FACTS, **changes), skew) if words in f.message]
    assert found.level == level
    assert bool(found.remedy) == (level != "ok")


@pytest.mark.usefixtures("installed")
def test_a_version_in_the_store_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "w.hotswap.yaml").write_text("hotswap: workflow/v1\njobs: {a: {rum: x}}\n")
    contents = ContentStore(tmp_path / "store")
    versions = VersionStore(tmp_path / "store" / "bundles" / "workflows", contents)
    versions.publish(FolderScan(tmp_path / "dags", contents, None, None).scan({}))
    said = _said(capsys)[1]
    assert _level(said, "1 workflow(s)") == "ok"
    assert _level(said, "w.hotswap.yaml is broken") == "warning"
