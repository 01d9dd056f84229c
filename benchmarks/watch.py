"""Watching: what 100, 1,000 and 10,000 jobs cost a triggerer and the cluster, and how soon an end is noticed.

    .venv/bin/python -m benchmarks.watch [--counts 100 1000 10000] [--kinds array triggers identities]
        [--push] [--json]

They are watched as elements of one array, and each with a trigger of its own. Each figure is the greater of both;
``array`` and ``triggers`` have them apart, with the event loop's lag, and beside them what as many triggers cost that
do nothing. ``rss_mb`` is the memory of the process in which triggers run, ``pss_mb`` that of all of a triggerer's, what
they share counted once. ``identities`` are 40 accounts with two jobs each, asked for by one monitor, with two
triggerers.

One real Airflow (two triggerers where 10,000 triggers run) on one sandbox cluster, over ssh. As many jobs run as the
cluster has room for, the others wait. First nothing happens for a while, then the running ones end, one after the
other. Triggers are written into the database as the scheduler would, since Airflow takes a quarter of an hour to defer
10,000 tasks; some hundred at a time, since a triggerer that is given thousands at once falls behind with its own log
lines, also of triggers that do nothing, and is taken for dead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks.lab import Lab, cpu_seconds, lab, machine, percentile, pss_mb, rounded, rss_mb, tree
from benchmarks.probe import late_between
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.slurm import SELDOM_SAMPLED, ClusterOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES, QUIET, ENDING = 16, 60.0, 90.0
IDENTITIES = 40
KINDS = ("array", "triggers", "identities")
AT_ONCE = 250
MANY = 5_000
"""So many triggers and no more does one triggerer take here."""
NAMES = ("commands_per_interval", "connections", "cpu_share", "rss_mb", "noticed_p50_s", "noticed_p95_s")
COMMAND = 'while [ ! -e "$HOTSWAP_RUN_DIR/go" ]; do sleep 1; done; sleep $((RANDOM % 40))'
SWEEP = """hotswap: workflow/v1
jobs:
  s:
    slurm: {{partition: batch, mem: 1M, time: 1h}}
    sweep: {{over: {{i: {{range: [0, {count}]}}}}}}
    run: |
      {command}
"""
DAGS = """
from airflow.sdk import DAG
from benchmarks.probe import DeferOperator

with DAG("probe", schedule=None):
    DeferOperator(task_id="lag", path={lags!r})
for count in {counts}:
    for kind in ("noop", "jobs"):
        with DAG(f"{{kind}}-{{count}}", schedule=None, max_active_tasks=20000):
            DeferOperator.partial(task_id="j", pool="closed").expand(seconds=list(range(count)))
"""


@dataclass
class Seen:
    """What was measured while so many jobs were watched."""

    commands_per_interval: float = 0.0
    connections: int = 0
    cpu_share: float = 0.0
    rss_mb: float = 0.0
    pss_mb: float = 0.0
    noticed_p50_s: float = 0.0
    noticed_p95_s: float = 0.0
    ends: int = 0
    lag_p99_s: float = 0.0
    lag_max_s: float = 0.0
    callback_max_s: float = 0.0
    callback_processor_s: float = 0.0
    collection_max_s: float = 0.0
    noop: dict[str, float] = field(default_factory=dict)


class Watching:
    """The measurements in one lab."""

    def __init__(self, made: Lab, lags: Path) -> None:
        self.lab = made
        self.lags = lags

    def triggerers(self) -> list[list[int]]:
        """The processes of each triggerer."""
        daemons = self.lab.services.daemons
        return [tree(daemon.pid) for name, daemon in daemons.items() if name.startswith("triggerer")]

    def quiet(self, seen: Seen) -> None:
        """What it costs while nothing happens."""
        time.sleep(20)  # the interval grows to its usual length
        each = self.triggerers()
        before, began = [cpu_seconds(pids) for pids in each], time.time()
        time.sleep(QUIET)
        after = [cpu_seconds(pids) for pids in each]
        seen.cpu_share = max((b - a) / QUIET for a, b in zip(before, after, strict=True))
        seen.rss_mb = max(rss_mb(pids) for pids in each)
        seen.pss_mb = max(pss_mb(pids) for pids in each)
        seen.connections = self.connections()
        self.lateness(seen, began)

    def lateness(self, seen: Seen, began: float) -> None:
        """How late the event loop was since then, and what held it longest."""
        late = late_between(self.lags, began, time.time())
        seen.lag_p99_s, seen.lag_max_s = percentile(late.lags, 0.99), max(late.lags)
        longest = sorted(late.callbacks, reverse=True)[:3]
        seen.callback_max_s, seen.callback_processor_s, _ = longest[0]
        seen.collection_max_s = late.collection
        for took, processor, name in longest:
            say(f"a callback took {took:.3f} s, {processor:.3f} s of the processor: {name[:300]}")
        say(f"longest collection {late.collection:.3f} s")

    def connections(self) -> int:
        """Sessions of sshd, each a connection."""
        daemon = self.lab.sandbox.login_nodes["main"].daemon
        children = processes.descendants(daemon.pid) if daemon else []
        return sum("[priv]" in _command(pid) or "@notty" in _command(pid) for pid in children) or len(children)

    def ending(self, seen: Seen, go: Path) -> tuple[float, float]:
        """Let the running ones end; give the time in which they did."""
        before = len(self.lab.called())
        go.touch()
        began = time.time()
        time.sleep(ENDING)
        seen.commands_per_interval, _ = self.commands(before)
        return began, time.time()

    def commands(self, before: int) -> tuple[float, int]:
        """The commands to Slurm a question since some calls, and the number of questions: each begins with squeue."""
        asked = [name for name in self.lab.called()[before:] if name in {"squeue", "sacct"}]
        questions = asked.count("squeue")
        return len(asked) / max(1, questions), questions

    def identities(self) -> dict[str, float]:
        """Two jobs of each of so many accounts, asked for by one: commands while they wait, run and end."""
        self.second_triggerer()
        count, name, folder = 2 * IDENTITIES, f"jobs-{2 * IDENTITIES}", str(self.lab.work)
        run = self.scheduled(name, count)
        submitted = self.lab.called().count("sbatch")
        with self.lab.planting("jobs", name, run, "j", folder, COMMAND, str(IDENTITIES)) as plant:
            plant(0, count)
        self.lab.api.wait("all submissions", lambda: self.lab.called().count("sbatch") >= submitted + count, 300)
        seen, before, began = Seen(), len(self.lab.called()), time.monotonic()
        self.quiet(seen)
        self.ending(seen, self.lab.work / "runs" / RunKey("benchmark", name, "dev", run, folder).folder / "go")
        each, questions = self.commands(before)
        seconds = time.monotonic() - began
        self.end(name, run)
        return {"commands_per_interval": each, "questions_of_both": questions, "seconds": seconds}

    def array(self, count: int) -> tuple[Seen, str, str]:
        """So many elements of one array. Gives the Dag and the run, which goes on, as well."""
        seen, name = Seen(), f"sweep-{count}"
        run = self.lab.api.trigger(name)
        waiting = self.lab.work / "runs" / name
        self.lab.api.wait("the running elements", lambda: self._running(1) >= min(count, NODES), 120)
        self.quiet(seen)
        (folder,) = waiting.iterdir()
        _, until = self.ending(seen, folder / "go")
        time.sleep(17)
        began = self.started(name, run)
        found = (path.stat().st_mtime for path in (self.lab.work / ".hotswap" / "jobs").glob("*/*/ends/*.0"))
        ends = sorted(end for end in found if began < end <= until)
        lines = [(at, line.split(" done ")[0]) for at, line in self.log(name, run, "s") if " done " in line]
        told = [(at, int(done.replace(",", ""))) for at, done in lines]
        delays = []
        for number, end in enumerate(ends, 1):
            noticed = next((at for at, done in told if done >= number), None)
            if noticed is not None:
                delays.append(noticed - end)
        self.judge(seen, delays)
        return seen, name, run

    def triggers(self, count: int) -> tuple[Seen, str, str]:
        """So many jobs, each with a trigger of its own; and no-op triggers before them, to compare with."""
        seen = Seen()
        if count > MANY:
            self.second_triggerer()
        seen.noop = self.noops(count)
        name = f"jobs-{count}"
        run = self.scheduled(name, count)
        folder = str(self.lab.work)
        before = self.lab.called().count("sbatch")
        began = time.monotonic()
        for last in self.planted("jobs", name, run, count, folder, COMMAND):
            goal = before + last
            self.lab.api.wait(f"{last} submissions", lambda goal=goal: self.lab.called().count("sbatch") >= goal, 300)
        say(f"{count} submitted in {time.monotonic() - began:.0f} s")
        self.quiet(seen)
        key = RunKey("benchmark", name, "dev", run, folder)
        _, until = self.ending(seen, self.lab.work / "runs" / key.folder / "go")
        time.sleep(17)
        delays = []
        for index in range(count):
            exit_file = self.lab.work / key_folder(JobKey(key, "j", index).digest) / "exit"
            if not exit_file.exists() or exit_file.stat().st_mtime > until:
                continue
            noticed = next((at for at, line in self.log(name, run, "j", index) if line.startswith("COMPLETED")), None)
            delays.append((noticed or time.time()) - exit_file.stat().st_mtime)
        self.judge(seen, delays)
        return seen, name, run

    def figures(self, kind: str, counts: list[int], *, is_last: bool) -> dict[str, dict[str, Any]]:
        """What was measured of one kind, by figure and count; nobody waits for the end of the last run."""
        found: dict[str, dict[str, Any]] = {}
        for count in counts:
            seen, name, run = self.array(count) if kind == "array" else self.triggers(count)
            say(f"{kind} {count}: {json.dumps(rounded(vars(seen)))}")
            for figure, value in vars(seen).items():
                found.setdefault(figure, {})[str(count)] = value
            if not is_last or count != counts[-1]:
                self.end(name, run)
        return found

    def noops(self, count: int) -> dict[str, float]:
        """What as many triggers cost that only wait."""
        name = f"noop-{count}"
        run = self.scheduled(name, count)
        for last in self.planted("noop", name, run, count):
            self.lab.api.wait(f"{last} triggers", lambda last=last: self.logs(name, run) >= last, 300)
        seen = Seen()
        self.quiet(seen)
        self.end(name, run)
        late = ("lag_p99_s", "lag_max_s", "callback_max_s", "callback_processor_s", "collection_max_s")
        return {name: getattr(seen, name) for name in ("cpu_share", "rss_mb", "pss_mb", *late)}

    def planted(self, kind: str, name: str, run: str, count: int, *words: str) -> Iterator[int]:
        """Defer some tasks after the other; give how many there are, when these are to be waited for."""
        with self.lab.planting(kind, name, run, "j", *words) as plant:
            for first in range(0, count, AT_ONCE):
                last = min(first + AT_ONCE, count)
                plant(first, last)
                yield last

    def logs(self, name: str, run: str) -> int:
        """Logs of triggers of a run, each of one that has begun."""
        folder = self.lab.services.folder / "airflow" / "logs" / f"dag_id={name}" / f"run_id={run}"
        return sum(1 for _ in folder.glob("*/*/*trigger*"))

    def judge(self, seen: Seen, delays: list[float]) -> None:
        """The delays in two numbers."""
        seen.ends = len(delays)
        seen.noticed_p50_s, seen.noticed_p95_s = percentile(delays, 0.5), percentile(delays, 0.95)

    def scheduled(self, name: str, count: int) -> str:
        """A run whose tasks wait for a pool that has no slots."""
        run = self.lab.api.trigger(name)
        path = f"/dags/{name}/dagRuns/{run}/taskInstances"
        self.lab.api.wait(
            f"{count} tasks", lambda: self.lab.api.get(path, state="scheduled", limit=1)["total_entries"] >= count, 300
        )
        return run

    def second_triggerer(self) -> None:
        """One more triggerer, with a port of its own for logs."""
        services = self.lab.services
        if "triggerer-2" in services.daemons:
            return
        (port,) = processes.free_ports(1)
        environment = {**services.environment(), "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port)}
        services.start_component("triggerer", environment, "triggerer-2")
        time.sleep(15)

    def started(self, name: str, run: str) -> float:
        """When a run began."""
        return datetime.fromisoformat(self.lab.api.get(f"/dags/{name}/dagRuns/{run}")["start_date"]).timestamp()

    def log(self, dag_id: str, run_id: str, task: str, index: int = -1) -> Iterator[tuple[float, str]]:
        """The lines of a task's log from its trigger, with their times."""
        folder = self.lab.services.folder / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        folder = folder / f"task_id={task}"
        folder = folder / f"map_index={index}" if index >= 0 else folder
        for path in sorted(folder.glob("attempt=1.log*trigger*")):
            for text in path.read_text(encoding="utf-8").splitlines():
                line = json.loads(text)
                yield datetime.fromisoformat(line["timestamp"]).timestamp(), str(line["event"])

    def end(self, name: str, run: str) -> None:
        """Fail a run, and wait until nothing of it is left."""
        self.lab.api.send("PATCH", f"/dags/{name}/dagRuns/{run}", {"state": "failed"})
        self.lab.sandbox.clusters[0].run("scancel", "-u", self.lab.sandbox.login_nodes["main"].user)
        self.lab.api.wait("an empty queue", lambda: self._running(0) == 0, 600)
        time.sleep(20)

    def _running(self, only_running: int) -> int:
        states = "RUNNING" if only_running else "PENDING,RUNNING,COMPLETING"
        return len(self.lab.sandbox.clusters[0].run("squeue", "-h", "-r", "-t", states, "-o", "%i").split())


def say(words: str) -> None:
    """How far the measuring is."""
    print(words, file=sys.stderr, flush=True)


def _command(pid: int) -> str:
    from pathlib import Path

    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def measure(counts: list[int], kinds: list[str], *, push: bool) -> dict[str, Any]:
    """All figures, by kind and count."""
    options = ClusterOptions(nodes=NODES, max_array_size=20_001, extra=(SELDOM_SAMPLED,))
    settings = {
        "AIRFLOW__TRIGGERER__CAPACITY": str(MANY + 100),
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "20000",
    }
    with lab(options, settings) as made:
        if push:
            uri = made.services.settings["AIRFLOW_CONN_SLURM_MAIN"] + "&push=true"
            made.services.settings = {**made.services.settings, "AIRFLOW_CONN_SLURM_MAIN": uri}
        uri = made.services.settings["AIRFLOW_CONN_SLURM_MAIN"]
        accounts = {f"AIRFLOW_CONN_SLURM_P{number}": uri for number in range(IDENTITIES)}
        made.services.settings = {**made.services.settings, **accounts}
        made.services.stop_component("triggerer")
        made.services.start_component("triggerer")
        lags = made.services.folder / "lags"
        made.api.send("POST", "/pools", {"name": "closed", "slots": 0, "include_deferred": False})
        for count in counts:
            text = SWEEP.format(count=count, command=COMMAND)
            (made.services.dags_folder / f"sweep-{count}.hotswap.yaml").write_text(text, encoding="utf-8")
        made.write_python("many", DAGS.format(lags=str(lags), counts=sorted({*counts, 2 * IDENTITIES})))
        watching = Watching(made, lags)
        made.api.trigger("probe")
        made.api.wait("the probe", lags.exists)
        figures: dict[str, Any] = {"machine": machine()}
        watched = [kind for kind in ("array", "triggers") if kind in kinds]
        has_identities = "identities" in kinds
        for kind in watched:
            figures[kind] = watching.figures(kind, counts, is_last=kind == watched[-1] and not has_identities)
        if has_identities:
            figures["identities"] = watching.identities()
            say(f"identities: {json.dumps(rounded(figures['identities']))}")
        for name in NAMES if watched else ():
            each = [figures[kind][name] for kind in watched]
            figures[name] = {str(count): max(one[str(count)] for one in each) for count in counts}
        return figures


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--push", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = rounded(measure(arguments.counts, arguments.kinds, push=arguments.push))
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name in (name for name in NAMES if name in figures):
        print(f"{name}: {', '.join(f'{count}: {value}' for count, value in figures[name].items())}")


if __name__ == "__main__":
    main()
