"""The sandbox itself: its devices, and what is left of it after an accident."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap_airflow.cli import main
from hotswap_airflow.errors import SetupError
from hotswap_airflow.testing import processes, sandbox
from hotswap_airflow.testing.accounting import start_accounting
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.testing.slurm import ClusterOptions, SlurmCluster
from hotswap_airflow.workflow.site_file import read_site


@pytest.fixture
def small() -> Iterator[Sandbox]:
    made = sandbox.create("small")
    made.up(ClusterOptions(nodes=1), sshd=True)
    yield made
    made.down()


@pytest.mark.daemons
def test_what_has_died_starts_again_in_its_old_place(small: Sandbox) -> None:
    cluster, node = small.clusters[0], small.login_nodes["main"]
    before = small.describe()
    job = cluster.run("sbatch", "--parsable", "--hold", "--mem=50M", "--wrap=true").strip()
    state = cluster.folder / "state" / "job_state"
    processes.wait_until("the saving of the job", lambda: state.exists() and b"wrap" in state.read_bytes())
    for name in ("slurmctld", "slurmd-1"):
        next(daemon for daemon in cluster.daemons if daemon.name == name).kill()
    assert node.daemon is not None
    node.daemon.kill()
    processes.wait_until("their ends", lambda: not any(processes.reap(d) for d in cluster.daemons[1:]))
    small.revive()
    assert small.describe() == before
    assert processes.listens(node.port)
    assert job in cluster.run("squeue", "-h", "-o", "%i").split()


@pytest.mark.daemons
def test_a_job_gets_the_devices_it_asks_for(small: Sandbox) -> None:
    out = small.folder / "devices"
    cluster = small.clusters[0]
    asked = ("--partition=gpu", "--gpus=2", "--mem=50M", f"--output={out}", "--wrap=echo $CUDA_VISIBLE_DEVICES")
    cluster.run("sbatch", "--wait", *asked)
    assert out.read_text() == "0,1\n"


@pytest.mark.daemons
def test_a_cluster_says_what_a_first_site_file_needs(small: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clusters", "probe", small.connection_uri("main"), "--name", "mine"]) == 0
    site = read_site(capsys.readouterr().out.encode(), "site.yaml")
    cluster = site.clusters["mine"]
    assert {"debug", "batch", "gpu"} <= set(cluster.limits.partitions)
    assert cluster.limits.partitions["debug"].max_time == 1800
    assert cluster.target.connection == "slurm_mine"


@pytest.mark.daemons
def test_a_job_begins_with_the_sandboxs_own_environment(small: Sandbox) -> None:
    out = small.folder / "environment"
    asked = ("--export=NONE", "--mem=50M", f"--output={out}", "--wrap=env")
    small.clusters[0].run("sbatch", "--wait", *asked)
    found = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    assert (found["PATH"], found["LANG"], found["HOME"]) == (processes.PATH, "C.UTF-8", str(Path.home()))


@pytest.mark.daemons
def test_a_cluster_that_cannot_start_says_why() -> None:
    made = sandbox.create("broken")
    with pytest.raises(SetupError, match=r"(?s)^slurm(ctld|d-1) .*ended.*NoSuchKey"):
        made.up(ClusterOptions(nodes=1, extra=("NoSuchKey=1",)))
    assert not made.folder.exists()


@pytest.mark.daemons
def test_stopping_a_daemon_ends_what_it_left_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "child"
    code = f"import subprocess, time; p = subprocess.Popen(['sleep', '600']); open({str(pid_file)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    daemon = processes.start("parent", [sys.executable, "-c", code], tmp_path / "log", dict(os.environ))
    processes.wait_until("the child", lambda: pid_file.exists() and pid_file.read_text() != "")
    child = int(pid_file.read_text())
    daemon.kill(signal.SIGKILL)
    processes.wait_until("the parent's end", lambda: not processes.reap(daemon))
    processes.stop([daemon])
    processes.wait_until("the child's end", lambda: processes.start_time(child) is None)


def test_the_demo_says_what_is_missing_and_changes_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    nobody = "nobody" if os.geteuid() == 0 else None
    argv = ["sh", str(root / ".ci" / "install-system"), "no-such-program=no-such-package", "sh=dash"]
    path = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=tmp_path, env=path, capture_output=True, text=True, user=nobody, check=False)
    assert done.returncode == 1
    assert "These Debian packages are missing: no-such-package" in done.stderr
    assert "sudo apt-get install no-such-package" in done.stderr


@pytest.mark.daemons
def test_a_daemon_that_ends_as_it_starts_is_told_at_once_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "slurmdbd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nsleep 0.5\necho 'fatal: the database answers null' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(processes, "PATH", f"{program.parent}:{processes.PATH}")
    cluster = SlurmCluster("short", sandbox.create("short").folder / "main", ClusterOptions(nodes=1, accounting=True))
    try:
        with pytest.raises(SetupError, match="slurmdbd ended as it started: fatal: the database answers null"):
            cluster.start(start_accounting)
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder.parent, ignore_errors=True)
