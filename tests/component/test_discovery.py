"""How Airflow comes to our files: by the extended search, by stubs, and without parsing them for ever."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager, DagFileStat
from airflow.utils.file import list_py_file_paths

from hotswap_airflow import discovery
from hotswap_airflow.bundle import WorkflowFolder
from hotswap_airflow.settings import BUNDLE

FILE = "hotswap: workflow/v1\nfiles: ['*.sh']\njobs: {a: {script: say.sh}}\n"
Make = Callable[[], WorkflowFolder]


@pytest.fixture
def make_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "say.sh").write_text("echo ONE\n")
    (dags / "w.hotswap.yaml").write_text(FILE)
    monkeypatch.setenv("AIRFLOW__HOTSWAP__STORE_PATH", str(tmp_path / "store"))
    bundles = f'[{{"name": "workflows", "classpath": "{BUNDLE}", "kwargs": {{}}}}]'
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", bundles)
    # What is removed from the store depends on Airflow's database, which is of no interest here.
    monkeypatch.setattr(WorkflowFolder, "_prune", lambda _: None)
    return lambda: WorkflowFolder(name="workflows", folder=str(dags))


def _files(bundle: WorkflowFolder) -> dict[str, float]:
    found = [Path(path) for path in list_py_file_paths(bundle.path)]
    return {path.name: path.stat().st_mtime for path in found}


def test_workflows_and_the_reconciling_pass_are_found(make_bundle: Make) -> None:
    bundle = make_bundle()
    bundle.initialize()
    assert set(_files(bundle)) == {"w.hotswap.yaml", "hotswap_reconcile.py"}


def test_the_reconciling_pass_can_be_turned_off(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__HOTSWAP__RECONCILE", "off")
    bundle = make_bundle()
    bundle.initialize()
    assert set(_files(bundle)) == {"w.hotswap.yaml"}


def test_python_beside_workflows_is_no_dag_and_other_python_is(make_bundle: Make, tmp_path: Path) -> None:
    (tmp_path / "dags" / "say.sh").rename(tmp_path / "dags" / "say.py")
    (tmp_path / "dags" / "say.py").write_text("# airflow dag\n")
    (tmp_path / "dags" / "other.py").write_text("# airflow dag\n")
    (tmp_path / "dags" / "w.hotswap.yaml").write_text(FILE.replace("*.sh", "say.py").replace("say.sh", "say.py"))
    make_bundle().initialize()
    assert [Path(path).name for path in list_py_file_paths(tmp_path / "dags")] == ["other.py"]


def test_stubs_stand_for_workflows_where_yaml_is_not_found(
    make_bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__HOTSWAP__DISCOVERY", "stub")
    bundle = make_bundle()
    bundle.initialize()
    first = _files(bundle)
    assert set(first) == {"w_hotswap_yaml.py", "hotswap_reconcile.py"}
    source = (bundle.path / "w_hotswap_yaml.py").read_text()
    assert _run(bundle.path / "w_hotswap_yaml.py", source).dag_id == "w"
    # An edit of code alone makes another stub, and the undo of it a newer one.
    (tmp_path / "dags" / "say.sh").write_text("echo TWO\n")
    bundle.refresh()
    second = _files(bundle)
    assert (bundle.path / "w_hotswap_yaml.py").read_text() != source
    assert second["hotswap_reconcile.py"] == first["hotswap_reconcile.py"]
    os.utime(bundle.path / "w_hotswap_yaml.py", (1, 1))
    (tmp_path / "dags" / "say.sh").write_text("echo ONE\n")
    before = first["w_hotswap_yaml.py"]
    bundle.refresh()
    assert _files(bundle)["w_hotswap_yaml.py"] > before
    # A broken text keeps the last valid one, and says what is wrong in a stub of its own.
    (tmp_path / "dags" / "w.hotswap.yaml").write_text("hotswap: workflow/v1\njobs: {a: {rum: x}}\n")
    bundle.refresh()
    assert set(_files(bundle)) == {"w_hotswap_yaml.py", "w_hotswap_yaml_rejected.py", "hotswap_reconcile.py"}
    with pytest.raises(ImportError, match=r"w\.hotswap\.yaml:2:12: unknown-key"):
        _run(bundle.path / "w_hotswap_yaml_rejected.py", (bundle.path / "w_hotswap_yaml_rejected.py").read_text())


def _run(path: Path, source: str) -> object:
    names = {"__file__": str(path)}
    exec(compile(source, str(path), "exec"), names)  # noqa: S102 - our own stub, as Airflow runs it
    return names["dag"]


def test_where_the_patch_does_not_work_stubs_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_modes", [])
    monkeypatch.setattr(discovery, "dag_files", lambda _: iter(()))
    assert discovery.mode("auto") == "stub"
    monkeypatch.undo()
    assert discovery.mode("stub") == "stub"
    assert discovery.mode("auto") == "patch"


def test_a_callback_for_a_version_does_not_make_a_file_due_for_ever(tmp_path: Path) -> None:
    (tmp_path / "w.hotswap.yaml").touch()
    os.utime(tmp_path / "w.hotswap.yaml", (1, 1))
    manager = DagFileProcessorManager(max_runs=-1)
    file = DagFileInfo(rel_path=Path("w.hotswap.yaml"), bundle_name="workflows", bundle_path=tmp_path)
    callback = DagFileInfo(file.rel_path, "workflows", tmp_path, "v1")
    now = dt.datetime.now(dt.UTC)

    def queue() -> int:
        manager._file_queue.clear()
        manager._file_stats[file] = DagFileStat(last_finish_time=now)
        manager._file_stats[callback] = DagFileStat(last_finish_time=now - dt.timedelta(hours=1))
        manager.prepare_file_queue({"workflows": {file}})
        return len(manager._file_queue)

    discovery.forget_callbacks()
    assert queue() == 0
    assert list(manager._file_stats) == [file]
    # Where this no longer holds, Airflow needs our help no more.
    original = getattr(DagFileProcessorManager, discovery._PREPARE)
    DagFileProcessorManager.prepare_file_queue = original
    delattr(DagFileProcessorManager, discovery._PREPARE)
    assert queue() == 1
    discovery.forget_callbacks()


def test_only_a_refresh_makes_versions_and_the_bundle_says_which_it_shows(make_bundle: Make, tmp_path: Path) -> None:
    first = make_bundle()
    first.initialize()
    assert first.version == first.get_current_version().version  # type: ignore[union-attr]
    (tmp_path / "dags" / "say.sh").write_text("echo TWO\n")
    other = make_bundle()  # as the command line does it, which stores the bundle's version with the Dags
    other.initialize()
    assert (other.version, other.path) == (first.version, first.path)
    before = first.version
    first.refresh()
    assert first.version != before
    assert first.path.name == first.version
