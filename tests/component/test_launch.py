"""Shells, modules, containers and one start for each task, run by the real bash as Slurm would."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.slurm.request import Container, Input, JobRequest, Output
from hotswap_airflow.slurm.script.render import render_script, render_table

KEY = JobKey(RunKey("inst", "flow", "dev", "run 1", "n"), "fit")
HOSTILE = "'\"; touch x; $(id) `id` \\n {{ ds }}\nsecond line"


class Node:
    """A node with an `apptainer` that notes its arguments and gives its command nothing of the environment."""

    def __init__(self, folder: Path) -> None:
        self.work, self.bin, self.arguments = folder / "work", folder / "bin", folder / "arguments"
        self.bin.mkdir()
        self.program(
            "apptainer",
            f"printf '%s\\n' \"$@\" > {shlex.quote(str(self.arguments))}\n"
            'while [ "$1" != /bin/sh ]; do shift; done\nexec env -i PATH=/usr/bin:/bin "$@"',
        )
        # Two tasks, as srun starts them.
        self.program("srun", 'shift\nfor SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@" || exit; done')

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    @property
    def key_dir(self) -> Path:
        return self.work / key_folder(KEY.digest)

    @property
    def run_dir(self) -> Path:
        return self.work / "runs" / KEY.run.folder

    def run(self, request: JobRequest, **environment: str) -> tuple[int, str]:
        key_dir = self.work / key_folder(request.key.digest)
        key_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (key_dir / "script").write_text(render_script(request))
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(key_dir)}
        done = subprocess.run(
            ["bash", "script"],
            cwd=key_dir,
            env=env | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_shell_gets_the_text_as_a_file(node: Node) -> None:
    request = JobRequest(
        KEY, text="import sys, os\nprint(sys.argv[1:], os.environ['PARAM_X'])", shell=("python3", "-u")
    )
    assert node.run(replace(request, variables=(("PARAM_X", HOSTILE),))) == (0, f"[] {HOSTILE}\n")
    assert node.run(JobRequest(replace(KEY, generation=1), text="exit 3", shell=("bash", "-e")))[0] == 3


def test_modules_are_loaded_in_order_and_before_unset_variables_are_errors(node: Node, tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = f"#%Module\nappend-path LOADED {name}\nsetenv LAST {name}\n"
        (tmp_path / name).write_text(text)
    request = JobRequest(KEY, text="echo $LOADED $LAST", modules=(str(tmp_path / "one"), str(tmp_path / "two")))
    assert node.run(request) == (0, "one:two two\n")
    status, log = node.run(replace(request, key=replace(KEY, generation=1), modules=("no-such/1.0",)))
    assert status == 1
    assert "hotswap: the module no-such/1.0 cannot be loaded on " in log


def test_a_container_gets_the_jobs_variables_and_nothing_else(node: Node) -> None:
    own = {"name": "foo", "quote": "q", "key_dir": "/x", "enter": "e", "PATH": "/usr/bin:/bin:/own"}
    request = JobRequest(
        KEY,
        text='[ "$name$quote$key_dir$enter${PATH##*:}" = fooq/xe/own ]; echo "$PARAM_X|$INPUT_A|$OUTPUT_O|$SLURM_JOB_ID|${OTHER-unset}|$HOTSWAP_ATTEMPT"; pwd; echo v=1 >> "$HOTSWAP_OUTPUT"; : > "$OUTPUT_O"',
        variables=(("PARAM_X", HOSTILE), *own.items()),
        inputs=(Input("a", "/etc/passwd"),),
        outputs=(Output("o", "file", "o.txt"), Output("v", "integer")),
        container=Container("docker://debian:12 slim", ("/data:/data:ro", "/a b")),
    )
    status, log = node.run(request, OTHER="secret")
    run_dir, key_dir = node.run_dir, node.key_dir
    assert (status, log) == (0, f"{HOSTILE}|/etc/passwd|{run_dir}/o.txt|7|unset|1\n{run_dir}\n")
    arguments = node.arguments.read_text().split("\n")
    assert arguments[:11] == [
        "exec", "--bind", str(run_dir), "--bind", str(key_dir), "--bind", "/data:/data:ro", "--bind", "/a b", "--pwd", str(run_dir),
    ]  # fmt: skip
    assert arguments[11] == "docker://debian:12 slim"
    assert "touch x" not in node.arguments.read_text()
    assert (key_dir / "output").read_text() == "v=1\n"


def test_every_element_of_a_sweep_gets_its_own_values_in_a_container(node: Node) -> None:
    array = Array(("x",), (("a'b",), ("c",)), chunk=2)
    request = JobRequest(
        KEY, text='echo "$SWEEP_X $SWEEP_INDEX/$SWEEP_COUNT $INPUT_Y"', array=array, container=Container("i.sif"),
        aliases=(("INPUT_Y", "SWEEP_X"),),
    )  # fmt: skip
    for name in ("logs", "out", "ends"):
        (node.key_dir / name).mkdir(parents=True)
    (node.key_dir / "table").write_text(render_table(array))
    status, log = node.run(request, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="0")
    assert (status, log) == (0, "a'b 0/2 a'b\nc 1/2 c\n")
    assert sorted(path.name for path in node.key_dir.glob("*.7")) == []


@pytest.mark.parametrize("container", [None, Container("i.sif")])
def test_each_task_of_srun_runs_the_script_and_only_the_first_gives_values(
    node: Node, container: Container | None
) -> None:
    text = 'echo "rank $SLURM_PROCID ${HOTSWAP_OUTPUT:+gives}"; [ -z "${HOTSWAP_OUTPUT-}" ] || echo v=1 >> "$HOTSWAP_OUTPUT"'
    request = JobRequest(KEY, text=text, launch="srun", container=container, outputs=(Output("v", "integer"),))
    assert node.run(request) == (0, "rank 0 gives\nrank 1 \n")
    assert (node.key_dir / "output").read_text() == "v=1\n"
    assert node.run(replace(request, key=replace(KEY, job="b"), text="exit $((SLURM_PROCID * 4))"))[0] == 4


def test_an_output_is_published_whole_and_never_over_anything(node: Node, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf of results"
    outputs = (Output("f", "file", "a/f.txt", str(shelf)), Output("d", "dir", "d", str(shelf)))
    request = JobRequest(KEY, text='echo 1 > "$OUTPUT_F"; echo 2 > "$OUTPUT_D/x"', outputs=outputs)
    assert node.run(request) == (0, "")
    assert {path.name for path in shelf.iterdir()} == {"f.txt", "d"}
    assert ((shelf / "f.txt").read_text(), (shelf / "d" / "x").read_text()) == ("1\n", "2\n")
    status, log = node.run(replace(request, key=replace(KEY, job="again"), text='echo 3 > "$OUTPUT_F"'))
    assert (status, log) == (1, f"hotswap: cannot publish: {shelf}/f.txt exists already, and nothing is overwritten\n")
    assert (shelf / "f.txt").read_text() == "1\n"


def test_outputs_of_one_name_are_published_each_in_its_own_folder(node: Node, tmp_path: Path) -> None:
    outputs = tuple(Output(name, "file", f"{name}/data.csv", str(tmp_path / name)) for name in "ab")
    assert node.run(JobRequest(KEY, text="echo 1 > a/data.csv; echo 2 > b/data.csv", outputs=outputs)) == (0, "")
    assert [(tmp_path / name / "data.csv").read_text() for name in "ab"] == ["1\n", "2\n"]


def test_a_start_after_a_requeue_does_not_publish_twice(node: Node, tmp_path: Path) -> None:
    request = JobRequest(KEY, text="exit 0", outputs=(Output("d", "dir", "d", str(tmp_path / "shelf")),))
    assert node.run(request)[0] == 0
    (node.key_dir / "exit").unlink()  # the node died before it noted the end
    assert node.run(request, SLURM_RESTART_COUNT="1") == (0, "")
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["d"]
