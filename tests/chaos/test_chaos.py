"""Everything is killed, again and again, while a workflow runs: nothing lost, nothing twice, no wrong end.

In `make test` a short form; `make chaos` sets HOTSWAP_CHAOS_ROUNDS and HOTSWAP_CHAOS_JOBS for the long one. The order of
the kills follows HOTSWAP_CHAOS_SEED, which is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.errors import SetupError
from hotswap_airflow.testing import processes, sandbox
from hotswap_airflow.testing.airflow_services import COMPONENTS, USER, AirflowApi, AirflowServices
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.testing.slurm import SELDOM_SAMPLED, ClusterOptions

ROUNDS = int(os.environ.get("HOTSWAP_CHAOS_ROUNDS", "4"))
JOBS = int(os.environ.get("HOTSWAP_CHAOS_JOBS", "60"))
SEED = int(os.environ.get("HOTSWAP_CHAOS_SEED", str(time.time_ns() % 10_000)))
SINGLE = 10
SLOTS = 16
KINDS = ("triggerer", "scheduler", "worker", "api-server", "sshd", "slurmctld", "slurmdbd", "postgres")
pytestmark = [pytest.mark.timeout(900 + ROUNDS * 120), pytest.mark.daemons]


def _workflow(elements: int, seconds: int) -> str:
    work = (
        f"echo begin >> ran/$NAME; sleep $((RANDOM % {seconds})); echo end >> ran/$NAME; echo v=$V >> $HOTSWAP_OUTPUT"
    )
    jobs = [
        f"  j{number}:\n    outputs: {{v: {{type: integer}}}}\n"
        f"    run: 'mkdir -p ran; NAME=j{number}; V={number}; {work}'\n"
        for number in range(SINGLE)
    ]
    inputs = ", ".join(f"i{number}: {{from: jobs.j{number}.v}}" for number in range(SINGLE))
    return (
        "hotswap: workflow/v1\ndefaults: {slurm: {partition: batch, mem: 10M, time: 3m}}\njobs:\n"
        f"  many:\n    outputs: {{v: {{type: integer}}}}\n    sweep: {{over: {{i: {{range: [0, {elements}]}}}}, "
        f"tolerate: {elements // 10 + 1}}}\n"
        f"    run: 'mkdir -p ran; NAME=s$SWEEP_I; V=$SWEEP_I; {work}; [ $((SWEEP_I % 10)) -ne 3 ]'\n"
        f"{''.join(jobs)}"
        "  bad:\n    run: 'mkdir -p ran; echo begin >> ran/bad; echo end >> ran/bad; exit 3'\n"
        "  handler:\n    needs: {bad: failed}\n    run: 'echo handled >> ran/handler'\n"
        f"  last:\n    inputs: {{m: {{from: jobs.many.v}}, {inputs}}}\n    outputs: {{n: {{type: integer}}}}\n"
        '    run: \'echo begin >> ran/last; echo "n=$(echo $INPUT_M | tr , "\\n" | grep -vc null)" >> $HOTSWAP_OUTPUT; '
        "echo end >> ran/last'\n"
    )


class Chaos:
    """An Airflow and a cluster, every part of which may be killed and comes back."""

    def __init__(self, services: AirflowServices, made: Sandbox, seed: int) -> None:
        self.services = services
        self.made = made
        self.cluster = made.clusters[0]
        self.random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.unwell: dict[str, float] = {}

    def kill(self, kind: str) -> None:
        """Kill a part with SIGKILL; who does not come back by itself is started again after a moment."""
        doing: dict[str, Callable[[], None]] = {
            "worker": self._kill_worker,
            "sshd": self._kill_sshd,
            "postgres": self._kill_postgres,
            "slurmctld": self._kill_controller,
            "slurmdbd": lambda: self.cluster.stop_daemon("slurmdbd"),
        }
        doing.get(kind, lambda: self._kill_tree(kind))()
        self.killed[kind] += 1
        time.sleep(self.random.uniform(0.5, 3.0))
        self.revive()

    def revive(self) -> None:
        """Start whatever is dead."""
        self.services.start_database()
        names = {daemon.name for daemon in self.cluster.daemons}
        if "slurmdbd" not in names:
            self.cluster.start_daemon("slurmdbd", "slurmdbd", "-D")
        if "slurmctld" not in names:
            self.cluster.start_controller()
        if self.made.login_nodes["main"].daemon is None:
            self.made.login_nodes["main"].start()
        for component in COMPONENTS:
            self.services.start_component(component)

    def attend(self, run: str) -> None:
        """End what Airflow's own health check has called unhealthy for half a minute, as a service manager does.

        A scheduler that lost its database may wait for its workers for ever. And one whose LocalExecutor lost a worker
        that had taken a task and not begun it leaves that task queued, until another scheduler comes.
        """
        health = self.ask(lambda api: api.get("/monitor/health"))
        for component in ("scheduler", "triggerer", "dag-processor"):
            if self._is_ill(component, health[component.replace("-", "_")]["status"] != "healthy", 30):
                self._kill_tree(component)
                self.killed[f"{component} that hung"] += 1
        states = self.ask(lambda api: api.tasks("chaos", run))
        lost = [task for task, state in states.items() if self._is_ill(task, state == "queued", 45)]
        if lost:
            self._kill_tree("scheduler")
            self.killed["scheduler that lost a task"] += 1

    def _is_ill(self, what: str, seems: bool, seconds: float) -> bool:
        """Whether something has seemed unwell for so long; it is given as much time again then."""
        if not seems:
            self.unwell.pop(what, None)
            return False
        if time.monotonic() <= self.unwell.setdefault(what, time.monotonic()) + seconds:
            return False
        del self.unwell[what]
        return True

    def release(self) -> None:
        """Let go on what Slurm holds since it could not start it, and use the nodes it gave up: an administrator's work."""
        with contextlib.suppress(SetupError):  # the controller may be away
            rows = self.cluster.run("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i %r").splitlines()
            held = [row.split()[0] for row in rows if row.endswith("held")]
            if held:
                self.cluster.run("scontrol", "release", ",".join(held))
            for node in self.cluster.run("sinfo", "-h", "-N", "-t", "drain", "-o", "%N").split():
                self.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")

    def _kill_tree(self, component: str) -> None:
        daemon = self.services.daemons[component]
        processes.kill_all([daemon.pid, *processes.descendants(daemon.pid)])

    def _kill_worker(self) -> None:
        workers = processes.descendants(self.services.daemons["scheduler"].pid)
        processes.kill_all(self.random.sample(workers, min(2, len(workers))))

    def _kill_controller(self) -> None:
        # What it has not written down when it dies is lost, counts as gone after a minute and is done again: the long
        # form has that, the short one would take too long.
        if len(KINDS) > ROUNDS:
            processes.wait_until("the controller's notes", self._has_noted_all, 60)
        self.cluster.stop_daemon("slurmctld")

    def _has_noted_all(self) -> bool:
        state = self.cluster.folder / "state" / "job_state"
        written = state.stat().st_mtime if state.exists() else 0.0
        return all(path.stat().st_mtime < written for path in (self.work / ".hotswap" / "jobs").glob("*/*/id"))

    @property
    def work(self) -> Path:
        """Where runs live on the cluster."""
        return self.made.folder / "main" / "work"

    def _kill_sshd(self) -> None:
        node = self.made.login_nodes["main"]
        if node.daemon is not None:
            processes.kill_all([*processes.descendants(node.daemon.pid), node.daemon.pid])
            processes.reap(node.daemon)
        node.daemon = None

    def _kill_postgres(self) -> None:
        pid = int((self.services.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        processes.kill_all([*processes.descendants(pid), pid])

    def ask(self, question: Callable[[AirflowApi], Any]) -> Any:
        """Ask Airflow, as often as it takes."""
        deadline = time.monotonic() + 300
        while True:
            try:
                return question(AirflowApi(self.services.url, USER, self.services.password))
            except SetupError:
                assert time.monotonic() < deadline, "Airflow does not come back"
                self.revive()
                time.sleep(0.5)


@pytest.fixture
def chaos() -> Iterator[Chaos]:
    made = sandbox.create("chaos")
    folder = Path(tempfile.mkdtemp(prefix="hotswap-chaos-"))
    services = AirflowServices(folder, {})
    try:
        made.up(ClusterOptions(nodes=SLOTS // 4, accounting=True, extra=(SELDOM_SAMPLED,)), sshd=True)
        services.settings = {
            "AIRFLOW_CONN_SLURM_MAIN": made.connection_uri("main"),
            "AIRFLOW__HOTSWAP__SITE": str(made.site_file),
            "AIRFLOW__HOTSWAP__RECONCILE": "off",
            "COVERAGE_PROCESS_CONFIG": "",  # which would make Airflow up to 2.6 times as slow
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        }
        services.start()
        yield Chaos(services, made, SEED)
    finally:
        services.stop()
        made.down()
        if not os.environ.get("HOTSWAP_CHAOS_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def test_nothing_is_lost_and_nothing_is_done_twice(chaos: Chaos) -> None:
    print(f"seed {SEED}, {ROUNDS} rounds, {JOBS} jobs")
    elements = JOBS - SINGLE - 3
    seconds = max(4, ROUNDS * 12 * SLOTS // JOBS)  # so that the work lasts as long as the killing
    (chaos.services.dags_folder / "chaos.hotswap.yaml").write_text(_workflow(elements, seconds))
    run = chaos.ask(lambda api: api.trigger("chaos"))
    kinds = [kind for _ in range(ROUNDS // len(KINDS) + 1) for kind in chaos.random.sample(KINDS, len(KINDS))]
    for kind in kinds[:ROUNDS]:
        time.sleep(chaos.random.uniform(2.0, 8.0))
        chaos.kill(kind)
    state = _end(chaos, run)
    print(f"killed: {dict(chaos.killed)}")
    states = chaos.ask(lambda api: api.tasks("chaos", run))
    wrong = {name: state for name, state in states.items() if state != ("failed" if name == "bad" else "success")}
    assert wrong == {}, "\n".join(_told(chaos, run, name) for name in wrong)
    assert state == "success"
    good = [number for number in range(elements) if number % 10 != 3]
    values = [number if number % 10 != 3 else None for number in range(elements)]
    assert chaos.ask(lambda api: api.value("chaos", run, "many")) == {"v": values}
    assert chaos.ask(lambda api: api.value("chaos", run, "last")) == {"n": len(good)}
    (folder,) = (chaos.work / "runs" / "chaos").iterdir()
    ends = {path.name: path.read_text().split().count("end") for path in (folder / "ran").iterdir()}
    expected = [f"s{number}" for number in range(elements)] + [f"j{number}" for number in range(SINGLE)]
    odd = {name: count for name, count in ends.items() if count != 1 and name != "handler"}
    tasks = {"many" if name.startswith("s") else name for name in odd}
    assert odd == {}, "\n".join([*(_told(chaos, run, name) for name in tasks), _slurm_of(chaos)])
    assert set(expected) <= ends.keys()
    assert (folder / "ran" / "handler").read_text() == "handled\n"
    print(json.dumps({"lost": 0, "twice": 0, "wrong": 0, "jobs": len(ends), "killed": dict(chaos.killed)}))


def _told(chaos: Chaos, run: str, task: str) -> str:
    """What a task's log says, of every try."""
    tries = chaos.ask(lambda api: api.get(f"/dags/chaos/dagRuns/{run}/taskInstances/{task}"))["try_number"]
    logs = chaos.ask(lambda api: [api.log("chaos", run, task, number) for number in range(1, tries + 1)])
    return "\n".join(f"--- {task}, try {number}\n{log}" for number, log in enumerate(logs, 1))


def _slurm_of(chaos: Chaos) -> str:
    """What accounting knows of all jobs, and of each start of one that was requeued."""
    fields = "JobID,JobName%60,State,ExitCode,NodeList,Submit,Start,End"
    return chaos.cluster.run("sacct", "-a", "-X", "-D", "-S", "1970-01-01", "-o", fields)


def _end(chaos: Chaos, run: str) -> str:
    deadline = time.monotonic() + 600 + ROUNDS * 40
    while True:
        state = str(chaos.ask(lambda api: api.get(f"/dags/chaos/dagRuns/{run}"))["state"])
        if state in {"success", "failed"}:
            return state
        assert time.monotonic() < deadline, chaos.ask(lambda api: api.tasks("chaos", run))
        chaos.revive()
        chaos.attend(run)
        chaos.release()
        time.sleep(1)
