"""Jobs and folders that are there already, settled by a person or in their time, through Airflow."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.cluster.upkeep.retention import NOTICE
from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.testing import processes

pytestmark = pytest.mark.timeout(600)
GATE = "while [ ! -e go ]; do sleep 0.1; done"
DAY = 86_400.0
ORPHAN = "^([0-9]+) on main: orphaned gone a: Airflow has no such task any more$"


def _orphan_of(lab: Any, dag_id: str, run: str) -> int:
    """Let the task of a job end while nobody is there to cancel the job; give the job's id."""
    daemon = lab.services.daemons["triggerer"]
    processes.kill_all([*processes.descendants(daemon.pid), daemon.pid])
    lab.services.stop_component("triggerer")
    try:
        lab.api.send("PATCH", f"/dags/{dag_id}/dagRuns/{run}/taskInstances/a", {"new_state": "failed"})
        lab.wait_for_task(dag_id, run, "a", "failed")
    finally:
        lab.services.start_component("triggerer")
    lines = lab.sandbox.clusters[0].run("squeue", "-h", "-o", "%i %j").splitlines()
    (job_id,) = [line.split()[0] for line in lines if line.split()[1].startswith(f"{dag_id}.")]
    return int(job_id)


def test_an_orphan_is_shown_and_given_back_to_its_task(lab: Any) -> None:
    lab.write("lost", f"jobs:\n  a: {{run: '{GATE}'}}\n  b: {{needs: a, run: 'true'}}\n")
    run = lab.api.trigger("lost")
    lab.wait_for_job("lost", "a")
    shown = lab.hotswap("orphans")
    assert shown.endswith(" orphan(s)\n")
    assert " lost " not in shown
    job_id = _orphan_of(lab, "lost", run)
    assert f"{job_id} on main: lost {run} a: its task is failed" in lab.hotswap("orphans")
    assert lab.hotswap("adopt", str(job_id)) == f"job {job_id} is given back to a of {run}\n"
    lab.wait_for_task("lost", run, "a", "deferred")
    found = f"found Slurm job {job_id} on slurm_main"
    lab.api.wait("the job to be found", lambda: found in lab.api.log("lost", run, "a", 2))
    (lab.run_dir("lost", run) / "go").touch()
    assert lab.api.wait_for_run("lost", run) == "success"
    jobs = lab.sandbox.clusters[0].run("squeue", "-h", "-t", "all", "-o", "%j").split()
    assert sum(name.startswith("lost.a.") for name in jobs) == 1


def test_an_orphan_whose_run_is_gone_can_only_be_cancelled(lab: Any) -> None:
    lab.write("orphaned", "jobs:\n  a: {run: 'true'}\n")  # its workflow is there, its run is not
    assert lab.api.wait_for_run("orphaned", lab.api.trigger("orphaned")) == "success"
    name = lab.submit_orphan(installation(lab.store))
    shown = lab.hotswap("orphans")
    (job_id,) = re.findall(ORPHAN, shown, re.MULTILINE)
    assert "nothing can wait for it: let it end, or `hotswap orphans --cancel`" in lab.hotswap("adopt", job_id)
    assert f"job {int(job_id) + 1000} is no orphan" in lab.hotswap("adopt", str(int(job_id) + 1000))
    assert " orphan(s), cancelled" in lab.hotswap("orphans", "--cancel")
    lab.api.wait("an empty queue", lambda: name not in lab.queue("orphaned"))


def test_a_sweep_is_run_again_as_a_whole_where_a_person_wants_it(lab: Any) -> None:
    lab.write(
        "whole",
        "jobs:\n  a:\n    sweep: {over: {i: {range: [0, 9]}}}\n    outputs: {n: {type: string}}\n"
        "    run: |\n      echo $SWEEP_I >> ran\n      printf 'n=%01000d\\n' $SWEEP_I >> $HOTSWAP_OUTPUT\n"
        "      [ -e well ] || [ $SWEEP_I -ne 4 ]\n"
        "  b: {inputs: {all: {from: jobs.a.n}}, run: 'echo ${#INPUT_ALL} > length'}\n",
    )
    run = lab.api.trigger("whole")
    assert lab.api.wait_for_run("whole", run) == "failed"
    shown = lab.hotswap("jobs", "elements", "whole", run, "a", "--first", "4", "--count", "2").splitlines()
    assert shown[0] == "4  FAILED (exit status 1)  i=4"
    assert shown[1].startswith("5  COMPLETED  i=5  -> n=")
    assert shown[2] == "8 done · 1 failed · 0 running · 0 pending"
    folder = lab.run_dir("whole", run)
    (folder / "well").touch()
    said = lab.hotswap("jobs", "retry", "whole", run, "a", "--all")
    assert said.splitlines()[0] == "1 earlier tries do not count any more"
    lab.api.wait("the run to go on", lambda: lab.api.get(f"/dags/whole/dagRuns/{run}")["state"] != "failed")
    assert lab.api.wait_for_run("whole", run) == "success"
    assert len((folder / "ran").read_text().split()) == 18
    # Nine values of a thousand characters are too long for Airflow's database, and arrive as a whole.
    assert set(lab.api.value("whole", run, "a")["n"]) == {"hotswap_table", "column"}
    assert int((folder / "length").read_text()) > 9_000
    assert "Airflow has no task c in run" in lab.hotswap("jobs", "elements", "whole", run, "c")
    assert "has no table of elements" in lab.hotswap("jobs", "elements", "whole", run, "b")


def _age(paths: Any, days: float) -> None:
    for path in paths:
        os.utime(path, (time.time() - days * DAY,) * 2, follow_symlinks=False)


def _pass(lab: Any) -> str:
    run = lab.api.trigger("hotswap-retention")
    assert lab.api.wait_for_run("hotswap-retention", run) == "success"
    return str(lab.api.log("hotswap-retention", run, "main"))


def test_folders_of_finished_runs_go_when_the_site_says_so(lab: Any) -> None:
    lab.write("brief", "jobs: {a: {run: 'echo 1 > result'}}\n")
    old, kept = (lab.api.trigger("brief") for _ in range(2))
    folders: list[Path] = []
    for run in (old, kept):
        assert lab.api.wait_for_run("brief", run) == "success"
        folders.append(next(p for p in (lab.work() / "runs" / "brief").iterdir() if p not in folders))
    jobs = [key.parent for key in (lab.work() / ".hotswap" / "jobs").glob("*/*/key") if '"brief"' in key.read_text()]
    ages = [*(path for job in jobs for path in job.iterdir()), *(folder / ".hotswap-run" for folder in folders)]
    _age(ages, 40)
    assert "2 notice(s), 0 removed" in _pass(lab)
    assert all("hotswap runs keep brief" in (folder / NOTICE).read_text() for folder in folders)
    assert "stays" in lab.hotswap("runs", "keep", "brief", kept)
    assert "no cluster of the site has a folder of run nothing" in lab.hotswap("runs", "keep", "brief", "nothing")
    _age([folder / NOTICE for folder in folders], 4)
    assert "1 notice(s), 1 removed" in _pass(lab)
    left = list((lab.work() / "runs" / "brief").iterdir())
    assert len(left) == 1
    assert (left[0] / ".hotswap-keep").exists()
    assert not (left[0] / NOTICE).exists()
    assert len([job for job in jobs if job.exists()]) == 1
