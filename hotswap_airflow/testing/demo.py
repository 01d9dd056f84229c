"""The demo: a real Airflow and a real Slurm cluster on this machine, and a workflow that runs on them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import HotswapError, SetupError
from hotswap_airflow.testing import processes, sandbox
from hotswap_airflow.testing.airflow_services import USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.slurm import ClusterOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotswap_airflow.testing.sandbox import Sandbox

WORKFLOW, PARAMETERS = "own-code", {"degree": 3}
SWEEP = "pi-fan-out"
BRANCHES, SKIPPED = "conditional", {"full-analysis", "repair", "explain"}
EXPECTED = {"rmse": (0.001, 0.02), "pi": (3.1, 3.2)}
_PROGRESS = " done · "
SANDBOX = "demo"
_LONGEST_SOCKET_FOLDER = 60


class Demo:
    """The demo in one folder. ``say`` gets each line about its progress."""

    def __init__(self, folder: Path, examples: Path, say: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self.examples = examples
        self.say = say

    def up(self) -> None:
        """Start the services that do not run, then run the examples. Raises ``SetupError`` if they do not end well."""
        began = time.monotonic()
        cluster = self._cluster()
        self.say(f"Slurm cluster up: {len(cluster.clusters[0].daemons)} daemons, reached over real ssh")
        if os.geteuid() == 0:
            self.say(f"PostgreSQL refuses root: user pgserver runs it, and may enter the folders above {self.folder}")
        services = self._services(cluster)
        services.start()
        self._write_access(services)
        self.say(f"Airflow up at {services.url} after {time.monotonic() - began:.0f} s")
        api = AirflowApi(services.url, USER, services.password)
        result = self.run_examples(api)
        self.say(f"result: {json.dumps(result)}")
        self.say(f"\nweb address  {services.url}\nlogin        {USER} / {services.password}")
        self.say(f"workflows    {services.dags_folder}  (drop your own *.hotswap.yaml there)")
        self.say(f"commands     . {self.settings}  (then `hotswap doctor`, `hotswap jobs elements …` speak of it)")
        self.say("stop it      make down")

    def _cluster(self) -> Sandbox:
        found = sandbox.find(SANDBOX)
        if found is not None and sandbox.is_up(found):
            return found
        if found is not None:
            try:
                found.revive()
            except SetupError as error:
                self.say(f"the cluster is made anew: {error}")
                found.down()
            else:
                sandbox.save(found)
                return found
        folder = self.folder / "slurm"
        if len(str(folder)) > _LONGEST_SOCKET_FOLDER:  # paths of sockets must be short
            made = sandbox.create(SANDBOX)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            made = sandbox.create(SANDBOX, folder)
        made.up(ClusterOptions(), sshd=True)
        sandbox.save(made)
        return made

    def _services(self, cluster: Sandbox) -> AirflowServices:
        settings = {
            "AIRFLOW_CONN_SLURM_MAIN": cluster.connection_uri("main"),
            "AIRFLOW__HOTSWAP__SITE": str(cluster.site_file),
        }
        services = self._started()
        if services is None or services.settings != settings:
            if services is not None:
                processes.stop(list(services.daemons.values()))
            services = AirflowServices(self.folder, settings)
        shutil.copytree(
            self.examples, services.dags_folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        return services

    def _started(self) -> AirflowServices | None:
        path = self.folder / "services.json"
        if not path.exists():
            return None
        return AirflowServices.from_state(self.folder, json.loads(path.read_text(encoding="utf-8")))

    def _write_access(self, services: AirflowServices) -> None:
        access = {
            "url": services.url,
            "username": USER,
            "password": services.password,
            "dags_folder": str(services.dags_folder),
        }
        path = self.folder / "access.json"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(access, indent=2), encoding="utf-8")
        login = {"URL": services.url, "USER": USER, "PASSWORD": services.password}
        settings = {name: value for name, value in services.environment().items() if name.startswith("AIRFLOW")}
        settings |= {f"HOTSWAP_AIRFLOW_{name}": value for name, value in login.items()}
        self.settings.unlink(missing_ok=True)
        self.settings.touch(mode=0o600)
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))
        self.settings.write_text(lines, encoding="utf-8")

    @property
    def settings(self) -> Path:
        """A file that a shell can source, so that commands in that shell use the demo."""
        return self.folder / "env"

    def run_examples(self, api: AirflowApi) -> dict[str, Any]:
        """Run the examples, show their progress and return their results. Raises ``SetupError``."""
        run, state = self._run(api, WORKFLOW, PARAMETERS)
        for line in api.log(WORKFLOW, run, "fit").splitlines():
            self.say(f"  | {line}")
        found = {"rmse": (api.value(WORKFLOW, run, "fit") or {}).get("rmse")}
        run, sweep = self._run(api, SWEEP, {}, progress_of="throw")
        found |= {"pi": (api.value(SWEEP, run, "combine") or {}).get("pi")}
        run, branches = self._run(api, BRANCHES, {})
        skipped = {task for task, ended in api.tasks(BRANCHES, run).items() if ended == "skipped"}
        fits = skipped == SKIPPED and all(
            value is not None and EXPECTED[name][0] < value < EXPECTED[name][1] for name, value in found.items()
        )
        if {state, sweep, branches} != {"success"} or not fits:
            ends = f"{state}, {sweep} and {branches}"
            raise SetupError(f"the examples ended as {ends} with {found}, skipped {skipped}, not as expected")
        return found

    def _run(
        self, api: AirflowApi, workflow: str, parameters: dict[str, Any], progress_of: str | None = None
    ) -> tuple[str, str]:
        """Run a workflow to its end. Show the states of its tasks, and the progress of the sweep ``progress_of``."""
        run = api.trigger(workflow, parameters)
        self.say(f"started {workflow} with {json.dumps(parameters)}: run {run}")
        shown: dict[str, str | None] = {}

        def ended() -> str | None:
            for task, state in api.tasks(workflow, run).items():
                if state != shown.get(task):
                    shown[task] = state
                    self.say(f"  {task}: {state}")
            if progress_of is not None:
                lines = [line for line in api.log(workflow, run, progress_of).splitlines() if _PROGRESS in line]
                for line in dict.fromkeys(lines):
                    if line not in shown:
                        shown[line] = None
                        self.say(f"  {progress_of}: {line}")
            state = str(api.get(f"/dags/{workflow}/dagRuns/{run}")["state"])
            return state if state in {"success", "failed"} else None

        return run, api.wait(f"the end of {workflow}", ended, 300)

    def down(self) -> None:
        """Stop everything that the demo started."""
        try:
            (self._started() or AirflowServices(self.folder, {})).stop()
            for name in ("services.json", "access.json", self.settings.name):
                (self.folder / name).unlink(missing_ok=True)
        finally:
            found = sandbox.find(SANDBOX)
            if found is not None:
                found.down()
                sandbox.forget(SANDBOX)
        self.say("the demo is down")


def main() -> int:
    """``python -m hotswap_airflow.testing.demo up|check|down``."""
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("verb", choices=("up", "check", "down"))
    parser.add_argument("--folder", type=Path, default=Path(".demo"))
    parser.add_argument("--examples", type=Path, default=Path("dags"))
    arguments = parser.parse_args()
    demo = Demo(arguments.folder, arguments.examples, lambda line: print(line, flush=True))
    try:
        if arguments.verb in {"up", "check"}:
            demo.up()
    except HotswapError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; `make down` ends what was started", file=sys.stderr)
        return 130
    finally:
        if arguments.verb in {"check", "down"}:
            demo.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
