"""A real Airflow on a real cluster, for the benchmarks: with the programs of Slurm counted, and processes weighed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.ssh import SshTransport
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.file_store.contents import kept_archive
from hotswap_airflow.settings import BUNDLE
from hotswap_airflow.testing import processes, sandbox
from hotswap_airflow.testing.airflow_services import USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.login_node import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from hotswap_airflow.testing.login_node import LoginNode
    from hotswap_airflow.testing.sandbox import Sandbox
    from hotswap_airflow.testing.slurm import ClusterOptions

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Lab:
    """Airflow, its API and the cluster; ``calls`` is where each call of a Slurm program leaves a line."""

    services: AirflowServices
    api: AirflowApi
    sandbox: Sandbox
    calls: Path

    @property
    def work(self) -> Path:
        """Where runs live on the cluster."""
        return self.sandbox.folder / "main" / "work"

    def called(self) -> list[str]:
        """The programs of Slurm that were called so far, in order."""
        return self.calls.read_text(encoding="utf-8").split()

    def write_python(self, name: str, text: str) -> None:
        """Put a Python Dag into its folder."""
        (self.services.folder / "python" / f"{name}.py").write_text(text, encoding="utf-8")

    @contextmanager
    def planting(self, *words: str) -> Iterator[Callable[[int, int], None]]:
        """Run ``benchmarks.plant`` in this Airflow; what is given defers the tasks from one map index to another."""
        argv = [sys.executable, "-m", "benchmarks.plant", *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, env=self.services.environment(), stdin=pipe, stdout=pipe, text=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            said, heard = program.stdin, program.stdout

            def plant(first: int, last: int) -> None:
                said.write(f"{first} {last}\n")
                said.flush()
                while (answer := heard.readline()) != "planted\n":  # Airflow may say something, too
                    if not answer:
                        raise SystemExit(f"benchmarks.plant {' '.join(words)} failed")

            yield plant

    def seconds(self, dag_id: str, run_id: str) -> float:
        """How long a run took by Airflow's own clock."""
        facts = self.api.get(f"/dags/{dag_id}/dagRuns/{run_id}")
        begin, end = (datetime.fromisoformat(facts[key]) for key in ("start_date", "end_date"))
        return (end - begin).total_seconds()


@contextmanager
def lab(options: ClusterOptions, settings: Mapping[str, str]) -> Iterator[Lab]:
    """Start everything, with a counting login node; stop and remove it at the end."""
    made = sandbox.create("benchmark")
    folder = Path(tempfile.mkdtemp(prefix="hotswap-benchmark-"))
    services = AirflowServices(folder, {})
    try:
        made.up(options, sshd=True)
        calls = count_calls(made, folder)
        services.settings = {**_settings(made, folder), **settings}
        services.dags_folder.mkdir()
        (folder / "python").mkdir()
        services.start()
        yield Lab(services, AirflowApi(services.url, USER, services.password), made, calls)
    finally:
        services.stop()
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def _settings(made: Sandbox, folder: Path) -> dict[str, str]:
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "workflows", "classpath": BUNDLE, "kwargs": {"refresh_interval": 5}},
        {"name": "python", "classpath": local, "kwargs": {"path": str(folder / "python"), "refresh_interval": 5}},
    ]
    return {
        "AIRFLOW_CONN_SLURM_MAIN": made.connection_uri("main"),
        "AIRFLOW__HOTSWAP__SITE": str(made.site_file),
        "AIRFLOW__HOTSWAP__RECONCILE": "off",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"),
    }


def count_calls(made: Sandbox, folder: Path) -> Path:
    """Let each call of a Slurm program on the login node leave a line; give the file of lines."""
    shims, calls = counting_programs(folder)
    node = made.login_nodes["main"]
    node.stop()
    node.environment["PATH"] = f"{shims}:{processes.PATH}"
    node.start()
    return calls


def counting_programs(folder: Path) -> tuple[Path, Path]:
    """Programs of Slurm's names that leave a line for each call; the folder of them, and the file of lines."""
    calls, shims = folder / "calls", folder / "shims"
    shims.mkdir(parents=True)
    calls.touch()
    for name in PROGRAMS:
        shim = shims / name
        shim.write_text(f'#!/bin/sh\necho {name} >> {calls}\nexec {shutil.which(name, path=processes.PATH)} "$@"\n')
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    return shims, calls


def ssh_session(node: LoginNode, workdir: str) -> JobConductor:
    """A session over one ssh connection, as triggers have it."""
    known = {"client_keys": [str(node.key)], "known_hosts": str(node.known_hosts), "config": []}

    def connect() -> object:
        return asyncssh.connect(HOST, node.port, username=node.user, **known)

    client = ClusterClient(SshTransport(connect, "benchmark"), workdir)  # type: ignore[arg-type]
    return JobConductor(client, JobWatcher(client))


def no_files() -> AsyncIterator[bytes]:
    """The archive of a workflow without files."""
    return kept_archive("", None)  # type: ignore[arg-type]


def tell(figures: dict[str, Any], *, as_json: bool) -> None:
    """Print what was measured: as one object, or a line each."""
    shown = rounded(figures)
    if as_json:
        print(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        print(f"{name}: {value}")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *processes.descendants(pid)]


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that processes have used, with that of their ended children."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def rss_mb(pids: list[int]) -> float:
    """Resident memory of the greatest of some processes, in MB."""
    return max((_memory(pid, "Rss") for pid in pids), default=0.0)


def pss_mb(pids: list[int]) -> float:
    """Memory of processes together, in MB; what some share is divided among them."""
    return sum(_memory(pid, "Pss") for pid in pids)


def _memory(pid: int, kind: str) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines() if line.startswith(f"{kind}:")), 0.0)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def machine() -> str:
    """What is measured on."""
    cpus = os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{cpus} CPUs, {memory:.0f} GB, Linux {platform.release()}, Python {platform.python_version()}"


def rounded(figures: Any) -> Any:
    """Figures with as many digits as were measured."""
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    return round(figures, 3) if isinstance(figures, float) else figures
