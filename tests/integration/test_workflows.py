"""Workflow files dropped into the DAGs folder of a real Airflow, run on a real cluster over real ssh."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

pytestmark = pytest.mark.timeout(600)
EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"
GATE = "while [ ! -e go ]; do sleep 0.1; done"


@pytest.fixture
def two_jobs(lab: Any, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A run whose first job waits for the file ``go``; its second tells which text it began with."""
    name = request.node.name.replace("_", "-")[:40]
    lab.write(name, _two_jobs("ONE"))
    run = lab.api.trigger(name)
    lab.wait_for_job(name, "first")
    yield name, run
    (lab.dags / f"{name}.hotswap.yaml").unlink(missing_ok=True)


def _two_jobs(word: str, extra: str = "") -> str:
    return (
        f"{extra}jobs:\n  first: {{run: '{GATE}'}}\n"
        f"  second: {{needs: first, outputs: {{said: {{type: string}}}}, run: 'echo said={word} >> $HOTSWAP_OUTPUT'}}\n"
    )


def _finish(lab: Any, name: str, run: str) -> Any:
    (lab.run_dir(name, run) / "go").touch()
    assert lab.api.wait_for_run(name, run) == "success"
    return lab.api.value(name, run, "second")


def test_hello_and_own_code(lab: Any) -> None:

    for name in ("hello.hotswap.yaml", "own-code.hotswap.yaml"):
        shutil.copy(EXAMPLES / name, lab.dags)
    shutil.copytree(EXAMPLES / "fit", lab.dags / "fit")
    hello, fit = lab.api.trigger("hello"), lab.api.trigger("own-code", {"degree": 3})
    assert lab.api.wait_for_run("hello", hello) == "success"
    log = lab.api.log("hello", hello, "greet")
    assert "Hello from" in log
    assert "submitted Slurm job" in log
    assert "chan=" not in log
    assert lab.api.wait_for_run("own-code", fit) == "success"
    assert 0 < lab.api.value("own-code", fit, "fit")["rmse"] < 1
    assert lab.api.value("own-code", fit, "sample")["points"].startswith(str(lab.work()))


def test_a_diamond_passes_values(lab: Any) -> None:
    hostile = "'\"; touch x; $(id) \\n {{ ds }}"
    lab.write(
        "diamond",
        "params: {text: plain}\njobs:\n"
        "  top: {outputs: {said: {type: string}, made: made.txt}, run: 'echo \"said=$PARAM_TEXT\" >> $HOTSWAP_OUTPUT; echo x > $OUTPUT_MADE'}\n"
        "  left: {inputs: {said: {from: jobs.top.said}}, outputs: {l: {type: string}}, run: 'echo \"l=$INPUT_SAID\" >> $HOTSWAP_OUTPUT'}\n"
        "  right: {inputs: {made: {from: jobs.top.made}}, outputs: {r: {type: integer}}, run: 'echo r=$(wc -l < $INPUT_MADE) >> $HOTSWAP_OUTPUT'}\n"
        "  bottom:\n    inputs: {l: {from: jobs.left.l}, r: {from: jobs.right.r}, how: {from: jobs.right.state}}\n"
        "    outputs: {all: {type: string}}\n    run: 'echo \"all=$INPUT_L $INPUT_R $INPUT_HOW\" >> $HOTSWAP_OUTPUT'\n",
    )
    run = lab.api.trigger("diamond", {"text": hostile})
    assert lab.api.wait_for_run("diamond", run) == "success"
    assert lab.api.value("diamond", run, "bottom") == {"all": f"{hostile} 1 success"}


def test_an_edit_of_the_yaml_never_changes_a_run_that_has_begun(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    before = lab.api.get(f"/dags/{name}")["bundle_version"]
    lab.write(name, _two_jobs("TWO"))
    lab.api.wait("the new version", lambda: lab.api.get(f"/dags/{name}")["bundle_version"] != before)
    assert _finish(lab, name, run) == {"said": "ONE"}
    second = lab.api.trigger(name)
    lab.wait_for_job(name, "first")
    assert _finish(lab, name, second) == {"said": "TWO"}


def test_an_edit_of_code_never_changes_a_run_that_has_begun(lab: Any) -> None:
    (lab.dags / "edited").mkdir()
    code = lab.dags / "edited" / "say.sh"
    code.write_text("echo said=ONE >> $HOTSWAP_OUTPUT\n")
    text = f"files: ['*.sh']\njobs:\n  first: {{run: '{GATE}'}}\n  second: {{needs: first, outputs: {{said: {{type: string}}}}, script: say.sh}}\n"
    lab.write("edited/edited-code", text)
    run = lab.api.trigger("edited-code")
    lab.wait_for_job("edited-code", "first")
    before = lab.api.get("/dags/edited-code")["bundle_version"]
    code.write_text("echo said=TWO >> $HOTSWAP_OUTPUT\n")
    lab.api.wait("the new version", lambda: lab.api.get("/dags/edited-code")["bundle_version"] != before)
    assert _finish(lab, "edited-code", run) == {"said": "ONE"}
    second = lab.api.trigger("edited-code")
    lab.wait_for_job("edited-code", "first")
    assert _finish(lab, "edited-code", second) == {"said": "TWO"}


def _errors(lab: Any) -> dict[str, str]:
    found = lab.api.get("/importErrors")["import_errors"]
    return {error["filename"]: error["stack_trace"] for error in found}


def test_a_broken_file_keeps_its_last_valid_version(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    path = lab.write(name, "jobs:\n  first: {run: 'echo $PARAM_GONE'}\n")
    shown = path.name
    lab.api.wait("the import error", lambda: shown in _errors(lab))
    assert not lab.api.get(f"/dags/{name}")["is_stale"]
    assert not lab.api.get(f"/dags/{name}")["has_import_errors"]
    assert _errors(lab)[shown].startswith(f"{path.name}:4:16: param-unknown: ")
    assert _finish(lab, name, run) == {"said": "ONE"}
    tagged = {"name": "newest text is broken"}.items()
    lab.api.wait("the tag", lambda: any(tagged <= tag.items() for tag in lab.api.get(f"/dags/{name}")["tags"]))
    while_broken = lab.api.trigger(name)
    lab.wait_for_job(name, "first")
    assert _finish(lab, name, while_broken) == {"said": "ONE"}
    said = (
        f"the newest text of {path.name} is broken; this run uses the last valid one: {path.name}:4:16: param-unknown"
    )
    assert said in lab.api.log(name, while_broken, "first")
    assert said not in lab.api.log(name, run, "second")
    lab.write(name, _two_jobs("THREE"))
    lab.api.wait("the error's end", lambda: shown not in _errors(lab))
    lab.api.wait("the tag's end", lambda: not lab.api.get(f"/dags/{name}")["tags"])


def test_a_file_broken_from_its_first_day_hides_no_other(lab: Any) -> None:
    path = lab.dags / "never.hotswap.yaml"
    path.write_text("hotswap: workflow/v1\njobs:\n  a: {run: [\n")
    lab.write("beside", "jobs: {a: {run: 'true'}}\n")
    lab.api.wait("the import error", lambda: path.name in _errors(lab))
    assert "never.hotswap.yaml:3:6: yaml-unclosed" in _errors(lab)[path.name]
    lab.api.wait("the other Dag", lambda: lab.api.get("/dags/beside"))
    path.unlink()


def test_a_renamed_file_lets_its_runs_finish(lab: Any) -> None:
    path = lab.write("before-rename", _two_jobs("ONE", "name: renamed\n"))
    run = lab.api.trigger("renamed")
    lab.wait_for_job("renamed", "first")
    before = lab.api.get("/dags/renamed")["bundle_version"]
    (lab.dags / "moved").mkdir()
    path.rename(lab.dags / "moved" / "after.hotswap.yaml")
    lab.api.wait("the new version", lambda: lab.api.get("/dags/renamed")["bundle_version"] != before)
    assert _finish(lab, "renamed", run) == {"said": "ONE"}


def test_a_workflow_whose_file_takes_another_name_lets_its_runs_finish(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    lab.write(name, _two_jobs("TWO", f"name: {name}-next\n"))
    lab.api.wait("the new one", lambda: lab.api.get(f"/dags/{name}-next"))
    assert _finish(lab, name, run) == {"said": "ONE"}
    lab.api.wait("the end of the old one", lambda: lab.api.get(f"/dags/{name}")["is_stale"])
    assert not lab.api.get(f"/dags/{name}-next")["is_stale"]


def test_what_airflow_refuses_is_an_error_of_the_new_text_alone(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    lab.write(name, _two_jobs("TWO", "schedule: {assets: ['postgres://h/a']}\n"))
    lab.api.wait("the import error", lambda: "Airflow does not accept" in _errors(lab).get(f"{name}.hotswap.yaml", ""))
    assert not lab.api.get(f"/dags/{name}")["is_stale"]
    assert _finish(lab, name, run) == {"said": "ONE"}


def test_airflows_own_trial_of_a_dag(lab: Any) -> None:
    lab.write("beside", "jobs: {a: {run: 'true'}}\n")
    lab.api.wait("the other Dag", lambda: lab.api.get("/dags/beside"))
    lab.write(
        "tried",
        "jobs:\n  a: {outputs: {x: {type: integer}}, run: 'echo x=5 >> $HOTSWAP_OUTPUT'}\n"
        f"  b: {{inputs: {{x: {{from: jobs.a.x}}}}, outputs: {{y: {{type: string}}}}, run: 'echo y=$INPUT_X >> $HOTSWAP_OUTPUT # {'x' * 2000}'}}\n",
    )
    lab.api.wait("the Dag", lambda: lab.api.get("/dags/tried"))
    lab.api.send("PATCH", "/dags/tried", {"is_paused": True})  # else the scheduler may start the same task
    tried = lab.run("airflow", "dags", "test", "tried")
    said = tried.stdout + tried.stderr
    assert tried.returncode == 0, said
    assert "Error bagging" not in said
    (run,) = lab.api.get("/dags/tried/dagRuns")["dag_runs"]
    assert run["state"] == "success"
    assert lab.api.value("tried", run["dag_run_id"], "b") == {"y": "5"}


def test_a_trial_takes_a_connection_from_airflows_database(lab: Any) -> None:
    lab.write("tried-kept", "jobs: {a: {run: echo tried}}\n")
    lab.api.wait("the Dag", lambda: lab.api.get("/dags/tried-kept"))
    lab.api.send("PATCH", "/dags/tried-kept", {"is_paused": True})
    parts = urlsplit(lab.sandbox.connection_uri("main"))
    kept = {"connection_id": "slurm_main", "conn_type": "slurm", "host": parts.hostname, "port": parts.port}
    kept |= {"login": parts.username, "extra": json.dumps(dict(parse_qsl(parts.query)))}
    lab.api.send("POST", "/connections", kept)
    tried = lab.run("airflow", "dags", "test", "tried-kept", environment={"AIRFLOW_CONN_SLURM_MAIN": ""})
    said = tried.stdout + tried.stderr
    assert tried.returncode == 0, said
    (run,) = lab.api.get("/dags/tried-kept/dagRuns")["dag_runs"]
    assert run["state"] == "success"


def test_a_deleted_file_lets_its_runs_finish_and_then_its_dag_goes(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    (lab.dags / f"{name}.hotswap.yaml").unlink()
    lab.api.wait("the mark", lambda: [tag["name"] for tag in lab.api.get(f"/dags/{name}")["tags"]] == ["deleted"])
    assert _finish(lab, name, run) == {"said": "ONE"}
    lab.api.wait("the end of the Dag", lambda: lab.api.get(f"/dags/{name}")["is_stale"])


def test_a_failing_job_fails_its_task_without_a_retry(lab: Any) -> None:
    lab.write("failing", "jobs:\n  a: {run: 'echo before; exit 3'}\n  b: {needs: {a: failed}, run: 'true'}\n")
    run = lab.api.trigger("failing")
    assert lab.api.wait_for_run("failing", run) == "success"
    assert lab.api.tasks("failing", run) == {"a": "failed", "b": "success", "_verdict": "success"}
    log = lab.api.log("failing", run, "a")
    assert "JobFailed: job a failed with exit status 3" in log
    after_traceback = log.rpartition("Traceback")[2] if "Traceback" in log else log
    assert "JobFailed: job a failed with exit status 3; see its log" in after_traceback.split("\n", 12)[-1]


def test_jobs_that_wait_for_failures_judge_each_need_by_itself(lab: Any) -> None:
    lab.write(
        "needs",
        "jobs:\n  bad: {run: exit 3}\n  good: {run: 'true'}\n  after: {needs: bad, run: 'true'}\n"
        "  both: {needs: {bad: done, good: success}, run: 'true'}\n"
        "  never: {needs: {good: failed, bad: done}, run: 'true'}\n"
        "  exact: {needs: {after: failed}, run: 'true'}\n  last: {needs: {never: done, exact: done}, run: 'true'}\n",
    )
    lab.write(
        "unhandled",
        "jobs:\n  bad: {run: exit 3}\n  after: {needs: bad, run: 'true'}\n  exact: {needs: {after: failed}, run: 'true'}\n",
    )
    run, other = lab.api.trigger("needs"), lab.api.trigger("unhandled")
    assert lab.api.wait_for_run("needs", run) == "success"
    assert lab.api.tasks("needs", run) == {
        "bad": "failed", "good": "success", "after": "upstream_failed", "both": "success", "never": "skipped",
        "exact": "skipped", "last": "success", "_verdict": "success",
    }  # fmt: skip
    assert lab.api.wait_for_run("unhandled", other) == "failed"
    assert "the failure of bad" in lab.api.log("unhandled", other, "_verdict")


def test_a_request_too_large_for_the_triggers_row(lab: Any) -> None:
    text = "x" * 5000
    lab.write(
        "large",
        f"jobs: {{a: {{env: {{X: {text}}}, outputs: {{n: integer}}, run: 'echo n=${{#X}} >> $HOTSWAP_OUTPUT'}}}}\n".replace(
            "{n: integer}", "{n: {type: integer}}"
        ),
    )
    run = lab.api.trigger("large")
    assert lab.api.wait_for_run("large", run) == "success"
    assert lab.api.value("large", run, "a") == {"n": 5000}


def test_a_task_that_is_ended_takes_its_job_out_of_the_queue(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    lab.api.send("PATCH", f"/dags/{name}/dagRuns/{run}/taskInstances/first", {"new_state": "failed"})
    lab.api.wait("an empty queue", lambda: not lab.queue(name))


def test_a_cleared_task_runs_anew_and_its_old_job_is_cancelled(lab: Any, two_jobs: tuple[str, str]) -> None:
    name, run = two_jobs
    (old,) = lab.queue(name)
    body = {"dry_run": False, "task_ids": ["first"], "dag_run_id": run, "only_failed": False, "reset_dag_runs": True}
    lab.api.send("POST", f"/dags/{name}/clearTaskInstances", body)

    def renewed() -> bool:
        jobs = lab.queue(name)
        return len(jobs) == 1 and jobs[0] != old

    lab.api.wait("the new job alone", renewed)
    assert _finish(lab, name, run) == {"said": "ONE"}
