"""Many identities on one cluster: one of them asks for the jobs of all, each reads its own folders."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.base import Reply
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.watch.watched_job import Interval
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.history.notes import FolderNote
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing.fake_slurm import FakeSlurm

from .conftest import Bench

MakeRequest = Callable[..., JobRequest]


class Cut:
    """A transport that gives no answer while it is cut."""

    def __init__(self, fake: FakeSlurm) -> None:
        self.inner = fake.transport
        self.is_cut = False
        self.commands = 0

    async def run(self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = 60.0) -> Reply:
        self.commands += 1
        if self.is_cut:
            raise errors.ConnectionLost("the connection is cut")
        return await self.inner.run(argv, stdin, limit)

    async def close(self) -> None:
        """Nothing to give up."""


class Pieces:
    """A login node whose answers come as its programs write them, piece by piece."""

    def __init__(self, shell: str) -> None:
        self.shell = shell
        self.sizes: list[int] = []

    async def run(self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = 60.0) -> Reply:
        assert isinstance(stdin, bytes)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = await asyncio.create_subprocess_exec(
            self.shell, *argv[1:], stdin=asyncio.subprocess.PIPE, stdout=theirs
        )
        theirs.close()
        feeding = asyncio.create_task(process.communicate(stdin))
        with ours:
            ours.setblocking(False)
            pieces = []
            while piece := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 1 << 20), limit):
                pieces.append(piece)
        await feeding
        self.sizes = [len(piece) for piece in pieces]
        return Reply(process.returncode or 0, b"".join(pieces), b"")

    async def close(self) -> None:
        """Nothing to give up."""


@pytest.fixture
async def watcher(fake_slurm: FakeSlurm, tmp_path: Path) -> AsyncIterator[JobWatcher]:
    made = JobWatcher(ClusterClient(fake_slurm.transport, str(tmp_path / "monitor"), "main"), Interval(0.2, 0.2, 0.2))
    yield made
    await made.close()


def _bench(watcher: JobWatcher, cut: Cut, workdir: Path) -> Bench:
    return Bench(JobConductor(ClusterClient(cut, str(workdir), "main"), watcher, 2.0), workdir)


async def test_forty_identities_need_two_questions_an_interval(
    fake_slurm: FakeSlurm, watcher: JobWatcher, tmp_path: Path, make_request: MakeRequest
) -> None:
    benches = [_bench(watcher, Cut(fake_slurm), tmp_path / str(number)) for number in range(40)]
    text = "echo said; while [ ! -e go ]; do sleep 0.1; done"
    requests = [make_request(text, job=f"j{number}") for number in range(40)]
    running = [asyncio.create_task(bench.conduct(request)) for bench, request in zip(benches, requests, strict=True)]
    await Bench.until(lambda: all("said" in bench.log for bench in benches))
    polls = []
    asked = watcher.client.queue_of_all

    async def counted() -> object:
        polls.append(len(fake_slurm.calls))
        return await asked()

    watcher.client.queue_of_all = counted  # type: ignore[method-assign, assignment]
    for bench in benches[:20]:
        (bench.run_dir(make_request()) / "go").touch()
    await asyncio.gather(*running[:20])
    for bench in benches[20:]:
        (bench.run_dir(make_request()) / "go").touch()
    outcomes = await asyncio.gather(*running)
    assert [outcome.error for outcome in outcomes] == [None] * 40
    assert len(polls) >= 2
    assert max(after - before for before, after in itertools.pairwise(polls)) <= 2
    assert {call[0] for call in fake_slurm.calls[polls[0] :]} <= {"squeue", "sacct"}


async def test_an_identity_that_is_away_holds_up_no_other(
    fake_slurm: FakeSlurm, watcher: JobWatcher, tmp_path: Path, make_request: MakeRequest
) -> None:
    cuts = [Cut(fake_slurm), Cut(fake_slurm)]
    away, here = (_bench(watcher, cut, tmp_path / str(number)) for number, cut in enumerate(cuts))
    request = make_request("while [ ! -e go ]; do sleep 0.1; done")
    sweep = make_request("while [ ! -e go ]; do sleep 0.1; done", job="sweep", array=Array(("v",), (("1",), ("2",))))
    waiting = [asyncio.create_task(away.conduct(one)) for one in (request, sweep)]
    other = asyncio.create_task(here.conduct(make_request("while [ ! -e go ]; do sleep 0.1; done", job="other")))
    await Bench.until(lambda: "RUNNING" in here.log and away.log.count("RUNNING") + away.log.count("2 running") == 2)
    cuts[0].is_cut = True
    await Bench.until(lambda: "waiting for main: the connection is cut" in away.log)
    for bench in (away, here):
        (bench.run_dir(make_request()) / "go").touch()
    assert (await other).error is None
    assert not any(task.done() for task in waiting)
    cuts[0].is_cut = False
    outcomes = await asyncio.gather(*waiting)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert outcomes[1].tally == Tally(done=2)
    assert "waiting for main" not in here.log


async def test_two_work_folders_of_an_account_are_asked_for_by_one_question(
    fake_slurm: FakeSlurm, watcher: JobWatcher, tmp_path: Path, make_request: MakeRequest
) -> None:
    other = watcher.client.below(str(tmp_path / "other"))
    benches = [Bench(JobConductor(client, watcher, 2.0), Path(client.workdir)) for client in (watcher.client, other)]
    requests = [make_request("echo said; sleep 1", job=job) for job in ("one", "two")]
    outcomes = await asyncio.gather(*(b.conduct(r) for b, r in zip(benches, requests, strict=True)))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert all("said" in bench.log for bench in benches)
    assert all("-u" in call for call in fake_slurm.calls if call[0] == "squeue")


async def test_a_job_that_comes_while_the_watcher_ends_is_watched(
    fake_slurm: FakeSlurm, watcher: JobWatcher, tmp_path: Path, make_request: MakeRequest
) -> None:
    watcher.client.has_push = True
    bench = Bench(JobConductor(watcher.client, watcher, 2.0), tmp_path / "monitor")
    fake_slurm.outcomes = [["COMPLETED"]] * 4
    for number in range(4):  # each begins in the moment in which the one before it has ended
        assert (await bench.conduct(make_request("true", job=f"j{number}"))).error is None


async def test_a_folder_that_was_not_looked_into_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sed").write_text("#!/bin/sh\nhead -n 1\n")
    (tmp_path / "bin" / "sed").chmod(0o755)
    client = ClusterClient(LocalTransport({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}), str(tmp_path / "work"))
    with pytest.raises(errors.UnreadableAnswer, match="nothing about 1 jobs"):
        await client.glimpses(["a" * 20, "b" * 20])


@pytest.mark.parametrize("shell", ["sh", "bash"])
async def test_the_folders_of_a_thousand_jobs_are_told_in_large_pieces(tmp_path: Path, shell: str) -> None:
    login_node = Pieces(shell)
    client = ClusterClient(login_node, str(tmp_path), "main")
    digests = [f"{number:032x}" for number in range(1000)]
    ended = tmp_path / ".hotswap" / "jobs" / digests[700][:3] / digests[700]
    ended.mkdir(parents=True)
    (ended / "exit").write_text("3\n")
    (ended / "id").write_text("17\n")
    (ended / "job.log").write_text("said\n")
    glimpses = await client.glimpses(digests)
    assert glimpses[digests[700]] == FolderNote(3, 5, 17, False)
    assert [glimpses[digest] for digest in digests if digest != digests[700]] == [
        FolderNote(None, 0, None, False)
    ] * 999
    assert len(login_node.sizes) < 20
