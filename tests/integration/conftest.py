"""Two real Airflows, each on a real cluster of its own, for all tests of a run.

A calm one with four worker slots, and a strict one with a single slot, whose daemons are killed. Each belongs to one
worker of pytest-xdist (``tests/conftest.py``).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg2
import pytest
import yaml

from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.settings import BUNDLE
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.airflow_services import USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.processes import PATH
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.testing.slurm import SELDOM_SAMPLED, ClusterOptions

PASSWORD = "hunter2-must-never-show"
GATES = Path(__file__).parent / "gates"
EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"
# Coverage makes Airflow's own processes up to 2.6 times as slow: only what a test starts itself is measured.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}


@dataclass
class Lab:
    """Airflow, its API and the cluster its jobs run on."""

    services: AirflowServices
    api: AirflowApi
    sandbox: Sandbox

    @property
    def dags(self) -> Path:
        return self.services.dags_folder

    @property
    def gates(self) -> Path:
        return Path(self.services.settings["HOTSWAP_GATES"])

    @property
    def store(self) -> Path:
        return self.services.folder / "store"

    def hotswap(self, *words: str) -> str:
        """What the command line says to a person with a login, on Airflow's own machine."""
        login = {"URL": self.services.url, "USER": USER, "PASSWORD": self.services.password}
        environment = {f"HOTSWAP_AIRFLOW_{name}": text for name, text in login.items()}
        done = self.run("hotswap_airflow.cli", *words, environment=environment)
        return done.stdout + done.stderr

    def run(
        self, module: str, *words: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """A program of Airflow's machine, measured as the tests are."""
        measured = {name: text for name, text in os.environ.items() if name in UNMEASURED}
        whole = self.services.environment() | measured | environment
        argv = [sys.executable, "-m", module, *words]
        return subprocess.run(argv, env=whole, capture_output=True, text=True, check=False, timeout=240)

    def write_python(self, name: str, text: str) -> None:
        (self.services.folder / "python" / f"{name}.py").write_text(text)

    def write(self, name: str, text: str) -> Path:
        path = self.dags / f"{name}.hotswap.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"hotswap: workflow/v1\ndefaults: {{slurm: {{partition: debug, mem: 50M, time: 5m}}}}\n{text}")
        return path

    def work(self) -> Path:
        return self.sandbox.folder / "main" / "work"

    def run_dir(self, dag_id: str, run_id: str) -> Path:
        safe = run_id.replace(":", "-").replace(".", "-").replace("+", "-")
        found = list((self.work() / "runs" / dag_id).glob(f"{safe[:40]}*"))
        assert len(found) == 1, found
        return found[0]

    def add_connection(self, name: str, **fields: Any) -> None:
        """A connection in Airflow's database."""
        self.api.send("POST", "/connections", {"connection_id": name, **fields})

    def make_database(self, name: str) -> dict[str, Any]:
        """A database beside Airflow's own; the fields of a connection to it."""
        parts = urlsplit(self.services.database)
        query = dict(parse_qsl(parts.query))
        own = psycopg2.connect(host=query["host"], user=parts.username, dbname="postgres")
        own.autocommit = True
        own.cursor().execute(f"create database {name}")
        own.close()
        return {"conn_type": "postgres", "host": query["host"], "login": parts.username, "schema": name}

    @property
    def password(self) -> str:
        return PASSWORD

    def queue(self, dag_id: str) -> list[str]:
        """Names of a Dag's jobs that wait or run."""
        names = self.sandbox.clusters[0].run("squeue", "-h", "-t", "PENDING,RUNNING", "-o", "%j").split()
        return [name for name in names if name.startswith(f"{dag_id}.")]

    def submit_orphan(self, owner: str) -> str:
        """A job of a run that no Airflow knows; its name."""
        key = JobKey(RunKey(owner, "orphaned", "dev", "gone", uuid.uuid4().hex), "a")
        options = (("partition", "debug"), ("time", "00:05:00"), ("mem", "50M"))
        request = JobRequest(key, text="while [ ! -e go ]; do sleep 0.1; done", options=options)
        client = ClusterClient(LocalTransport(self.sandbox.clusters[0].environment), str(self.work()))
        session = JobConductor(client, JobWatcher(client))

        async def submit() -> None:
            await client.lay_out(key.run.folder, "")
            await session.submitter("1 0", print).submit_once(request)

        asyncio.run(submit())
        return key.job_name

    def wait_for_task(self, dag_id: str, run_id: str, task: str, state: str) -> None:
        self.api.wait(f"{task} {state}", lambda: self.api.tasks(dag_id, run_id).get(task) == state)

    def wait_for_job(self, dag_id: str, task: str) -> None:
        self.api.wait(f"the job of {task}", lambda: any(f".{task}." in name for name in self.queue(dag_id)))


@contextmanager
def _gated_sandbox(name: str, gates: Path) -> Iterator[Sandbox]:
    """A cluster whose login node can be held at named points; ``HOTSWAP_GATES`` says in which folder."""
    made = sandbox.create(name)
    # The tests count jobs; on a slow machine the usual five minutes are over before the last one is counted.
    made.up(ClusterOptions(extra=("MinJobAge=3600", SELDOM_SAMPLED)), sshd=True)
    try:
        node = made.login_nodes["main"]
        node.stop()
        node.environment |= {"HOTSWAP_GATES": str(gates), "PATH": f"{GATES / 'bin'}:{PATH}"}
        node.start()
        yield made
    finally:
        made.down()


@contextmanager
def _lab(name: str, gates: Path, changes: Mapping[str, str]) -> Iterator[Lab]:
    with _gated_sandbox(name, gates) as made:
        folder = Path(tempfile.mkdtemp(prefix="hotswap-airflow-"))
        (folder / "python").mkdir()
        (folder / "airflow" / "config").mkdir(parents=True)
        shutil.copy(GATES / "airflow_local_settings.py", folder / "airflow" / "config")
        services = AirflowServices(folder, {**_settings(made, folder), **changes})
        try:
            services.start()
            yield Lab(services, AirflowApi(services.url, USER, services.password), made)
        finally:
            services.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The calm one."""
    changes = {"AIRFLOW__CORE__PARALLELISM": "4", "HOTSWAP_RESUME_DELAY": "8"}
    with _lab("lab", tmp_path_factory.mktemp("gates"), changes) as made:
        yield made


@pytest.fixture(scope="session")
def strict_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One worker slot for everything: whatever holds it while a job waits or runs stops all tests."""
    with _lab("strict", tmp_path_factory.mktemp("gates"), {"AIRFLOW__CORE__PARALLELISM": "1"}) as made:
        yield made


def _settings(made: Sandbox, folder: Path) -> dict[str, str]:
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "workflows", "classpath": BUNDLE, "kwargs": {"refresh_interval": 2}},
        {"name": "python", "classpath": local, "kwargs": {"path": str(folder / "python"), "refresh_interval": 2}},
    ]
    site = json.loads(made.site_file.read_text())
    site["clusters"]["main"]["retention"] = "30d"
    # The clusters are the lab's own, all else is that of the examples.
    example = yaml.safe_load((EXAMPLES / "site.yaml").read_text())
    site |= {key: example[key] for key in ("environments", "projects", "policy")}
    site["policy"]["secrets"].append("lab_token")
    (folder / "site.yaml").write_text(json.dumps(site))
    return UNMEASURED | {
        # The key opens the door; the password is there to be found where it must not be.
        "AIRFLOW_CONN_SLURM_MAIN": made.connection_uri("main").replace("@", f":{PASSWORD}@", 1),
        "AIRFLOW__HOTSWAP__SITE": str(folder / "site.yaml"),
        "AIRFLOW__HOTSWAP__RECONCILE": "0 0 1 1 *",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "HOTSWAP_GATES": made.login_nodes["main"].environment["HOTSWAP_GATES"],
    }
