"""How Airflow comes to our files: by the extended search, by stubs, and without parsing them for ever."""

from __future__ import annotations

import datetime as dt
import os
import re
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.importers import DagImportResult, get_importer_registry
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager, DagFileStat
from airflow.dag_processing.processor import DagFileParsingResult
from airflow.sdk import DAG
from airflow.utils.file import list_py_file_paths

from hotswap_airflow.bundle import WorkflowFolder, WorkflowImporter, discovery
from hotswap_airflow.file_store.versions import dag_file
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
    assert set(_files(bundle)) == {"w.hotswap.yaml", "hotswap_maintenance.py"}
    # As Airflow's own command line looks, which asks each importer.
    found = get_importer_registry().list_dag_files(bundle.path)
    assert {Path(path).name for path in found} == {"w.hotswap.yaml", "hotswap_maintenance.py"}


def test_the_reconciling_pass_can_be_turned_off(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__HOTSWAP__RECONCILE", "off")
    bundle = make_bundle()
    bundle.initialize()
    assert set(_files(bundle)) == {"w.hotswap.yaml"}


def test_the_retention_pass_is_there_where_a_cluster_keeps_folders_for_a_time(
    make_bundle: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clusters = "{a: {retention: 90d, workdir: /w, connection: here}, b: {workdir: /v}}"
    (tmp_path / "site.yaml").write_text(
        f"hotswap: site/v1\nenvironments: {{dev: {{cluster: a}}}}\nclusters: {clusters}\n"
    )
    monkeypatch.setenv("AIRFLOW__HOTSWAP__SITE", str(tmp_path / "site.yaml"))
    monkeypatch.setenv("AIRFLOW__HOTSWAP__RECONCILE", "off")
    bundle = make_bundle()
    bundle.initialize()
    path = bundle.path / "hotswap_maintenance.py"
    dags = [found for found in runpy.run_path(str(path)).values() if isinstance(found, DAG)]
    assert [dag.dag_id for dag in dags] == ["hotswap-retention"]
    (task,) = dags[0].tasks
    assert (task.task_id, task.target.connection, task.target.workdir, task.retention) == (
        "a",
        "here",
        "/w",
        90 * 86_400,
    )


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
    assert set(first) == {"w.py", "hotswap_maintenance.py"}
    stub = bundle.path / discovery.stub("w")
    source = stub.read_text()
    assert _run(stub).dag_id == "w"
    # An edit of code alone makes another stub, and the undo of it a newer one.
    (tmp_path / "dags" / "say.sh").write_text("echo TWO\n")
    bundle.refresh()
    second = _files(bundle)
    assert (bundle.path / discovery.stub("w")).read_text() != source
    assert second["hotswap_maintenance.py"] == first["hotswap_maintenance.py"]
    os.utime(stub, (1, 1))
    (tmp_path / "dags" / "say.sh").write_text("echo ONE\n")
    bundle.refresh()
    assert _files(bundle)["w.py"] > first["w.py"]
    # A broken text keeps the last valid one, and says what is wrong in a stub of its own.
    (tmp_path / "dags" / "w.hotswap.yaml").write_text("hotswap: workflow/v1\njobs: {a: {rum: x}}\n")
    bundle.refresh()
    assert set(_files(bundle)) == {"w.py", "w_hotswap_yaml.py", "hotswap_maintenance.py"}
    with pytest.raises(ImportError, match=r"w\.hotswap\.yaml:2:12: unknown-key"):
        _run(bundle.path / "w_hotswap_yaml.py")


def _run(path: Path) -> DAG:
    """The Dag of one of our own stubs, as Airflow runs it."""
    dag: DAG = runpy.run_path(str(path))["dag"]
    return dag


def test_where_the_patch_does_not_work_stubs_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_modes", [])
    monkeypatch.setattr(discovery, "dag_files", lambda _: iter(()))
    assert discovery.mode("auto") == "stub"
    monkeypatch.undo()
    assert discovery.mode("stub") == "stub"
    assert discovery.mode("auto") == "patch"


@pytest.fixture
def manager() -> Iterator[DagFileProcessorManager]:
    """Airflow's own, as it is before our first bundle is refreshed."""
    names = ("prepare_file_queue", "_start_new_processes", "handle_parsing_result")
    methods = {name: getattr(DagFileProcessorManager, name) for name in names}
    for name, method in methods.items():
        setattr(DagFileProcessorManager, name, getattr(method, "__wrapped__", method))
    yield DagFileProcessorManager(max_runs=-1)
    for name, method in methods.items():
        setattr(DagFileProcessorManager, name, method)


def test_a_callback_for_a_version_does_not_make_a_file_due_for_ever(
    manager: DagFileProcessorManager, tmp_path: Path
) -> None:
    (tmp_path / "w.hotswap.yaml").touch()
    os.utime(tmp_path / "w.hotswap.yaml", (1, 1))
    file = DagFileInfo(rel_path=Path("w.hotswap.yaml"), bundle_name="workflows", bundle_path=tmp_path)
    callback = DagFileInfo(file.rel_path, "workflows", tmp_path, "v1")
    now = dt.datetime.now(dt.UTC)

    def queue() -> int:
        manager._file_queue.clear()
        manager._file_stats[file] = DagFileStat(last_finish_time=now)
        manager._file_stats[callback] = DagFileStat(last_finish_time=now - dt.timedelta(hours=1))
        manager.prepare_file_queue({"workflows": {file}})
        return len(manager._file_queue)

    assert queue() == 1  # where this no longer holds, Airflow needs our help no more
    discovery.guard()
    assert queue() == 0
    assert list(manager._file_stats) == [file]


def test_what_was_queued_before_an_edit_is_parsed_after_it(
    manager: DagFileProcessorManager, make_bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dags" / "other.hotswap.yaml").write_text("hotswap: workflow/v1\njobs: {a: {run: x}}\n")
    bundle = make_bundle()
    bundle.initialize()
    manager._dag_bundles = [bundle]
    started: list[DagFileInfo] = []
    monkeypatch.setattr(manager, "_parallelism", 9)
    monkeypatch.setattr(manager, "_create_process", lambda file: started.append(file) or SimpleNamespace())
    monkeypatch.setattr(manager, "_get_team_names", lambda _: {})
    names = (dag_file("w"), dag_file("other"))
    old = [DagFileInfo(Path(name), "workflows", bundle.path) for name in names]
    manager._add_files_to_queue(old, mode="back")
    (tmp_path / "dags" / "say.sh").write_text("echo TWO\n")
    bundle.refresh()
    manager._start_new_processes()
    assert [file.bundle_path for file in started] == [bundle.path] * 2
    # What was being parsed is another file now, and must not be stored as the new version's.
    stored: list[str] = []
    monkeypatch.setattr(manager, "_get_team_name", lambda _: None)
    monkeypatch.setattr(manager, "persist_parsing_result", lambda **result: stored.append(result["relative_fileloc"]))
    manager._bundle_versions["workflows"] = bundle.version
    parsed = DagFileParsingResult(fileloc="", serialized_dags=[])
    process = SimpleNamespace(had_callbacks=False, parsing_result=parsed, start_time=time.monotonic())
    for file in old:
        manager.handle_parsing_result(file, process)  # type: ignore[arg-type]
    assert stored == [dag_file("other")]
    assert [file.rel_path.name for file in manager._file_stats] == ["other.hotswap.yaml"]
    manager.handle_parsing_result(started[0], process)  # type: ignore[arg-type]
    assert stored == [dag_file("other"), dag_file("w")]


def _import(root: Path, name: str) -> DagImportResult:
    return WorkflowImporter().import_file(root / name, bundle_path=root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaults: {cluster: gpu}", r"w\.hotswap\.yaml:2:21: cluster-unknown: .*`gpu`; no site file is set"),
        (
            "schedule: {assets: ['postgres://h/a']}",
            r"w\.hotswap\.yaml: Airflow does not accept this workflow: ValueError",
        ),
        ("params: {day: {type: date, default: '20240101'}}", r"w\.hotswap\.yaml:2:37: param-default"),
    ],
)
def test_what_airflow_would_not_take_is_shown_and_hides_nothing(
    make_bundle: Make, tmp_path: Path, text: str, words: str
) -> None:
    bundle = make_bundle()
    bundle.initialize()
    (tmp_path / "dags" / "w.hotswap.yaml").write_text(FILE.replace("files:", f"{text}\nfiles:"))
    (tmp_path / "dags" / "new.hotswap.yaml").write_text(FILE.replace("files:", f"{text}\nfiles:"))
    bundle.refresh()
    found = {Path(path).relative_to(bundle.path).as_posix() for path in list_py_file_paths(bundle.path)}
    assert found == {dag_file("w"), "w.hotswap.yaml", "new.hotswap.yaml", "hotswap_maintenance.py"}
    assert [dag.dag_id for dag in _import(bundle.path, dag_file("w")).dags] == ["w"]
    (error,) = _import(bundle.path, "w.hotswap.yaml").errors
    assert error.file_path == "w.hotswap.yaml"
    assert re.match(words, error.message)
    (error,) = _import(bundle.path, "new.hotswap.yaml").errors
    assert re.match(words.replace("w", "new", 1), error.message)


def test_an_environment_without_a_site_file_is_told(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__HOTSWAP__ENVIRONMENT", "prod")
    bundle = make_bundle()
    bundle.initialize()
    (error,) = _import(bundle.path, "w.hotswap.yaml").errors
    assert error.message == "[hotswap] environment is 'prod', but the site has: dev"


@pytest.mark.parametrize("mode", ["auto", "stub"])
def test_a_run_finds_its_workflow_in_the_version_it_began_with_whatever_moves(
    make_bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    dags = tmp_path / "dags"
    bundle = make_bundle()
    (dags / "v.hotswap.yaml").write_text(FILE.replace("a:", "v:"))
    bundle.initialize()
    first = bundle.path
    # Each takes the other's name, one moves, and the mode changes.
    monkeypatch.setenv("AIRFLOW__HOTSWAP__DISCOVERY", mode)
    (dags / "sub").mkdir()
    (dags / "say.sh").rename(dags / "sub" / "say.sh")
    (dags / "w.hotswap.yaml").unlink()
    (dags / "sub" / "w.hotswap.yaml").write_text("name: v\n" + FILE)
    (dags / "v.hotswap.yaml").write_text("name: w\n" + FILE.replace("*.sh", "sub/*.sh").replace("say.sh", "sub/say.sh"))
    bundle.refresh()
    assert bundle.path != first
    files = {Path(path).relative_to(bundle.path).as_posix() for path in list_py_file_paths(bundle.path)}
    file = discovery.stub if mode == "stub" else dag_file
    assert files - {"hotswap_maintenance.py"} == {file("w"), file("v")}
    for workflow, task in (("w", "a"), ("v", "v")):
        path = first / file(workflow)
        (dag,) = [_run(path)] if mode == "stub" else WorkflowImporter().import_file(path, bundle_path=first).dags
        assert dag.task_ids == [task]


def test_a_version_without_a_workflow_says_so(make_bundle: Make) -> None:
    bundle = make_bundle()
    bundle.initialize()
    (error,) = _import(bundle.path, dag_file("gone")).errors
    assert error.message == "this version has no workflow gone"
    (error,) = _import(bundle.path, "gone.hotswap.yaml").errors
    assert error.message == "this version has no file gone.hotswap.yaml"


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
