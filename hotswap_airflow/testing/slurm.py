"""A real Slurm cluster of several nodes on this host: its configuration and its daemons."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.host import need, user_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hotswap_airflow.testing.processes import Daemon

CPUS, MEMORY_MB, GPUS, LICENCES = 4, 8000, 2, {"solver": 2}
GPU_NODES = 2
SELDOM_SAMPLED = "JobAcctGatherFrequency=30"
"""An extra line of slurm.conf for many jobs at once. Without it memory is sampled once per second, so that accounting
knows the memory of short jobs. Then the daemon of each job reads all processes of the machine: 64 jobs keep a core
busy."""


@dataclass(frozen=True)
class ClusterOptions:
    """The size and features of a sandbox cluster. ``extra`` lines go into slurm.conf unchanged.

    ``gpu_types``: every node with GPUs has one GPU of each type, instead of two GPUs without a type.
    """

    nodes: int = 4
    max_array_size: int = 1001
    accounting: bool = False
    extra: tuple[str, ...] = ()
    gpu_types: tuple[str, ...] = ()


@dataclass
class SlurmCluster:
    """One cluster in its own folder. ``daemons`` are in the order in which they were started.

    ``partner`` is a cluster with accounting. This cluster uses its slurmdbd and munge, so that the programs of each
    cluster know both. ``accounting_port`` is the port of slurmdbd.
    """

    name: str
    folder: Path
    options: ClusterOptions
    daemons: list[Daemon] = field(default_factory=list)
    partner: SlurmCluster | None = None
    accounting_port: int | None = None

    @property
    def munge(self) -> Path:
        """The socket of the munge daemon."""
        return self.partner.munge if self.partner is not None else self.folder / "munge"

    @property
    def conf(self) -> Path:
        """The slurm.conf that points clients to this cluster."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process that uses this cluster."""
        return {"PATH": processes.PATH, "SLURM_CONF": str(self.conf), "HOME": _home(), "LANG": "C.UTF-8"}

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a program of this cluster and return its output. Raises ``SetupError`` if it fails."""
        done = subprocess.run(argv, env=self.environment, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, start_accounting: Callable[[SlurmCluster], int] | None = None) -> None:
        """Start the cluster and wait until all nodes are idle. Raises ``SetupError``.

        ``start_accounting`` starts the daemons of accounting and returns slurmdbd's port.
        """
        need("munged", "slurmctld", "slurmd", "sbatch")
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = processes.free_ports(1 + self.options.nodes)
        if self.partner is not None:
            self.accounting_port = self.partner.accounting_port
        else:
            self._munge()
            self.accounting_port = start_accounting(self) if start_accounting else None
        self._configure(ports)
        self.start_controller()
        for number in range(1, self.options.nodes + 1):
            self.start_node(number)
        self._wait(self._is_ready)

    def revive(self) -> None:
        """Start the daemons that have died, on their old ports and with their saved state. Raises ``SetupError``."""
        for daemon in [daemon for daemon in self.daemons if not processes.reap(daemon)]:
            self.daemons.remove(daemon)
            if daemon.name == "munged":
                self._munge()
            elif daemon.name == "slurmctld":
                self.start_controller()
            elif daemon.name.startswith("slurmd-"):
                self.start_node(int(daemon.name.removeprefix("slurmd-")))
            else:
                raise SetupError(f"{daemon.name} of cluster {self.name} has died")
        self._wait(lambda: not any(state.startswith(("down", "unk", "inval")) for state in self._node_states()))

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        try:
            processes.wait_until(f"the start of cluster {self.name}", is_ready)
        except SetupError as error:
            said = processes.tail(self.folder / "slurmctld.out")
            raise SetupError(f"{error}; nodes: {', '.join(self._node_states()) or 'none'}; slurmctld: {said}") from None

    def start_daemon(self, name: str, *argv: str, is_ready: Callable[[], bool] = lambda: True) -> Daemon:
        """Start a daemon of the cluster in the foreground and wait until it is ready. Its output: ``<name>.out``."""
        log = self.folder / f"{name}.out"
        daemon = processes.start(name, argv, log, self.environment)
        self.daemons.append(daemon)
        processes.await_start(daemon, log, is_ready)
        return daemon

    def start_controller(self) -> None:
        """Start slurmctld. A later start uses its saved state."""
        self.start_daemon("slurmctld", "slurmctld", "-D", "-i", "-f", str(self.conf))

    def start_node(self, number: int) -> None:
        """Start the slurmd of a node."""
        node = f"{self.name}-{number}"
        self.start_daemon(f"slurmd-{number}", "slurmd", "-D", "-N", node, "-f", str(self.conf))

    def stop_daemon(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Stop one daemon, for tests of a cluster without it."""
        for daemon in [daemon for daemon in self.daemons if daemon.name == name]:
            daemon.kill(number)
            processes.wait_until(f"the end of {name}", lambda gone=daemon: not processes.reap(gone))  # type: ignore[misc]
            self.daemons.remove(daemon)

    def stop(self) -> None:
        """Stop every daemon, and the processes of jobs that still run."""
        processes.stop(self.daemons)
        processes.kill_all(pid for pid in processes.processes_with(f"SLURM_CONF={self.conf}") if pid != os.getpid())
        self.daemons.clear()

    def _is_ready(self) -> bool:
        return [state for state in self._node_states() if state == "idle"] == ["idle"] * self.options.nodes

    def _node_states(self) -> list[str]:
        """The state of each node; one ``unknown`` if sinfo fails. Raises ``SetupError`` if a daemon has died."""
        dead = [daemon.name for daemon in self.daemons if not processes.reap(daemon)]
        if dead:
            raise SetupError(
                f"{dead[0]} of cluster {self.name} ended: {processes.tail(self.folder / f'{dead[0]}.out')}"
            )
        argv = ["sinfo", "-h", "-N", "-o", "%N %t"]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        states = dict(line.split() for line in done.stdout.splitlines())
        return list(states.values()) if done.returncode == 0 else ["unknown"]

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(1024))
            key.chmod(0o400)
        self.start_daemon(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.munge}",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed", is_ready=self.munge.exists,
        )  # fmt: skip

    def _configure(self, ports: list[int]) -> None:
        for name in ("spool", "state/env_cache"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in _login_environment().items())
        (self.folder / "state" / "env_cache" / user_name()).write_text(lines, encoding="utf-8")
        self.conf.write_text(slurm_conf(self, ports), encoding="utf-8")
        (self.folder / "gres.conf").write_text(_gres_conf(self.name, self.folder, self.options), encoding="utf-8")
        # The plugin that needs nothing of the host. By default slurmd needs cgroups and, for version 2, systemd.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")


def _home() -> str:
    return pwd.getpwuid(os.getuid()).pw_dir


def _login_environment() -> dict[str, str]:
    """The environment of jobs: that of a login, without the changes by the person's start-up files."""
    user = pwd.getpwuid(os.getuid())
    names = {"USER": user.pw_name, "LOGNAME": user.pw_name, "HOME": user.pw_dir, "SHELL": user.pw_shell}
    return {**names, "PATH": processes.PATH, "LANG": "C.UTF-8"}


def _gres_conf(name: str, folder: Path, options: ClusterOptions) -> str:
    gpu_nodes = _gpu_nodes(name, options)
    for number in range(len(options.gpu_types) or GPUS):
        device = folder / f"gpu{number}"
        if not device.is_symlink():
            device.symlink_to("/dev/null")  # a device that can be opened but does nothing
    if not options.gpu_types:
        return f"NodeName={gpu_nodes} Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n"
    typed = (
        f"NodeName={gpu_nodes} Name=gpu Type={kind} File={folder}/gpu{n}\n" for n, kind in enumerate(options.gpu_types)
    )
    return "".join(typed)


def _gres(options: ClusterOptions) -> str:
    return ",".join(f"gpu:{kind}:1" for kind in options.gpu_types) or f"gpu:{GPUS}"


def _gpu_nodes(name: str, options: ClusterOptions) -> str:
    return f"{name}-[1-{min(GPU_NODES, options.nodes)}]"


def slurm_conf(cluster: SlurmCluster, ports: list[int]) -> str:
    """The text of slurm.conf: every node is a slurmd on this host with its own port."""
    name, folder, options = cluster.name, cluster.folder, cluster.options
    host = socket.gethostname().split(".")[0]
    user = user_name()
    nodes = [
        f"NodeName={name}-{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[number]} "
        f"CPUs={CPUS} RealMemory={MEMORY_MB}" + (f" Gres={_gres(options)}" if number <= GPU_NODES else "")
        for number in range(1, options.nodes + 1)
    ]
    everywhere = f"{name}-[1-{options.nodes}]"
    lines = [
        f"ClusterName={name}",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={ports[0]}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        # A requeued job begins again when its first credential expires; by default that takes two minutes.
        f"AuthInfo=socket={cluster.munge},cred_expire=30",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd-%n.log",
        f"MaxArraySize={options.max_array_size}",
        f"Licenses={','.join(f'{licence}:{count}' for licence, count in LICENCES.items())}",
        *_FIXED,
        *(_accounting(cluster.munge, cluster.accounting_port) if cluster.accounting_port else ()),
        *options.extra,
        *nodes,
        f"PartitionName=debug Nodes={everywhere} MaxTime=00:30:00 MaxNodes=2 DefMemPerCPU=100",
        f"PartitionName=batch Nodes={everywhere} Default=YES MaxTime=2-00:00:00 DefMemPerCPU=100",
        f"PartitionName=gpu Nodes={_gpu_nodes(name, options)} MaxTime=1-00:00:00 DefMemPerCPU=100",
    ]
    return "\n".join(lines) + "\n"


_FIXED = (
    "ProctrackType=proctrack/linuxproc",
    "TaskPlugin=task/none",
    "JobAcctGatherType=jobacct_gather/linux",
    "JobAcctGatherFrequency=1",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_Core_Memory",
    "SlurmdParameters=config_overrides",
    "GresTypes=gpu",
    "ReturnToService=2",
    "MaxJobCount=200000",
    "MpiDefault=none",
    "SchedulerParameters=batch_sched_delay=0,bf_interval=5,sched_min_interval=0",
    "KillWait=3",
    # The login environment of jobs comes from state/env_cache. Otherwise there is a `su -` for each job, which costs a
    # hundred processes if the person's start-up files are long.
    "GetEnvTimeout=0",
    "InactiveLimit=0",
)


def _accounting(munge: Path, port: int) -> tuple[str, ...]:
    return (
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={port}",
        # With munge this is the socket for the communication with slurmdbd.
        f"AccountingStoragePass={munge}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStorageEnforce=limits,qos",
    )
