"""``hotswap run`` and ``hotswap sandbox`` as a person types them, on a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap_airflow.cli import main
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slurm_sandbox: Sandbox) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AIRFLOW__HOTSWAP__SITE", str(slurm_sandbox.site_file))
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_MAIN", slurm_sandbox.connection_uri("main"))


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    status = main(["run", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def _write(folder: Path, text: str) -> str:
    path = folder / "flow.hotswap.yaml"
    path.write_text("hotswap: workflow/v1\ndefaults: {slurm: {partition: debug, mem: 50M, time: 2m}}\n" + text)
    return str(path)


def test_own_code_with_a_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = _run(capsys, str(EXAMPLES / "own-code.hotswap.yaml"), "--param", "degree=3")
    assert (status, said["state"], said["slurm_jobs"]) == (0, "success", 2)
    outputs = said["outputs"]
    assert isinstance(outputs, dict)
    assert 0 < outputs["fit.rmse"] < 1
    assert Path(outputs["sample.points"]).read_text()


def test_failures_are_handled_by_the_jobs_that_wait_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(
        tmp_path,
        "jobs:\n  a: {run: exit 3}\n  b: {run: x, needs: a}\n  c: {run: 'true', needs: {a: failed}}\n"
        "  d: {run: 'true', needs: {b: done, c: success}}\n  e: {run: x, needs: {c: failed}}\n",
    )
    status, said = _run(capsys, path)
    assert (status, said["state"], said["slurm_jobs"]) == (0, "success", 3)
    assert said["jobs"] == {"a": "failed", "b": "skipped", "c": "success", "d": "success", "e": "skipped"}
    status, said = _run(capsys, _write(tmp_path, "jobs: {a: {run: exit 3}}\n"))
    assert (status, said["state"], said["jobs"]) == (1, "failed", {"a": "failed"})


def test_what_is_tried_again_and_what_goes_on_is_counted(
    tmp_path: Path, slurm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(
        tmp_path,
        "jobs:\n  stubborn: {retries: 2, run: '[ $HOTSWAP_ATTEMPT -ge 3 ]'}\n"
        "  saving: {checkpoint: {}, run: '[ -e saved ] || { touch saved; exit 85; }'}\n"
        "  hopeless: {retry: {on: [node_fail]}, run: exit 3}\n"
        "  doomed: {retries: 1, run: exit 3}\n"
        "  many: {sweep: {over: {i: {range: [0, 5]}}, chunk: 2, tolerate: 1}, retries: 1,\n"
        "         run: '[ $SWEEP_I != 3 ] && { [ $SWEEP_I != 4 ] || [ $HOTSWAP_ATTEMPT = 2 ]; }'}\n",
    )
    status, said = _run(capsys, path)
    assert (status, said["state"]) == (1, "failed")
    ends = {"stubborn": "success", "saving": "success", "hopeless": "failed", "doomed": "failed", "many": "success"}
    assert said["jobs"] == ends
    # Three, two, one and two jobs, and of the sweep three indices and, for its two failed elements, two more.
    assert (said["slurm_jobs"], said["retried"], said["requeues"], said["failed_elements"]) == (13, 5, 1, 1)
    submitted = _submitted(slurm_sandbox, said["run"])
    status, again = _run(capsys, "--attach", said["run"])
    assert (status, again["jobs"]) == (1, ends)
    assert _submitted(slurm_sandbox, said["run"]) == submitted == 10


def _submitted(sandbox: Sandbox, run: str) -> int:
    keys = (sandbox.folder / "main").glob("*/.hotswap/jobs/*/*/key")
    return sum(run in key.read_text() for key in keys)


def test_a_diamond_passes_values_and_a_hostile_text_arrives_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "'\"; touch x; $(id) \\n"
    path = _write(
        tmp_path,
        "params: {text: plain, n: 2}\njobs:\n"
        "  top:\n    outputs: {said: {type: string}, n: {type: integer}, file: made.txt}\n"
        '    run: |\n      echo "said=$PARAM_TEXT" >> $HOTSWAP_OUTPUT\n      echo n=$PARAM_N >> $HOTSWAP_OUTPUT\n'
        "      echo content > $OUTPUT_FILE\n"
        "  left:\n    inputs: {said: {from: jobs.top.said}}\n    outputs: {l: {type: string}}\n"
        '    run: echo "l=$INPUT_SAID" >> $HOTSWAP_OUTPUT\n'
        "  right:\n    inputs: {file: {from: jobs.top.file}}\n    slurm: {cpus-per-task: {from: jobs.top.n}}\n"
        '    outputs: {r: {type: json}}\n    run: echo "r=[\\"$(cat $INPUT_FILE)\\", $SLURM_CPUS_PER_TASK]" >> $HOTSWAP_OUTPUT\n'
        "  bottom:\n    needs: [left, right]\n    inputs: {l: {from: jobs.left.l}, r: {from: jobs.right.r}}\n"
        '    outputs: {all: {type: string}}\n    run: echo "all=$INPUT_L $INPUT_R" >> $HOTSWAP_OUTPUT\n',
    )
    status, said = _run(capsys, path, "--param", f"text={hostile}")
    assert status == 0
    outputs = said["outputs"]
    assert isinstance(outputs, dict)
    assert outputs["left.l"] == hostile
    assert outputs["bottom.all"] == f'{hostile} ["content", 2]'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a FILE"),
        (["FILE", "--param", "degree"], "write NAME=VALUE"),
        (["FILE", "--param", "dgree=1"], "did you mean degree?"),
        (["FILE", "--param", "degree=x"], "is not of type integer"),
        (["FILE", "--param", "degree=9"], "more than 6"),
        (["FILE", "--connection", "http://x"], "use slurm://"),
        (["FILE", "--connection", "ssh://h:port"], "a port that is not a number"),
        (["--attach", "gone"], "there is no run 'gone'"),
    ],
)
def test_misuse(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    own_code = str(EXAMPLES / "own-code.hotswap.yaml")
    assert main(["run", *[own_code if word == "FILE" else word for word in arguments]]) == 2
    assert words in capsys.readouterr().err


def test_a_cluster_nobody_knows_how_to_reach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SLURM_MAIN")
    assert main(["run", str(EXAMPLES / "hello.hotswap.yaml")]) == 2
    assert (
        "set AIRFLOW_CONN_SLURM_MAIN, give --connection URI, or start `hotswap sandbox up`" in capsys.readouterr().err
    )


def test_parameters_without_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", _write(tmp_path, "params: {x: {type: integer}}\njobs: {a: {run: x}}\n")]) == 2
    assert "parameters without a value: x" in capsys.readouterr().err


def test_a_run_is_cancelled_when_its_time_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slurm_sandbox: Sandbox
) -> None:
    path = _write(
        tmp_path, "name: late\ntimeout: 3s\njobs: {a: {run: 'while true; do sleep 0.1; done'}, b: {run: x, needs: a}}\n"
    )
    status, said = _run(capsys, path)
    assert (status, said["state"]) == (1, "timed out")
    cluster = slurm_sandbox.clusters[0]
    assert "late." not in cluster.run("squeue", "-h", "-t", "PENDING,RUNNING", "-o", "%j")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("{uses: airflow.providers.standard.operators.empty.EmptyOperator}", "runs in Airflow alone"),
        ("{run: x, software: s}", "builds none"),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_is_submitted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    slurm_sandbox: Sandbox,
    job: str,
    words: str,
) -> None:
    site = json.loads(slurm_sandbox.site_file.read_text())
    site["policy"] = {"operators": ["airflow.providers.standard.operators.empty.EmptyOperator"]}
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    (tmp_path / "s.sh").write_text("true\n")
    path = _write(tmp_path, f"software: {{s: {{setup: s.sh}}}}\njobs: {{first: {{run: x}}, a: {job}}}\n")
    assert main(["run", path, "--site", str(tmp_path / "site.yaml")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "nothing was submitted" in said


def test_a_refused_job_and_the_text_of_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path, "jobs:\n  a: {run: 'echo v=ä >> $HOTSWAP_OUTPUT', outputs: {v: {type: string}}}\n")
    assert main(["run", path]) == 0
    assert capsys.readouterr().out == "a.v = ä\nsuccess: a success\n"
    assert main(["run", _write(tmp_path, "jobs: {a: {run: x, slurm: {qos: none}, needs: []}}\n")]) == 1
    said = capsys.readouterr()
    assert "failed: a failed" in said.out


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    path = _write(
        tmp_path,
        "jobs: {a: {run: 'touch began; while [ ! -e go ]; do sleep 0.1; done; echo v=1 >> $HOTSWAP_OUTPUT', outputs: {v: {type: integer}}}}\n",
    )
    argv = [sys.executable, "-m", "hotswap_airflow.cli", "run", path, "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    for line in process.stderr:
        if "RUNNING" in line:
            break
    Path(path).write_text("hotswap: workflow/v1\njobs: {a: {run: edited meanwhile}}\n")
    yield process, tmp_path
    process.kill()
    process.communicate()


def _queue(sandbox: Sandbox) -> str:
    return sandbox.clusters[0].run("squeue", "-h", "-t", "RUNNING,PENDING", "-o", "%j")


def test_ctrl_c_cancels_the_jobs(long_run: tuple[subprocess.Popen[str], Path], slurm_sandbox: Sandbox) -> None:
    process, _ = long_run
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=90)
    said = json.loads(out)
    assert (process.returncode, said["state"]) == (130, "cancelled")
    assert f".{said['run']}" not in _queue(slurm_sandbox)
    assert ".hs-" not in _queue(slurm_sandbox)


def test_a_lost_terminal_leaves_the_jobs_and_attach_goes_on(
    long_run: tuple[subprocess.Popen[str], Path], slurm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    process, _ = long_run
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=90)
    said = json.loads(out)
    assert said["state"] == "left"
    assert ".hs-" in _queue(slurm_sandbox)
    (run_dir,) = (slurm_sandbox.folder / "main").glob(f"*/runs/flow/{said['run']}-*")
    (run_dir / "go").touch()
    status, attached = _run(capsys, "--attach", said["run"])
    assert (status, attached["state"], attached["outputs"], attached["slurm_jobs"]) == (0, "success", {"a.v": 1}, 1)
    status, again = _run(capsys, "--attach", said["run"])
    assert (status, again["outputs"]) == (0, {"a.v": 1})


@pytest.fixture
def stuck_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose cluster's controller is away, as it tries to submit."""
    with FakeSlurm(tmp_path / "fake") as fake:
        fake.is_down = True
        path = f"{fake.folder}/bin:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "AIRFLOW_CONN_SLURM_MAIN": "slurm://?transport=local"}
        argv = [sys.executable, "-m", "hotswap_airflow.cli", "run", _write(tmp_path, "jobs: {a: {run: x}}\n")]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stderr is not None
        for line in process.stderr:
            if "it is not known yet whether the job was submitted" in line:
                break
        yield process
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("signals", "status"),
    [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGINT, signal.SIGTERM], 130), ([signal.SIGTERM], 0), ([signal.SIGHUP], 0)],
)  # fmt: skip
def test_a_run_ends_at_once_for_who_asks_twice_also_where_the_controller_is_away(
    stuck_run: subprocess.Popen[str], signals: list[signal.Signals], status: int
) -> None:
    assert stuck_run.stderr is not None
    stuck_run.send_signal(signals[0])
    for number in signals[1:]:
        for line in stuck_run.stderr:
            if "cancelling" in line:
                break
        stuck_run.send_signal(number)
    out, _ = stuck_run.communicate(timeout=30)
    assert stuck_run.returncode == status
    assert "it is not known whether these were submitted: a; hotswap run --attach " in out


def test_a_host_that_is_not_there_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path, "jobs: {a: {run: x}}\n")
    assert main(["run", path, "--connection", "no-such-host.invalid"]) == 2
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "nothing was submitted" in said


def test_two_sandboxes_live_side_by_side_and_a_crash_blocks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def status() -> list[dict[str, object]]:
        assert main(["sandbox", "status", "--json"]) == 0
        found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    assert main(["sandbox", "status"]) == 0
    assert main(["sandbox", "up", "--nodes", "1"]) == 0
    assert main(["sandbox", "up", "--nodes", "1"]) == 0
    assert "is up already" in capsys.readouterr().out
    assert main(["sandbox", "up", "--name", "two", "--clusters", "2", "--nodes", "1", "--sshd"]) == 0
    capsys.readouterr()
    try:
        entries = status()
        assert [(e["name"], e["cluster"], e["running"]) for e in entries] == [
            ("default", "main", True), ("two", "main", True), ("two", "c2", True),
        ]  # fmt: skip
        ssh = entries[1]["ssh"]
        assert isinstance(ssh, dict)
        assert ssh.keys() == {"host", "port", "user", "key"}
        conf = str(entries[0]["slurm_conf"])
        done = subprocess.run(["sinfo", "-h"], env={**os.environ, "SLURM_CONF": conf}, capture_output=True, check=True)
        assert b"debug" in done.stdout
        _kill_all_of(conf)
        deadline = time.monotonic() + 10
        while status()[0]["running"]:
            assert time.monotonic() < deadline
        assert main(["sandbox", "up", "--nodes", "1"]) == 0
        capsys.readouterr()
        assert status()[0]["running"] is True
        assert main(["sandbox", "down", "--name", "nope"]) == 2
        assert "there is no sandbox nope; up are: default, two" in capsys.readouterr().err
        assert main(["sandbox", "down"]) == 0
        assert capsys.readouterr().out == "sandbox default is down\n"
    finally:
        assert main(["sandbox", "down", "--all"]) == 0
    capsys.readouterr()
    assert status() == []
    assert main(["sandbox", "down"]) == 0
    assert main(["sandbox", "up", "--nodes", "0"]) == 2


def _kill_all_of(conf: str) -> None:
    from hotswap_airflow.testing import processes

    for pid in processes.processes_with(f"SLURM_CONF={conf}"):
        os.kill(pid, signal.SIGKILL)


def test_a_sandbox_is_used_when_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SLURM_MAIN")
    monkeypatch.delenv("AIRFLOW__HOTSWAP__SITE")
    assert main(["sandbox", "up", "--accounting"]) == 0
    capsys.readouterr()
    try:
        status, said = _run(capsys, str(EXAMPLES / "hello.hotswap.yaml"))
        assert (status, said["state"]) == (0, "success")
        assert main(["validate", str(EXAMPLES.parent / "bad" / "43-unknown-partition.hotswap.yaml")]) == 1
    finally:
        assert main(["sandbox", "down"]) == 0


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hotswap_airflow.testing.processes.PATH", "/nowhere")
    assert main(["sandbox", "up"]) == 2
    assert "sudo apt-get install munge slurm-client slurmctld slurmd" in capsys.readouterr().err
