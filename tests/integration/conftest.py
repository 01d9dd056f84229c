"""One real Airflow on one real cluster for the whole tier."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hotswap_airflow.testing.airflow_services import BUNDLE, USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.sandbox import Sandbox

PASSWORD = "hunter2-must-never-show"
EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"


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
    def store(self) -> Path:
        return self.services.folder / "store"

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

    def queue(self) -> list[str]:
        return self.sandbox.clusters[0].run("squeue", "-h", "-t", "PENDING,RUNNING", "-o", "%j").split()

    def wait_for_task(self, dag_id: str, run_id: str, task: str, state: str) -> None:
        self.api.wait(f"{task} {state}", lambda: self.api.tasks(dag_id, run_id).get(task) == state)

    def wait_for_job(self, dag_id: str, task: str) -> None:
        self.api.wait(f"the job of {task}", lambda: any(f".{dag_id}.{task}." in name for name in self.queue()))


@pytest.fixture(scope="session")
def lab(slurm_sandbox: Sandbox) -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="hotswap-airflow-"))
    (folder / "python").mkdir()
    bundles = [
        {"name": "workflows", "classpath": BUNDLE, "kwargs": {"refresh_interval": 2}},
        {
            "name": "python",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder / "python"), "refresh_interval": 2},
        },
    ]
    settings = {
        # The key opens the door; the password is there to be found where it must not be.
        "AIRFLOW_CONN_SLURM_MAIN": slurm_sandbox.connection_uri("main").replace("@", f":{PASSWORD}@", 1),
        "AIRFLOW__HOTSWAP__SITE": str(slurm_sandbox.site_file),
        "AIRFLOW__HOTSWAP__RECONCILE": "0 0 1 1 *",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        # One worker slot for everything: whoever holds it while a job waits or runs stops all tests.
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    }
    services = AirflowServices(folder, settings)
    try:
        services.start()
        yield Lab(services, AirflowApi(services.url, USER, services.password), slurm_sandbox)
    finally:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)
