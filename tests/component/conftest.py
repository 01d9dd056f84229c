"""A cluster behind each transport, for the contract suite."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest

from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.jobs.outcome import Outcome
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.base import Transport
from hotswap_airflow.cluster.transport.connect import Login, make_transport
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.transport.ssh import SshTransport
from hotswap_airflow.cluster.watch.watched_job import Interval
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.login_node import HOST, LoginNode
from hotswap_airflow.testing.slurm import SlurmCluster

QUICK = Interval(0.1, 0.5, 0.5)


async def no_files() -> AsyncIterator[bytes]:
    """The archive of a workflow without files."""
    yield b""


@dataclass
class Bench:
    """A session with everything a test wants to look at."""

    conductor: JobConductor
    workdir: Path
    lines: list[str] = field(default_factory=list)
    limit: ClassVar[float] = 120

    @property
    def client(self) -> ClusterClient:
        return self.conductor.client

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @staticmethod
    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not holds():
                await asyncio.sleep(0.02)

    async def lay_out(self, request: JobRequest) -> None:
        """Make the folder of a request's run, without files of a workflow."""
        await self.conductor.lay_out(request.key.run.folder, "", no_files, self.lines.append)

    async def conduct(self, request: JobRequest, asked: str = "1 0") -> Outcome:
        """Bring a request to its end, as its trigger does."""
        await self.lay_out(request)
        async with asyncio.timeout(self.limit):
            return await self.conductor.conduct(request, asked, self.lines.append)

    async def while_queued(self, request: JobRequest, asked: str) -> Outcome:
        """The same, and again where it fails while the job is in the queue."""
        conduct = partial(self.conduct, request, asked)
        return await self.conductor.while_queued(request.key, conduct, self.lines.append)

    async def begun(self, request: JobRequest, asked: str = "1 0") -> asyncio.Task[Outcome]:
        """A request on its way to its end, whose job runs."""
        conducting = asyncio.create_task(self.conduct(request, asked))
        # Of an array the log tells how many run.
        await self.until(lambda: "RUNNING" in self.log or (request.array is not None and "running" in self.log))
        return conducting

    def key_dir(self, request: JobRequest) -> Path:
        return self.workdir / key_folder(request.key.digest)

    def run_dir(self, request: JobRequest) -> Path:
        return self.workdir / "runs" / request.key.run.folder


@pytest.fixture
def make_request() -> Callable[..., JobRequest]:
    """Requests of one run that no other test has."""
    return partial(request_of, uuid.uuid4().hex)


def request_of(nonce: str, text: str = "echo hi", job: str = "fit", **changes: object) -> JobRequest:
    options = (("partition", "debug"), ("time", "00:02:00"), ("mem", "50M"))
    key = JobKey(RunKey("test", "flow", "dev", "run", nonce), job)
    return JobRequest(**{"key": key, "text": text, "options": options, **changes})  # type: ignore[arg-type]


def array_of(values: Sequence[str | None], **changes: Any) -> Array:
    """A sweep over ``v``; None is an element that is left out."""
    return Array(("v",), tuple(None if value is None else (value,) for value in values), **changes)


def bench_of(transport: Transport, workdir: Path, patience: float = 2.0, clock: object = None) -> Bench:
    client = ClusterClient(transport, str(workdir), "main", pace=0.02)
    watcher = JobWatcher(client, QUICK, **({"clock": clock} if clock else {}))  # type: ignore[arg-type]
    return Bench(JobConductor(client, watcher, patience), workdir)


@pytest.fixture
def fake_slurm(tmp_path: Path) -> Iterator[FakeSlurm]:
    with FakeSlurm(tmp_path) as fake:
        yield fake


@pytest.fixture
async def fake_bench(fake_slurm: FakeSlurm, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = bench_of(fake_slurm.transport, tmp_path / "work", clock=fake_slurm.clock)
    yield bench
    await bench.conductor.watcher.close()


@pytest.fixture
def own_login_node(slurm_cluster: SlurmCluster, tmp_path: Path) -> Iterator[LoginNode]:
    """A login node that a test may stop, cut and change."""
    node = LoginNode(tmp_path / "login", processes.free_ports(1)[0], {"SLURM_CONF": str(slurm_cluster.conf)})
    node.start()
    yield node
    node.stop()


def ssh_transport(node: LoginNode) -> SshTransport:
    def connect() -> object:
        return asyncssh.connect(
            HOST,
            node.port,
            username=node.user,
            client_keys=[str(node.key)],
            known_hosts=str(node.known_hosts),
            config=[],
        )

    return SshTransport(connect, "slurm_main")  # type: ignore[arg-type]


def openssh_transport(node: LoginNode) -> Transport:
    extra = {
        "transport": "openssh",
        "key_file": str(node.key),
        "known_hosts": str(node.known_hosts),
        "control_path": str(node.folder / "control-%C"),
    }
    return make_transport(Login("slurm_main", HOST, node.port, node.user, None, extra), {})


def as_elsewhere(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Where `sh` is bash, as on most clusters, and Airflow itself runs in a job of an account with its own settings."""
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/bash")
    job = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "1", "SBATCH_PARTITION": "nowhere"}
    return {**environment, **job, "PATH": f"{folder}:{environment['PATH']}"}


@pytest.fixture(params=["local", "ssh", "openssh", "fake"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    transport: Transport
    if request.param == "local":
        cluster: SlurmCluster = request.getfixturevalue("slurm_cluster")
        transport = LocalTransport(as_elsewhere(cluster.environment, tmp_path / "bin"))
    elif request.param == "ssh":
        transport = ssh_transport(request.getfixturevalue("ssh_login_node"))
    elif request.param == "openssh":
        transport = openssh_transport(request.getfixturevalue("ssh_login_node"))
    else:
        transport = request.getfixturevalue("fake_slurm").transport
    made = bench_of(transport, tmp_path / "work")
    yield made
    await made.conductor.watcher.close()
    await transport.close()
