"""Dags that people write by hand, with our operator and sensor."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)
HEAD = """
    from datetime import timedelta
    from airflow.sdk import DAG, Asset, Param, task
    from hotswap_airflow.operators.slurm import SlurmJobOperator
    from hotswap_airflow.sensors.slurm import SlurmSensor

    OPTIONS = {"partition": "debug", "time": "00:05:00", "mem": "50M"}
    COMMON = {"slurm_conn_id": "slurm_main", "workdir": WORK}
"""


def _dag(lab: Any, name: str, body: str) -> None:
    text = textwrap.dedent(HEAD).replace("WORK}", f"{str(lab.work())!r}}}") + textwrap.dedent(body)
    lab.write_python(name, text.replace("NAME", repr(name)))


def test_templates_and_mapped_tasks(lab: Any) -> None:
    _dag(
        lab,
        "by_hand",
        """
        with DAG(NAME, schedule=None, params={"word": "plain", "where": "debug"}):
            one = SlurmJobOperator(
                task_id="one", command="echo said $WORD on {{ run_id }}", env={"WORD": "{{ params.word }}"},
                slurm={**OPTIONS, "partition": "{{ params.where }}"}, **COMMON)
            many = SlurmJobOperator.partial(task_id="many", slurm=OPTIONS, **COMMON).expand(
                command=[f"echo element {n} of $(basename $PWD); exit {n // 2}" for n in range(3)])
            one >> many
        """,
    )
    word = "'\"; touch x; $(id)"
    run = lab.api.trigger("by_hand", {"word": word})
    assert lab.api.wait_for_run("by_hand", run) == "failed"
    assert f"said {word} on {run}" in lab.api.log("by_hand", run, "one")
    found = lab.api.get(f"/dags/by_hand/dagRuns/{run}/taskInstances")["task_instances"]
    states = {(task["task_id"], task["map_index"]): task["state"] for task in found}
    assert states == {("one", -1): "success", ("many", 0): "success", ("many", 1): "success", ("many", 2): "failed"}


def test_retries_submit_anew_and_bad_options_do_not(lab: Any) -> None:
    _dag(
        lab,
        "retried",
        """
        with DAG(NAME, schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=1)}):
            SlurmJobOperator(task_id="again", slurm=OPTIONS, command="[ -e tried ] || { touch tried; exit 1; }", **COMMON)
            SlurmJobOperator(task_id="refused", slurm={"partition": "nowhere"}, command="true", **COMMON)
        """,
    )
    run = lab.api.trigger("retried")
    assert lab.api.wait_for_run("retried", run) == "failed"
    found = lab.api.get(f"/dags/retried/dagRuns/{run}/taskInstances")["task_instances"]
    assert {task["task_id"]: (task["state"], task["try_number"]) for task in found} == {
        "again": ("success", 2),
        "refused": ("failed", 1),
    }
    assert "SubmissionRefused: slurm_main refused the job" in lab.api.log("retried", run, "refused")


def test_a_mapped_task_that_is_ended_takes_only_its_own_job_out_of_the_queue(lab: Any) -> None:
    _dag(
        lab,
        "mapped",
        """
        with DAG(NAME, schedule=None):
            SlurmJobOperator.partial(task_id="wait", slurm=OPTIONS, **COMMON).expand(
                command=["while [ ! -e go ]; do sleep 0.1; done"] * 2)
        """,
    )
    run = lab.api.trigger("mapped")
    lab.api.wait("both jobs", lambda: len(lab.queue("mapped")) == 2)
    path = f"/dags/mapped/dagRuns/{run}/taskInstances/wait"
    lab.api.send("PATCH", f"{path}/1", {"new_state": "failed"})
    lab.api.wait("one job alone", lambda: len(lab.queue("mapped")) == 1)
    (lab.run_dir("mapped", run) / "go").touch()
    lab.api.wait("its end", lambda: lab.api.get(f"{path}/0")["state"] == "success")


def test_an_execution_timeout_cancels_the_job(lab: Any) -> None:
    _dag(
        lab,
        "late",
        """
        with DAG(NAME, schedule=None):
            SlurmJobOperator(task_id="a", slurm=OPTIONS, command="while true; do sleep 0.1; done",
                             execution_timeout=timedelta(seconds=20), **COMMON)
        """,
    )
    run = lab.api.trigger("late")
    assert lab.api.wait_for_run("late", run) == "failed"
    assert "JobTimedOut: job a was not done within the task's execution_timeout" in lab.api.log("late", run, "a")
    assert lab.queue("late") == []


def test_outlets_make_asset_events(lab: Any) -> None:
    _dag(
        lab,
        "producer",
        """
        with DAG(NAME, schedule=None):
            SlurmJobOperator(task_id="a", slurm=OPTIONS, command="true", outlets=[Asset("lab://table")], **COMMON)
        with DAG("consumer", schedule=[Asset("lab://table")]):
            SlurmJobOperator(task_id="b", slurm=OPTIONS, command="true", **COMMON)
        """,
    )
    lab.api.wait("the consumer", lambda: lab.api.get("/dags/consumer"))
    run = lab.api.trigger("producer")
    assert lab.api.wait_for_run("producer", run) == "success"
    lab.api.wait("a run of the consumer", lambda: lab.api.get("/dags/consumer/dagRuns")["dag_runs"])
    (found,) = lab.api.get("/dags/consumer/dagRuns")["dag_runs"]
    assert lab.api.wait_for_run("consumer", found["dag_run_id"]) == "success"


def test_sensors_wait_for_jobs_of_others(lab: Any) -> None:
    cluster = lab.sandbox.clusters[0]
    gate = lab.sandbox.folder / "gate"
    script = f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.1; done\n"
    submit = ("sbatch", "--parsable", "--mem=50M", "--output=/dev/null", "--partition=debug", "--job-name=others")
    job_id = cluster.run(*submit, stdin=script).strip()
    bad_id = cluster.run(*submit[:-1], "--job-name=bad", stdin="#!/bin/sh\nexit 4\n").strip()
    _dag(
        lab,
        "sensing",
        """
        with DAG(NAME, schedule=None, params={"id": "", "bad": ""}):
            quick = {"poke_interval": 1, **COMMON}
            SlurmSensor(task_id="by_id", job_id="{{ params.id }}", **quick)
            SlurmSensor(task_id="by_name", job_name="others", **quick)
            SlurmSensor(task_id="of_bad", job_id="{{ params.bad }}", **quick)
            SlurmSensor(task_id="of_nobody", job_name="nobody-s", timeout=12, **quick)
            SlurmSensor(task_id="soft", job_id="{{ params.bad }}", soft_fail=True, **quick)
            SlurmSensor(task_id="wrong", **quick)
        """,
    )
    run = lab.api.trigger("sensing", {"id": job_id, "bad": bad_id})
    lab.api.wait(
        "both waiting", lambda: [lab.api.tasks("sensing", run).get(t) for t in ("by_id", "by_name")] == ["deferred"] * 2
    )
    gate.touch()
    assert lab.api.wait_for_run("sensing", run) == "failed"
    assert lab.api.tasks("sensing", run) == {
        "by_id": "success", "by_name": "success", "of_bad": "failed", "of_nobody": "failed", "soft": "skipped", "wrong": "failed",
    }  # fmt: skip
    assert f"JobFailed: job {bad_id} failed" in lab.api.log("sensing", run, "of_bad")
    assert "Slurm does not know job nobody-s yet" in lab.api.log("sensing", run, "of_nobody")
    assert "give exactly one of job_id, job_name and key" in lab.api.log("sensing", run, "wrong")


GROUPED = """
from airflow.sdk import DAG, Param, task

from hotswap_airflow import load_workflow, workflow_group

with DAG("grouped", schedule=None, params={"word": "hand"}):

    @task
    def before():
        return 1

    @task(trigger_rule="all_done")
    def after(ti=None):
        return ti.xcom_pull(task_ids="flow.use")

    before() >> workflow_group("flows/part.hotswap.yaml", "flow") >> after()

whole = load_workflow("flows/part.hotswap.yaml")
"""
PART = """\
hotswap: workflow/v1
name: part
defaults: {slurm: {partition: debug, mem: 50M, time: 5m}}
params: {word: file, n: 2}
jobs:
  make: {script: code/make.sh, outputs: {said: {type: string}}}
  use:
    needs: {make: {when: done}}
    if: jobs.make.said != "" and params.n == 2
    inputs: {said: {from: jobs.make.said}, how: {from: jobs.make.state}}
    outputs: {all: {type: string}}
    run: 'echo "all=$INPUT_SAID $INPUT_HOW $PARAM_WORD" >> "$HOTSWAP_OUTPUT"'
"""


def test_a_workflow_file_in_a_hand_written_dag(lab: Any) -> None:
    flows = lab.services.folder / "python" / "flows"
    (flows / "code").mkdir(parents=True)
    (flows / "part.hotswap.yaml").write_text(PART)
    (flows / "code" / "make.sh").write_text('echo "said=from code" >> "$HOTSWAP_OUTPUT"\n')
    lab.write_python("grouped", GROUPED)
    grouped, whole = lab.api.trigger("grouped"), lab.api.trigger("part")
    assert lab.api.wait_for_run("grouped", grouped) == "success", lab.api.tasks("grouped", grouped)
    assert lab.api.value("grouped", grouped, "after") == {"all": "from code success hand"}
    assert set(lab.api.tasks("grouped", grouped)) == {"before", "flow.make", "flow.use", "flow._verdict", "after"}
    assert lab.api.wait_for_run("part", whole) == "success"
    assert lab.api.value("part", whole, "use") == {"all": "from code success file"}
