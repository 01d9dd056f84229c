"""Who holds what: no worker slot, no secret, no job of somebody else's, whatever becomes of triggerers."""

from __future__ import annotations

import os
import signal
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.testing.processes import descendants, free_ports

pytestmark = pytest.mark.timeout(600)
GATE = "while [ ! -e go ]; do sleep 0.1; done"


@pytest.fixture
def lab(strict_lab: Any) -> Any:
    """The Airflow with a single worker slot, whose daemons may be killed."""
    return strict_lab


def test_the_reconciling_pass_cancels_what_no_task_waits_for(lab: Any) -> None:
    lab.write("kept", f"jobs: {{a: {{run: '{GATE}'}}}}\n")
    run = lab.api.trigger("kept")
    lab.wait_for_job("kept", "a")
    ours, theirs = lab.submit_orphan(installation(lab.store)), lab.submit_orphan("somebody")
    passing = lab.api.trigger("hotswap-reconcile")
    assert lab.api.wait_for_run("hotswap-reconcile", passing) == "success"
    log = lab.api.log("hotswap-reconcile", passing, "main")
    assert f"cancelling {ours}: task a of gone is removed" in log
    names = lab.queue("orphaned")
    assert ours not in names
    assert theirs in names
    assert lab.queue("kept")
    lab.sandbox.clusters[0].run("scancel", f"--name={theirs}")
    (lab.run_dir("kept", run) / "go").touch()
    assert lab.api.wait_for_run("kept", run) == "success"


def test_twenty_jobs_wait_and_run_without_a_worker_slot(lab: Any) -> None:
    """The whole Airflow has one slot; the cluster has room for four of these jobs at once."""
    gate = f"while [ ! -e {lab.sandbox.folder}/open ]; do sleep 0.2; done"
    jobs = "".join(f"  j{n}: {{slurm: {{partition: batch, cpus-per-task: 4}}, run: '{gate}'}}\n" for n in range(20))
    lab.write("twenty", f"jobs:\n{jobs}")
    run = lab.api.trigger("twenty")
    lab.api.wait("all jobs in the queue", lambda: len(lab.queue("twenty")) == 20, 240)
    states = lab.sandbox.clusters[0].run("squeue", "-h", "-t", "all", "-o", "%T %j").splitlines()
    assert sum(line.startswith("RUNNING twenty.") for line in states) == 4
    assert set(lab.api.tasks("twenty", run).values()) == {"deferred"}
    (lab.sandbox.folder / "open").touch()
    assert lab.api.wait_for_run("twenty", run, 240) == "success"


def test_a_triggerer_that_stalls_while_another_takes_over_cancels_no_job(lab: Any) -> None:
    lab.write("meanwhile", "jobs: {a: {run: 'true'}}\n")
    lab.write("stalled", f"jobs: {{a: {{run: '{GATE}'}}}}\n")
    run = lab.api.trigger("stalled")
    lab.wait_for_job("stalled", "a")
    (before,) = lab.queue("stalled")
    stalled = lab.services.daemons["triggerer"]
    family = [stalled.pid, *descendants(stalled.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    path = f"/dags/stalled/dagRuns/{run}/taskInstances/a"
    first = lab.api.get(path)["triggerer_job"]["id"]
    (port,) = free_ports(1)
    environment = {**lab.services.environment(), "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port)}
    lab.services.start_component("triggerer", environment, "triggerer-2")
    try:
        lab.api.wait("the other triggerer", lambda: _triggerer(lab, path) not in {first, None})
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        lab.api.wait("the loss to be noticed", lambda: "invoking on_kill" in lab.api.log("stalled", run, "a"))
        for _ in range(3):  # time enough for a job that is cancelled to leave the queue
            assert lab.api.wait_for_run("meanwhile", lab.api.trigger("meanwhile")) == "success"
        assert lab.queue("stalled") == [before]
        (lab.run_dir("stalled", run) / "go").touch()
        assert lab.api.wait_for_run("stalled", run) == "success"
    finally:
        lab.services.stop_component("triggerer-2")


def _triggerer(lab: Any, path: str) -> int | None:
    job = lab.api.get(path)["triggerer_job"]
    return job["id"] if job else None


def test_a_cluster_that_is_away_fails_no_task(lab: Any) -> None:
    lab.write("away", f"jobs:\n  a: {{run: '{GATE}'}}\n  b: {{needs: a, run: 'true'}}\n")
    run = lab.api.trigger("away")
    lab.wait_for_job("away", "a")
    cluster, node = lab.sandbox.clusters[0], lab.sandbox.login_nodes["main"]
    cluster.stop_daemon("slurmctld", signal.SIGTERM)
    lab.api.wait("the loss", lambda: "waiting for slurm_main: squeue" in lab.api.log("away", run, "a"))
    node.stop()
    cluster.start_controller()
    (lab.run_dir("away", run) / "go").touch()
    node.start()
    assert lab.api.wait_for_run("away", run) == "success"
    assert {
        task["try_number"] for task in lab.api.get(f"/dags/away/dagRuns/{run}/taskInstances")["task_instances"]
    } == {1}


def test_a_password_is_nowhere_to_be_found(lab: Any) -> None:
    lab.write("secretive", "jobs: {a: {outputs: {x: {type: string}}, run: 'echo x=1 >> $HOTSWAP_OUTPUT; exit 0'}}\n")
    lab.write("refusing", "jobs: {a: {run: 'exit 1'}}\n")
    for name, state in (("secretive", "success"), ("refusing", "failed")):
        assert lab.api.wait_for_run(name, lab.api.trigger(name)) == state
    folders = (lab.services.folder / "airflow", lab.services.folder / "logs", lab.store, lab.work())
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if lab.password.encode() in path.read_bytes()] == []
    uri = lab.services.environment()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with psycopg2.connect(uri) as database, database.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        assert {"trigger", "xcom", "log"} <= set(tables)
        for table in tables:
            query = sql.SQL("select count(*) from {} t where t::text like %s").format(sql.Identifier(table))
            cursor.execute(query, (f"%{lab.password}%",))
            assert cursor.fetchone() == (0,), table
