"""`hotswap doctor`: what it says of an installation that is well, and of each thing that is not."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.cli import airflow_checks, cluster_checks, main
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.file_store.scan import FolderScan
from hotswap_airflow.file_store.versions import VersionStore
from hotswap_airflow.settings import BUNDLE
from hotswap_airflow.slurm.facts.probe import ClusterFacts
from hotswap_airflow.slurm.limits import ClusterLimits, Partition
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.testing.slurm import ClusterOptions
from hotswap_airflow.workflow.site import ClusterConfig

BUNDLES = json.dumps([{"name": "workflows", "classpath": BUNDLE, "kwargs": {}}])
FACTS = ClusterFacts("slurm 23.02.1", "ann", 0.0, "/w", has_accounting=True, partitions={"debug": True})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slurm_sandbox: Sandbox) -> pytest.MonkeyPatch:
    settings = {
        "AIRFLOW__HOTSWAP__STORE_PATH": str(tmp_path / "store"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
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
        ({"partitions": {}, "controller": "Unable to contact"}, 0.0, "problem", "slurmctld gives no answer: Unable"),
    ],
)
def test_facts_of_a_cluster(changes: dict[str, Any], skew: float, level: str, words: str) -> None:
    limits = ClusterLimits("main", {"debug": Partition("debug")})
    cluster = ClusterConfig("main", ClusterTarget("slurm_main", "w"), limits)
    (found,) = [f for f in cluster_checks.judge(cluster, replace(FACTS, **changes), skew) if words in f.message]
    assert found.level == level
    assert bool(found.remedy) == (level != "ok")


def test_a_controller_that_is_dead_or_stopped_is_found(
    installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = sandbox.create("ill")
    made.up(ClusterOptions(nodes=1))
    try:
        installed.setenv("AIRFLOW_CONN_SLURM_MAIN", made.connection_uri("main"))
        (controller,) = [daemon for daemon in made.clusters[0].daemons if daemon.name == "slurmctld"]
        controller.kill(signal.SIGSTOP)
        said = _said(capsys, "--site", str(made.site_file))
        assert (said[0], _level(said[1], "slurmctld gives no answer: no answer within 10 s")) == (1, "problem")
        controller.kill(signal.SIGCONT)
        made.clusters[0].stop_daemon("slurmctld")
        said = _said(capsys, "--site", str(made.site_file))
        assert (said[0], _level(said[1], "slurmctld gives no answer: ")) == (1, "problem")
    finally:
        made.down()


def test_what_only_the_sandbox_knows_is_not_taken_for_airflows(
    installed: pytest.MonkeyPatch, tmp_path: Path, slurm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    installed.delenv("AIRFLOW_CONN_SLURM_MAIN")
    installed.setenv("AIRFLOW__HOTSWAP__SITE", str(slurm_sandbox.site_file))
    sandbox.save(slurm_sandbox)
    try:
        status, said = _said(capsys)
        assert (status, _level(said, "slurm_main is known only from the running sandbox")) == (1, "problem")
    finally:
        sandbox.forget(slurm_sandbox.name)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ("slurm://127.0.0.1/?key_file=/no/key", "its `key_file` /no/key does not exist on this host"),
        ("slurm://127.0.0.1/?keyfile=/no/key", "has no field `keyfile`; did you mean `key_file`?"),
        ("slurm://?transport=lokal", "has no transport `lokal`; did you mean `local`?"),
        ("http://127.0.0.1/", "is of type 'http'; use slurm"),
    ],
)
def test_a_connection_that_is_wrong_is_to_be_corrected_and_not_created(
    installed: pytest.MonkeyPatch,
    slurm_sandbox: Sandbox,
    capsys: pytest.CaptureFixture[str],
    connection: str,
    words: str,
) -> None:
    installed.setenv("AIRFLOW_CONN_SLURM_MAIN", connection)
    assert main(["doctor", "--json", "--site", str(slurm_sandbox.site_file)]) == 1
    (found,) = [found for found in json.loads(capsys.readouterr().out) if words in found["message"]]
    assert found["level"] == "problem"
    assert "correct" in found["remedy"]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"foldr": "/x"}, "bundle workflows takes no argument 'foldr'"),
        ({"folder": "/no/such/folder"}, "the folder of bundle workflows does not exist: /no/such/folder"),
        ({"refresh_interval": 300}, "bundle workflows looks at its folder every 300 s"),
    ],
)
def test_what_a_bundle_is_made_with_is_looked_at(
    installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kwargs: dict[str, Any], words: str
) -> None:
    bundles = [{"name": "workflows", "classpath": BUNDLE, "kwargs": kwargs}]
    installed.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    assert _level(_said(capsys)[1], words) in {"problem", "warning"}


def test_a_store_is_looked_at_and_nothing_is_written(
    installed: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _level(_said(capsys)[1], f"{tmp_path / 'store'} does not exist yet") == "warning"
    assert not (tmp_path / "store").exists()
    (tmp_path / "store").mkdir()
    assert _level(_said(capsys)[1], "installation none yet") == "ok"
    assert list((tmp_path / "store").iterdir()) == []
    installed.setenv("AIRFLOW__HOTSWAP__STORE_PATH", "store")
    assert _level(_said(capsys)[1], "[hotswap] store_path is store") == "problem"


class _Lives:
    hostname, latest_heartbeat = "host", "noon"

    def __init__(self, lives: bool) -> None:
        self.is_alive = lambda: lives


@pytest.mark.parametrize(
    ("job", "level"), [(_Lives(lives=True), "ok"), (_Lives(lives=False), "problem"), (None, "problem")]
)
def test_a_component_that_is_dead_is_found(job: Any, level: str) -> None:
    found = airflow_checks._component("TriggererJob", job)
    assert (found.level, "triggerer" in found.message, bool(found.remedy)) == (level, True, level != "ok")


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
