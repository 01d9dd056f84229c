"""Whoever is killed, and wherever: exactly one Slurm job. `make chaos` does this three times."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.testing.processes import descendants

pytestmark = pytest.mark.timeout(600)
TRIGGERER_POINTS = ("before-mkdir", "after-mkdir", "after-sbatch", "before-id", "after-event")
WORKER_POINT, FAILING_POINT = "before-defer", "before-failing"
GOOD = "jobs: {a: {outputs: {n: {type: integer}}, run: 'echo ran >> ran; echo n=1 >> $HOTSWAP_OUTPUT'}}\n"
FAILING = "jobs: {before: {run: 'true'}, a: {needs: before, run: 'echo ran >> ran; exit 3'}}\n"


@pytest.fixture
def lab(strict_lab: Any) -> Any:
    """The Airflow with a single worker slot, whose daemons may be killed."""
    return strict_lab


def _hold(lab: Any, point: str, text: str = GOOD) -> tuple[str, str]:
    """A run of a workflow of its own, held at a point."""
    name = f"killed-{point}"
    lab.write(name, text)
    lab.api.wait(f"Dag {name}", lambda: lab.api.get(f"/dags/{name}"))
    (lab.gates / point).touch()
    run = lab.api.trigger(name)
    lab.api.wait(point, (lab.gates / f"{point}.reached").exists)
    return name, run


def _kill_worker(lab: Any, point: str) -> None:
    """The worker that is held at a point: the task's process and the one above it."""
    task, supervisor = map(int, (lab.gates / f"{point}.reached").read_text().split())
    _kill([task, supervisor])


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def open_gates(lab: Any) -> Any:
    for path in lab.gates.iterdir():
        path.unlink()
    yield
    (lab.gates / "release").touch()


@pytest.mark.usefixtures("open_gates")
def test_a_triggerer_and_a_worker_killed_at_every_point(lab: Any) -> None:
    failing = _hold(lab, FAILING_POINT, FAILING)
    # That a person clears another task is nothing to this one.
    body = {"dry_run": False, "dag_run_id": failing[1], "task_ids": ["before"], "only_failed": False}
    lab.api.send("POST", f"/dags/{failing[0]}/clearTaskInstances", body)
    _kill_worker(lab, FAILING_POINT)
    held = [_hold(lab, point) for point in TRIGGERER_POINTS]
    triggerer = lab.services.daemons["triggerer"]
    _kill([*descendants(triggerer.pid), triggerer.pid])
    held.append(_hold(lab, WORKER_POINT))
    _kill_worker(lab, WORKER_POINT)
    lab.services.start_component("triggerer")
    (lab.gates / "release").touch()
    for name, run in held:
        assert lab.api.wait_for_run(name, run, 240) == "success", name
        assert lab.api.value(name, run, "a") == {"n": 1}, name
    assert lab.api.wait_for_run(*failing, 240) == "failed"
    for task in ("before", "a"):
        assert lab.api.get("/dags/{}/dagRuns/{}/taskInstances/{}".format(*failing, task))["try_number"] > 1
    for name, run in (failing, *held):
        assert (lab.run_dir(name, run) / "ran").read_text() == "ran\n", name
        jobs = lab.sandbox.clusters[0].run("squeue", "-h", "-t", "all", "-o", "%j").split()
        assert len([job for job in jobs if job.startswith(f"{name}.a.")]) == 1, name
    assert not [path for path in _key_dirs(lab) if not (path / "id").exists()]


def _key_dirs(lab: Any) -> list[Path]:
    return [path for path in (lab.work() / ".hotswap" / "jobs").glob("*/*") if "killed-" in (path / "key").read_text()]
