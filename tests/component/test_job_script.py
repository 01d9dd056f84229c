"""The job script, run by the real bash as Slurm would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.history.past import Past
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.slurm.request import Input, JobRequest, Output
from hotswap_airflow.slurm.script.render import render_script, render_table
from hotswap_airflow.testing.processes import descendants, kill_all, wait_until

KEY = JobKey(RunKey("inst", "flow", "dev", "run 1", "n"), "fit")
_SHARED = [*settings().suppress_health_check, HealthCheck.function_scoped_fixture]


def _start(work: Path, request: JobRequest, job_id: str = "7", **environment: str) -> subprocess.Popen[str]:
    key_dir = work / key_folder(request.key.digest)
    key_dir.mkdir(parents=True, exist_ok=True)
    (work / "runs" / request.key.run.folder).mkdir(parents=True, exist_ok=True)
    (key_dir / "script").write_text(render_script(request))
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": job_id, "SLURM_SUBMIT_DIR": str(key_dir), **environment}
    return subprocess.Popen(
        ["bash", "script"], cwd=key_dir, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _run(work: Path, request: JobRequest, **environment: str) -> tuple[int, str]:
    process = _start(work, request, **environment)
    said, _ = process.communicate(timeout=90)
    # What bash itself says now and then where the system gives out the number of a process once more.
    return process.returncode, re.sub(r"(?m)^script: line \d+: wait_for: No record of process \d+\n", "", said)


def _key_dir(work: Path) -> Path:
    return work / key_folder(KEY.digest)


def test_it_runs_in_the_run_directory_and_notes_its_end(tmp_path: Path) -> None:
    status, said = _run(tmp_path, JobRequest(KEY, text="pwd; echo a=1 >> $HOTSWAP_OUTPUT; echo $HOTSWAP_ATTEMPT"))
    assert (status, said) == (0, f"{tmp_path}/runs/{KEY.run.folder}\n1\n")
    assert (_key_dir(tmp_path) / "id").read_text() == "7\n"
    assert (_key_dir(tmp_path) / "exit").read_text() == "0\n"
    assert (_key_dir(tmp_path) / "output").read_text() == "a=1\n"


def test_a_failure_is_the_scripts_own(tmp_path: Path) -> None:
    assert _run(tmp_path, JobRequest(KEY, text="false | cat\necho never"))[0] == 1
    assert _run(tmp_path, JobRequest(replace(KEY, generation=1), text="exit 42"))[0] == 42
    assert _run(tmp_path, JobRequest(JobKey(KEY.run, "u"), text="echo $NOT_SET"))[0] == 1


def test_the_second_job_under_a_key_does_nothing(tmp_path: Path) -> None:
    _run(tmp_path, JobRequest(KEY, text="echo once >> done"))
    assert _run(tmp_path, JobRequest(KEY, text="echo twice >> done"), SLURM_JOB_ID="8") == (0, "")
    assert (tmp_path / "runs" / KEY.run.folder / "done").read_text() == "once\n"


def test_a_requeued_job_begins_again_with_a_higher_attempt(tmp_path: Path) -> None:
    request = JobRequest(
        KEY, text="echo $HOTSWAP_ATTEMPT; cat $HOTSWAP_OUTPUT; echo a=1 >> $HOTSWAP_OUTPUT", past=Past(starts=1)
    )
    first = _start(tmp_path, replace(request, text=f"echo a=1 >> $HOTSWAP_OUTPUT\n{WAITING}"))
    wait_until("its start", (tmp_path / "runs" / KEY.run.folder / "ran").exists)
    first.terminate()
    assert first.communicate(timeout=90)[0] == ""
    assert _run(tmp_path, request, SLURM_RESTART_COUNT="1") == (0, "3\n")


def test_a_job_that_has_ended_by_itself_is_not_run_again_by_a_requeue(tmp_path: Path) -> None:
    for status in (0, 4):
        key = replace(KEY, job=f"j{status}")
        request = JobRequest(key, text=f"echo once >> ran.{status}; exit {status}")
        assert _run(tmp_path, request)[0] == status
        assert _run(tmp_path, request, SLURM_RESTART_COUNT="1")[0] == status
        assert (tmp_path / "runs" / KEY.run.folder / f"ran.{status}").read_text() == "once\n"


SAVING = """\
echo "s$HOTSWAP_ATTEMPT=1" >> $HOTSWAP_OUTPUT
case $HOTSWAP_ATTEMPT in 1) exit 85 ;; 2) exit 3 ;; esac
"""


def test_what_a_job_wrote_before_it_saved_is_kept_by_a_requeue(tmp_path: Path) -> None:
    request = JobRequest(KEY, text=SAVING, saves=True)
    restarts = [{}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_RESTART_COUNT": "2"}]
    assert [_run(tmp_path, request, **restart)[0] for restart in restarts] == [85, 3, 0]
    assert (_key_dir(tmp_path) / "output").read_text() == "s1=1\ns3=1\n"


def test_what_an_element_wrote_before_it_saved_is_kept_by_a_requeue(tmp_path: Path) -> None:
    request = JobRequest(KEY, text=SAVING, saves=True, array=Array(("i",), (("a",), ("b",))))
    folder = _elements(tmp_path, request)
    index = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    restarts = [{}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_RESTART_COUNT": "2"}]
    assert [_run(tmp_path, request, **index, **restart)[0] for restart in restarts] == [85, 3, 0]
    assert (folder / "out" / "1").read_text() == "s1=1\ns3=1\n"
    assert sorted(path.name for path in (folder / "ends").iterdir()) == ["1.0"]


def test_a_job_whose_end_was_told_is_not_run_again(tmp_path: Path) -> None:
    """Another try may be at work: a controller that lost its memory begins this one again."""
    request = JobRequest(KEY, text="echo once >> ran; exit 85")
    assert _run(tmp_path, request)[0] == 85
    (_key_dir(tmp_path) / "settled").write_text("told\n")
    assert _run(tmp_path, request, SLURM_RESTART_COUNT="1")[0] == 85
    (_key_dir(tmp_path) / "exit").unlink()
    assert _run(tmp_path, request, SLURM_RESTART_COUNT="1")[0] == 1
    assert (tmp_path / "runs" / KEY.run.folder / "ran").read_text() == "once\n"


def test_a_good_end_that_cannot_be_noted_is_none(tmp_path: Path) -> None:
    request = JobRequest(KEY, text=f"mkdir {_key_dir(tmp_path)}/exit.new")
    status, said = _run(tmp_path, request)
    assert (status, "the job's end cannot be written, disk or quota full?" in said) == (1, True)


def _twice(work: Path, request: JobRequest, **environment: str) -> list[subprocess.Popen[str]]:
    """Two starts of one job, the second while the first runs."""
    first = _start(work, request, **environment)
    ran = work / "runs" / KEY.run.folder / "ran"
    wait_until("the first start", ran.exists)
    return [first, _start(work, request, **environment)]


WAITING = "echo begin >> ran; until [ -e go ]; do sleep 0.05; done; echo end >> ran; exit 3"


def test_a_job_that_slurm_begins_twice_since_it_forgot_the_first_runs_once(tmp_path: Path) -> None:
    started = _twice(tmp_path, JobRequest(KEY, text=WAITING))
    run = tmp_path / "runs" / KEY.run.folder
    (run / "go").touch()
    assert [process.wait(20) for process in started] == [3, 3]
    assert (run / "ran").read_text() == "begin\nend\n"


def _said(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    assert words in process.stdout.readline()


def test_a_try_waits_for_an_earlier_one_that_counts_as_gone_and_runs_all_the_same(tmp_path: Path) -> None:
    run = tmp_path / "runs" / KEY.run.folder
    first = _start(tmp_path, JobRequest(KEY, text=WAITING))
    wait_until("the first start", (run / "ran").exists)
    second = _start(tmp_path, JobRequest(replace(KEY, generation=1), text="echo next >> ran"), "8")
    _said(second, "an earlier try still runs")
    assert (run / "ran").read_text() == "begin\n"
    (run / "go").touch()
    assert [process.wait(90) for process in (first, second)] == [3, 0]
    assert (run / "ran").read_text() == "begin\nend\nnext\n"


def test_an_element_waits_for_itself_in_an_earlier_array(tmp_path: Path) -> None:
    """Its index there may have been another."""
    run = tmp_path / "runs" / KEY.run.folder
    array = Array(("i",), (("a",), ("b",)))
    first = JobRequest(KEY, text=WAITING, array=array)
    (_elements(tmp_path, first) / "rows").write_text("digest 0\n")
    second = JobRequest(replace(KEY, generation=1), text="echo next >> ran", array=replace(array, submitted_base=1))
    _elements(tmp_path, second)
    started = [_start(tmp_path, first, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="1")]
    wait_until("the first start", (run / "ran").exists)
    started.append(_start(tmp_path, second, "8", SLURM_ARRAY_JOB_ID="8", SLURM_ARRAY_TASK_ID="0"))
    _said(started[1], "an earlier try still runs")
    (run / "go").touch()
    assert [process.wait(90) for process in started] == [3, 0]
    assert (run / "ran").read_text() == "begin\nend\nnext\n"


def test_an_element_that_slurm_begins_twice_runs_once(tmp_path: Path) -> None:
    request = JobRequest(KEY, text=WAITING, array=Array(("i",), (("a",), ("b",))))
    _elements(tmp_path, request)
    started = _twice(tmp_path, request, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="1")
    run = tmp_path / "runs" / KEY.run.folder
    (run / "go").touch()
    assert [process.wait(20) for process in started] == [3, 3]
    assert (run / "ran").read_text() == "begin\nend\n"
    assert [path.name for path in (_key_dir(tmp_path) / "ends").iterdir()] == ["1.3"]
    again = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": "1"}
    assert _run(tmp_path, request, **again)[0] == 3
    assert (run / "ran").read_text() == "begin\nend\n"
    ends = _key_dir(tmp_path) / "ends"
    for count, status in enumerate(("143", "138", "85"), 2):
        (ends / "1.3").rename(ends / f"1.{status}")
        assert _run(tmp_path, request, **again)[0] == 3
        assert (run / "ran").read_text() == count * "begin\nend\n"


def test_a_chunk_that_was_warned_and_is_requeued_has_one_end_for_each_element(tmp_path: Path) -> None:
    text = 'echo "$SWEEP_I" >> ran; [ -e warned ] || { trap "touch warned" USR1; kill -s USR1 $PPID; until [ -e warned ]; do sleep 0.1; done; }'
    array = Array(("i",), tuple((letter,) for letter in "abc"), 3)
    request = JobRequest(KEY, text=text, array=array, options=(("signal", "B:USR1@30"),), saves=True)
    ends = _elements(tmp_path, request) / "ends"
    index = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    assert _run(tmp_path, request, **index)[0] == 85
    assert sorted(path.name for path in ends.iterdir()) == ["0.0", "1.85", "2.85"]
    assert _run(tmp_path, request, SLURM_RESTART_COUNT="1", **index)[0] == 0
    assert sorted(path.name for path in ends.iterdir()) == ["0.0", "1.0", "2.0"]
    assert (tmp_path / "runs" / KEY.run.folder / "ran").read_text().split() == [*"abc"]


@pytest.mark.parametrize(("name", "status", "ends"), [("USR1", 85, ["0.0", "1.85", "2.85"]), ("TERM", 143, ["0.0"])])
def test_a_signal_between_two_elements_lets_no_other_begin(
    tmp_path: Path, name: str, status: int, ends: list[str]
) -> None:
    array = Array(("i",), tuple((letter,) for letter in "abc"), 3)
    request = JobRequest(
        KEY, text='echo "$SWEEP_I" >> ran', array=array, options=(("signal", "B:USR1@30"),), saves=True
    )
    folder = _elements(tmp_path, request)
    shim = tmp_path / "bin" / "sed"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n[ "$2" != "2{{p;q}}" ] || kill -s {name} $PPID\nexec {shutil.which("sed")} "$@"\n')
    shim.chmod(0o755)
    index = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    assert _run(tmp_path, request, PATH=f"{shim.parent}:{os.environ['PATH']}", **index)[0] == status
    assert sorted(path.name for path in (folder / "ends").iterdir()) == ends
    assert (tmp_path / "runs" / KEY.run.folder / "ran").read_text() == "a\n"


def test_a_chunk_that_is_ended_leaves_what_elements_saved_before(tmp_path: Path) -> None:
    """Those that it has not begun again go on from there in the next try."""
    array = Array(("i",), tuple((letter,) for letter in "ab"), 2)
    text = "echo begin >> ran; trap 'exit 85' TERM; until [ -e go ]; do sleep 0.05; done; exit 85"
    request = JobRequest(KEY, text=text, array=array, options=(("signal", "B:USR1@30"),), saves=True)
    folder, run = _elements(tmp_path, request), tmp_path / "runs" / KEY.run.folder
    for element in range(2):
        (folder / "ends" / f"{element}.85").touch()
        (folder / "out" / f"{element}").write_text("v=1\n")
    index = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_RESTART_COUNT": "1"}
    started = _start(tmp_path, request, **index)
    wait_until("its start", (run / "ran").exists)
    started.terminate()
    assert started.wait(90) == 143
    assert sorted(path.name for path in (folder / "ends").iterdir()) == ["0.85", "1.85"]
    assert (folder / "out" / "1").read_text() == "v=1\n"


def test_a_try_waits_for_a_start_of_an_earlier_one_after_others_that_came_to_nothing(tmp_path: Path) -> None:
    run = tmp_path / "runs" / KEY.run.folder
    first = _start(tmp_path, JobRequest(KEY, text=WAITING), SLURM_RESTART_COUNT="3")
    wait_until("the first start", (run / "ran").exists)
    second = _start(tmp_path, JobRequest(replace(KEY, generation=1), text="echo next >> ran"), "8")
    _said(second, "an earlier try still runs")
    (run / "go").touch()
    assert [process.wait(90) for process in (first, second)] == [3, 0]
    assert (run / "ran").read_text() == "begin\nend\nnext\n"


def test_a_requeued_job_that_slurm_begins_twice_runs_once(tmp_path: Path) -> None:
    started = _twice(tmp_path, JobRequest(KEY, text=WAITING), SLURM_RESTART_COUNT="1")
    run = tmp_path / "runs" / KEY.run.folder
    (run / "go").touch()
    assert [process.wait(20) for process in started] == [3, 3]
    assert (run / "ran").read_text() == "begin\nend\n"


def test_a_failure_does_not_stand_where_a_requeue_may_have_been_meant(tmp_path: Path) -> None:
    request = JobRequest(KEY, text="echo again >> ran; exit 4")
    for environment in ({}, {"SLURM_RESTART_COUNT": "2"}, {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_NUM_NODES": "2"}):
        assert _run(tmp_path, request, **environment)[0] == 4
    assert (tmp_path / "runs" / KEY.run.folder / "ran").read_text() == 3 * "again\n"


def _elements(work: Path, request: JobRequest) -> Path:
    """The folder of an array's key, as it is submitted."""
    folder = work / key_folder(request.key.digest)
    for name in ("logs", "ends", "out"):
        (folder / name).mkdir(parents=True)
    (folder / "table").write_text(render_table(request.array or Array((), ())))
    return folder


@pytest.mark.parametrize("first_line", ["#!/bin/bash\n", "", "set -e\n", "\n"])
def test_a_script_runs_for_each_element_of_a_sweep(tmp_path: Path, first_line: str) -> None:
    run = tmp_path / "runs" / KEY.run.folder
    run.mkdir(parents=True)
    (run / "say.sh").write_text(f'{first_line}echo "$SWEEP_I" >> "ran.$SWEEP_INDEX"\n')
    request = JobRequest(KEY, script="say.sh", array=Array(("i",), tuple((letter,) for letter in "abcde"), 2))
    key_dir = _elements(tmp_path, request)
    for index in range(3):
        assert _run(tmp_path, request, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID=str(index)) == (0, "")
    assert sorted(path.name for path in (key_dir / "ends").iterdir()) == [f"{element}.0" for element in range(5)]
    assert [(run / f"ran.{element}").read_text() for element in range(5)] == [f"{letter}\n" for letter in "abcde"]


def test_an_element_whose_end_cannot_be_noted_has_not_ended_well(tmp_path: Path) -> None:
    request = JobRequest(KEY, text="true", array=Array(("i",), (("a",),)))
    (_elements(tmp_path, request) / "ends").rmdir()
    assert _run(tmp_path, request, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="0")[0] == 1


def test_what_was_killed_before_its_end_is_done_by_the_second_start(tmp_path: Path) -> None:
    first, second = _twice(tmp_path, JobRequest(KEY, text=WAITING))
    kill_all([first.pid, *descendants(first.pid)])
    first.wait(20)
    run = tmp_path / "runs" / KEY.run.folder
    (run / "go").touch()
    assert second.wait(20) == 3
    assert (run / "ran").read_text() == "begin\nbegin\nend\n"


def test_no_variable_of_the_job_changes_what_is_done_around_it(tmp_path: Path) -> None:
    ours = ("first", "status", "child", "forwarded", "signal", "known", "new", "key_dir", "program", "argument")
    names = (*ours, "PATH", "IFS", "BASH_ENV", "PWD", "SHELLOPTS_")
    run = tmp_path / "runs" / KEY.run.folder
    run.mkdir(parents=True)
    (run / "say.sh").write_text('#!/bin/bash -e\necho "$first $key_dir"; exit 3\n')
    variables = tuple((name, "no such thing") for name in names)
    status, said = _run(tmp_path, JobRequest(KEY, script="say.sh", variables=variables))
    assert (status, said.splitlines()[-1]) == (3, "no such thing no such thing")
    assert (_key_dir(tmp_path) / "exit").read_text() == "3\n"


def test_declared_paths_are_checked(tmp_path: Path) -> None:
    status, said = _run(tmp_path, JobRequest(KEY, text="true", inputs=(Input("mesh", "mesh dat"),)))
    assert status == 1
    assert "the declared input mesh is missing" in said
    assert "the declared input mesh is missing" in (_key_dir(tmp_path) / "reason").read_text()
    other = JobRequest(JobKey(KEY.run, "o"), text="true", outputs=(Output("o", "file", "deep/er/f"),))
    status, said = _run(tmp_path, other)
    assert (status, "the declared output o was not made" in said) == (1, True)
    made = JobRequest(JobKey(KEY.run, "p"), text='echo > "$OUTPUT_O"; ls -d "$OUTPUT_D"', outputs=(
        Output("o", "file", "deep/er/f"), Output("d", "dir", "di r"),
    ))  # fmt: skip
    assert _run(tmp_path, made)[0] == 0


def test_a_script_runs_by_its_first_line(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / KEY.run.folder / "bin"
    folder.mkdir(parents=True)
    (folder / "a b.py").write_text("#!/usr/bin/env python3\nimport os\nprint(os.environ['PARAM_X'] * 2)\n")
    (folder / "plain").write_text("echo $BASH_VERSION | head -c 1\n")
    assert _run(tmp_path, JobRequest(KEY, script="bin/a b.py", variables=(("PARAM_X", "ab"),))) == (0, "abab\n")
    assert _run(tmp_path, JobRequest(JobKey(KEY.run, "q"), script="bin/plain"))[1].isdigit()


def test_a_script_of_the_cluster_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "there.sh").write_text("echo from there\n")
    assert _run(tmp_path, JobRequest(KEY, script=str(tmp_path / "there.sh"))) == (0, "from there\n")


def test_a_signal_reaches_the_persons_own_process(tmp_path: Path) -> None:
    text = 'trap "echo saved; exit 85" USR1\nmkfifo f; echo ready > ready; read x > /dev/null 2>&1 < f & wait $!'
    process = _start(tmp_path, JobRequest(KEY, text=text))
    ready = tmp_path / "runs" / KEY.run.folder / "ready"
    while not ready.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGUSR1)
    said, _ = process.communicate(timeout=90)
    # Where the signal came first there is no reader, for whom a plain opening would wait.
    with os.fdopen(os.open(ready.parent / "f", os.O_RDWR), "w") as fifo:
        fifo.write("let the reader go\n")
    assert (process.returncode, said) == (85, "saved\n")
    assert (_key_dir(tmp_path) / "exit").read_text() == "85\n"


_any_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=60)


@settings(max_examples=30, suppress_health_check=_SHARED)
@given(value=_any_text | st.just("'\"; touch x; $(id) `id` \\\n\t"))
def test_a_value_arrives_exactly_as_it_was(tmp_path: Path, value: str) -> None:
    work = tmp_path / "w"
    request = JobRequest(KEY, text='printf %s "$PARAM_X" > value', variables=(("PARAM_X", value),))
    for name in ("id", "exit", "value"):
        (_key_dir(work) / name).unlink(missing_ok=True)
    assert _run(work, request)[0] == 0
    run_dir = work / "runs" / KEY.run.folder
    assert (run_dir / "value").read_bytes() == value.encode()
    assert sorted(path.name for path in run_dir.iterdir()) == ["value"]


@settings(max_examples=60, suppress_health_check=_SHARED)
@given(
    values=st.lists(_any_text | st.just("'\"; touch x; $(id) `id` \\\n\t"), min_size=1, max_size=4),
    chunk=st.integers(1, 3),
)
def test_each_element_gets_its_values_exactly_as_they_were(tmp_path: Path, values: list[str], chunk: int) -> None:
    work = tmp_path / "w"
    shutil.rmtree(work, ignore_errors=True)
    array = Array(("V",), tuple((value,) for value in values), chunk)
    request = JobRequest(KEY, text='printf %s "$SWEEP_V" > "value.$SWEEP_INDEX"', array=array)
    key_dir = _key_dir(work)
    for name in ("ends", "out"):
        (key_dir / name).mkdir(parents=True)
    (key_dir / "table").write_bytes(render_table(array).encode())
    for index in array.indices:
        environment = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": str(index), "SLURM_JOB_ID": str(5 + index)}
        assert _run(work, request, **environment) == (0, "")
    found = {path.name: path.read_bytes() for path in (work / "runs" / KEY.run.folder).iterdir()}
    assert found == {f"value.{number}": value.encode() for number, value in enumerate(values)}
    assert {path.name for path in (key_dir / "ends").iterdir()} == {f"{number}.0" for number in range(len(values))}


def test_what_a_site_has_bash_read_first_may_have_unset_variables(tmp_path: Path) -> None:
    """As Lmod's, which gives jobs the function `module`."""
    (tmp_path / "site.sh").write_text('[ -n "$SITE_NEVER_SET" ] || module() { echo "loaded $1"; }\nfalse\n')
    text = "module gcc > said\necho $LINENO >> said\nfalse\necho went on >> said\n"
    assert _run(tmp_path, JobRequest(KEY, text=text), BASH_ENV=str(tmp_path / "site.sh"))[0] == 1
    assert (tmp_path / "runs" / KEY.run.folder / "said").read_text() == "loaded gcc\n2\n"
    for wrong in ('echo "$NEVER_SET"', "false | true"):
        assert _run(tmp_path / "other", JobRequest(KEY, text=f"{wrong}\n"))[0] == 1
