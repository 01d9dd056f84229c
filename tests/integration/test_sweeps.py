"""Sweeps through Airflow: one array each, their values, what a clear runs again, and what a cancel ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.timeout(600)
EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"


def test_the_examples_with_sweeps(lab: Any) -> None:
    for name in ("sweep-fan-out", "sweep-grid", "sweep-dynamic"):
        shutil.copy(EXAMPLES / f"{name}.hotswap.yaml", lab.dags)
    runs = {dag: lab.api.trigger(dag) for dag in ("pi-fan-out", "heat-grid", "tiles")}
    for dag, run in runs.items():
        assert lab.api.wait_for_run(dag, run) == "success", dag
    assert 3.1 < lab.api.value("pi-fan-out", runs["pi-fan-out"], "combine")["pi"] < 3.2
    residuals = lab.api.value("heat-grid", runs["heat-grid"], "simulate")["residual"]
    assert len(residuals) == 15
    best = lab.api.value("heat-grid", runs["heat-grid"], "best")["element"]
    assert residuals[best] == min(residuals)
    assert "tile-06 7" in lab.api.log("tiles", runs["tiles"], "merge")
    run = runs["pi-fan-out"]
    task = f"/dags/pi-fan-out/dagRuns/{run}/taskInstances/throw"
    shown = lab.api.get(f"{task}/xcomEntries/hotswap_progress")["value"]
    page = f"/dags/pi-fan-out/runs/{quote(run, safe='')}/tasks/throw/xcom"
    assert lab.api.get(f"{task}/links")["extra_links"] == {"Slurm job": page}
    assert "'text': '20 done · 0 failed · 0 running · 0 pending'" in str(shown)
    log = lab.api.log("pi-fan-out", runs["pi-fan-out"], "throw")
    assert "20 of 20 elements are to be run" in log
    assert "20 done · 0 failed · 0 running · 0 pending" in log


def test_a_clear_of_a_failed_sweep_submits_exactly_what_failed(lab: Any) -> None:
    lab.write(
        "flaky",
        "jobs:\n  a:\n    sweep: {over: {i: {range: [0, 20]}}}\n    outputs: {n: {type: integer}}\n"
        "    run: |\n      echo $SWEEP_I >> ran\n      echo n=$SWEEP_I >> $HOTSWAP_OUTPUT\n"
        "      [ -e well ] || [ $((SWEEP_I % 3)) -ne 0 ]\n",
    )
    run = lab.api.trigger("flaky")
    assert lab.api.wait_for_run("flaky", run) == "failed"
    assert "7 of 20 elements failed: 0 (exit status 1), 3 (exit status 1)" in lab.api.log("flaky", run, "a")
    folder = lab.run_dir("flaky", run)
    (folder / "well").touch()
    body = {"dry_run": False, "task_ids": ["a"], "dag_run_id": run, "only_failed": True, "reset_dag_runs": True}
    lab.api.send("POST", "/dags/flaky/clearTaskInstances", body)
    assert lab.api.wait_for_run("flaky", run) == "success"
    assert lab.api.value("flaky", run, "a") == {"n": list(range(20))}
    jobs = lab.sandbox.clusters[0].run("squeue", "-h", "-r", "-t", "all", "-o", "%j").split()
    assert sum(name.startswith("flaky.") and "-e0-" not in name for name in jobs) == 7
    assert len((folder / "ran").read_text().split()) == 27


def test_a_job_is_tried_again_by_its_own_rule_and_goes_on_where_it_saved(lab: Any) -> None:
    lab.write(
        "recovering",
        "jobs:\n  stubborn:\n    retry: {on: [failed], max: 2, escalate: {mem: {factor: 2, max: 80M}}}\n"
        "    outputs: {n: {type: integer}}\n"
        "    run: 'echo n=$HOTSWAP_ATTEMPT >> $HOTSWAP_OUTPUT; [ $HOTSWAP_ATTEMPT -ge 3 ]'\n"
        "  saving:\n    checkpoint: {signal: USR2@60}\n    outputs: {n: {type: integer}}\n"
        "    run: 'echo n=$HOTSWAP_ATTEMPT >> $HOTSWAP_OUTPUT; [ -e saved ] || { touch saved; exit 85; }'\n"
        "  hopeless: {run: exit 3}\n",
    )
    run = lab.api.trigger("recovering")
    assert lab.api.wait_for_run("recovering", run) == "failed"
    assert lab.api.tasks("recovering", run) == {"stubborn": "success", "saving": "success", "hopeless": "failed"}
    assert lab.api.value("recovering", run, "stubborn") == {"n": 3}
    assert lab.api.value("recovering", run, "saving") == {"n": 2}
    names = lab.sandbox.clusters[0].run("squeue", "-h", "-t", "all", "-o", "%j").split()
    assert {job: sum(name.startswith(f"recovering.{job}.") for name in names) for job in lab.api.tasks("recovering", run)} == {
        "stubborn": 3, "saving": 2, "hopeless": 1
    }  # fmt: skip


def test_a_thousand_elements_leave_the_queue_when_their_task_is_ended(lab: Any) -> None:
    lab.write("wide", "jobs:\n  a: {sweep: {over: {i: {range: [0, 1000]}}}, run: sleep 100}\n")
    run = lab.api.trigger("wide")
    lab.wait_for_job("wide", "a")
    lab.api.wait("elements that run", lambda: " running" in lab.api.log("wide", run, "a"))
    lab.api.send("PATCH", f"/dags/wide/dagRuns/{run}/taskInstances/a", {"new_state": "failed"})
    lab.api.wait("an empty queue", lambda: not lab.queue("wide"), 60)
