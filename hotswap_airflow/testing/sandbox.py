"""A sandbox of real Slurm clusters on this host. It starts in seconds and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hotswap_airflow.errors import SetupError
from hotswap_airflow.settings import state_folder
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.accounting import register, start_accounting
from hotswap_airflow.testing.login_node import HOST, LoginNode
from hotswap_airflow.testing.processes import Daemon
from hotswap_airflow.testing.slurm import CPUS, GPU_NODES, GPUS, LICENCES, MEMORY_MB, ClusterOptions, SlurmCluster

DEFAULT_NAME = "default"
_ATTEMPTS = 3


@dataclass
class Sandbox:
    """Clusters that were started together, in one folder."""

    name: str
    folder: Path
    clusters: list[SlurmCluster] = field(default_factory=list)
    login_nodes: dict[str, LoginNode] = field(default_factory=dict)

    @property
    def site_file(self) -> Path:
        """The site file that matches the clusters."""
        return self.folder / "site.yaml"

    def cluster(self, name: str) -> SlurmCluster:
        """The cluster of a name. Raises ``KeyError`` if there is none."""
        return {cluster.name: cluster for cluster in self.clusters}[name]

    def up(self, options: ClusterOptions, clusters: int = 1, *, sshd: bool = False) -> None:
        """Start everything. After an error (``SetupError``) nothing is left running."""
        names = cluster_names(clusters)
        is_up = False
        try:
            for name in names:
                self._start_cluster(name, options)
            for cluster in self.clusters if sshd else ():
                self._start_login_node(cluster)
            self.site_file.write_text(site_text(self, options), encoding="utf-8")
            is_up = True
        finally:
            if not is_up:
                self.down()

    def _start_cluster(self, name: str, options: ClusterOptions) -> None:
        """Start a cluster. Try again if it fails, because another process may have taken a port meanwhile."""
        for attempt in range(_ATTEMPTS):
            cluster = SlurmCluster(name, self.folder / name / str(attempt), options)
            self.clusters.append(cluster)
            try:
                cluster.start(start_accounting if options.accounting else None)
            except SetupError:
                if attempt == _ATTEMPTS - 1 or not cluster.daemons:
                    raise
                cluster.stop()
                self.clusters.remove(cluster)
            else:
                if options.accounting:
                    register(cluster)
                return

    def _start_login_node(self, cluster: SlurmCluster) -> None:
        (port,) = processes.free_ports(1)
        environment = {"SLURM_CONF": str(cluster.conf), "PATH": processes.PATH}
        node = LoginNode(self.folder / cluster.name / "login", port, environment)
        self.login_nodes[cluster.name] = node
        node.start()

    def revive(self) -> None:
        """Start the daemons that have died, on their old ports. Raises ``SetupError`` if that is not possible."""
        for cluster in self.clusters:
            cluster.revive()
        for node in self.login_nodes.values():
            if node.daemon is None or not processes.reap(node.daemon):
                node.start()

    def down(self) -> None:
        """Stop exactly the processes that were started, and remove the sandbox's folder."""
        for node in self.login_nodes.values():
            node.stop()
        for cluster in self.clusters:
            cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection_uri(self, cluster: str) -> str:
        """The URI of the cluster's connection, as Airflow and the command line read it from ``AIRFLOW_CONN_…``."""
        node = self.login_nodes.get(cluster)
        if node is None:
            return f"slurm://?transport=local&slurm_conf={quote(str(self.cluster(cluster).conf), safe='')}"
        extra = f"key_file={quote(str(node.key), safe='')}&known_hosts={quote(str(node.known_hosts), safe='')}"
        return f"slurm://{quote(node.user)}@{HOST}:{node.port}/?{extra}"

    def describe(self) -> list[dict[str, Any]]:
        """The output of ``status --json``: one entry per cluster."""
        return [
            {
                "name": self.name,
                "cluster": cluster.name,
                "slurm_conf": str(cluster.conf),
                "ssh": self._ssh(cluster.name),
                "connection": self.connection_uri(cluster.name),
                "site": str(self.site_file),
                "running": bool(cluster.daemons) and all(daemon.is_alive for daemon in cluster.daemons),
            }
            for cluster in self.clusters
        ]

    def _ssh(self, cluster: str) -> dict[str, Any] | None:
        node = self.login_nodes.get(cluster)
        return None if node is None else {"host": HOST, "port": node.port, "user": node.user, "key": str(node.key)}


def cluster_names(count: int) -> list[str]:
    """The names of a sandbox's clusters: main, then c2, c3 and so on."""
    return ["main", *(f"c{number}" for number in range(2, count + 1))]


PROJECTS: dict[str, dict[str, str]] = {"genomics": {}, "climate": {}}
"""The projects that files may name; they have no account, because a cluster without accounting knows none."""


def site_text(sandbox: Sandbox, options: ClusterOptions) -> str:
    """The text of a site file that describes the clusters."""
    clusters = {}
    for cluster in sandbox.clusters:
        node = {"nodes": options.nodes, "cpus": CPUS, "mem": f"{MEMORY_MB}M"}
        clusters[cluster.name] = {
            "kind": "slurm",
            "connection": f"slurm_{cluster.name}",
            "workdir": str(sandbox.folder / cluster.name / "work"),
            "max_array_size": options.max_array_size,
            "licenses": LICENCES,
            "defaults": {"slurm": {"partition": "batch", "nodes": 1, "time": "10m", "mem": "1G"}},
            "partitions": {
                "debug": {**node, "max_time": "30m", "max_nodes": 2},
                "batch": {**node, "max_time": "2d", "max_nodes": options.nodes},
                "gpu": {**node, "nodes": min(GPU_NODES, options.nodes), "gpus": GPUS, "max_time": "1d", "max_nodes": 2},
            },
        }
    first = sandbox.clusters[0].name
    environments = {name: {"cluster": first} for name in ("dev", "qa", "prod")}
    site = {"hotswap": "site/v1", "environments": environments, "clusters": clusters, "projects": PROJECTS}
    return json.dumps(site, indent=2) + "\n"  # JSON is valid YAML, and its strings need no extra quoting


def _written_down() -> Path:
    """The folder of the files that list the started sandboxes."""
    return state_folder() / "sandboxes"


def create(name: str = DEFAULT_NAME, folder: Path | None = None) -> Sandbox:
    """A sandbox that is not up yet, in a folder short enough for sockets."""
    return Sandbox(name, folder or Path(tempfile.mkdtemp(prefix="hotswap-")))


def save(sandbox: Sandbox) -> None:
    """Write the started daemons to a file, so that another process can stop them."""
    state = {
        "folder": str(sandbox.folder),
        "clusters": [
            {
                "name": cluster.name,
                "folder": str(cluster.folder),
                "options": asdict(cluster.options),
                "daemons": [asdict(daemon) for daemon in cluster.daemons],
            }
            for cluster in sandbox.clusters
        ],
        "login_nodes": {
            name: {"folder": str(n.folder), "port": n.port, "environment": n.environment, "daemon": asdict(n.daemon)}
            for name, n in sandbox.login_nodes.items()
            if n.daemon is not None
        },
    }
    path = _written_down() / f"{sandbox.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state, indent=2), encoding="utf-8")
    new.replace(path)


def load_all() -> list[Sandbox]:
    """All sandboxes that were started on this host by this user."""
    return [_read(path) for path in sorted(_written_down().glob("*.json"))]


def _read(path: Path) -> Sandbox:
    state = json.loads(path.read_text(encoding="utf-8"))
    clusters = []
    for entry in state["clusters"]:
        lists = {key: tuple(value) for key, value in entry["options"].items() if isinstance(value, list)}
        options = ClusterOptions(**{**entry["options"], **lists})
        daemons = [Daemon(**daemon) for daemon in entry["daemons"]]
        clusters.append(SlurmCluster(entry["name"], Path(entry["folder"]), options, daemons))
    nodes = {
        name: LoginNode(Path(node["folder"]), node["port"], node["environment"], Daemon(**node["daemon"]))
        for name, node in state["login_nodes"].items()
    }
    return Sandbox(path.stem, Path(state["folder"]), clusters, nodes)


def find(name: str) -> Sandbox | None:
    """The sandbox of a name, as it was saved; None if there is none."""
    path = _written_down() / f"{name}.json"
    return _read(path) if path.exists() else None


def forget(name: str) -> None:
    """Remove a sandbox from the list."""
    (_written_down() / f"{name}.json").unlink(missing_ok=True)


def is_up(sandbox: Sandbox) -> bool:
    """Whether every daemon of the sandbox still runs."""
    nodes = [node.daemon for node in sandbox.login_nodes.values()]
    daemons = [daemon for cluster in sandbox.clusters for daemon in cluster.daemons] + nodes
    return bool(sandbox.clusters) and all(daemon is not None and daemon.is_alive for daemon in daemons)


def running() -> Sandbox | None:
    """The sandbox that is up; the default sandbox, or else the first, if several are up."""
    up = [sandbox for sandbox in load_all() if is_up(sandbox)]
    return next((sandbox for sandbox in up if sandbox.name == DEFAULT_NAME), up[0] if up else None)


def running_site_file() -> Path | None:
    """The site file of the sandbox that is up; None if no sandbox is up."""
    sandbox = running()
    return sandbox.site_file if sandbox is not None else None
