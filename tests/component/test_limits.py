"""Real clusters with accounting, with limits on what a user may submit, and with a short memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import submitter
from hotswap_airflow.cluster.transport.base import Reply
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.host import user_name
from hotswap_airflow.testing.slurm import ClusterOptions, SlurmCluster

from .conftest import Bench, bench_of

MakeRequest = Callable[..., JobRequest]


@pytest.fixture(autouse=True)
def _several_jobs_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "limit", 90)


@pytest.fixture(scope="module")
def accounted() -> Iterator[SlurmCluster]:
    made = sandbox.create("accounted")
    made.up(ClusterOptions(nodes=2, accounting=True))
    yield made.clusters[0]
    made.down()


@pytest.fixture
async def bench(accounted: SlurmCluster, tmp_path: Path) -> AsyncIterator[Any]:
    made = bench_of(LocalTransport(accounted.environment), tmp_path / "work")
    yield made
    await made.conductor.watcher.close()


def _rows(count: int) -> tuple[tuple[str], ...]:
    return tuple((str(number),) for number in range(count))


async def test_accounting_knows_the_ends_of_elements(bench: Any, make_request: MakeRequest) -> None:
    text = 'case $SWEEP_V in 1) exit 4 ;; 2) kill -9 $PPID $$ ;; 3) scancel "${SLURM_ARRAY_JOB_ID}_3"; sleep 60 ;; esac'
    outcome = await bench.conduct(make_request(text, array=Array(("v",), _rows(5))))
    assert type(outcome.error) is errors.JobFailed
    assert outcome.tally == Tally(done=2, failed=3)
    assert "1 (exit status 4)" in str(outcome.error)
    assert "3 (CANCELLED)" in str(outcome.error)


async def test_a_sweep_and_jobs_beside_it_wait_for_their_turn_below_a_limit(
    bench: Any, accounted: SlurmCluster, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "SMALL_WAVE", 1)
    which = ("where", f"user={user_name()}")
    accounted.run("sacctmgr", "-i", "modify", "user", *which, "set", "MaxSubmitJobs=8")
    text = 'echo "v=$SWEEP_V" >> $HOTSWAP_OUTPUT'
    sweep = make_request(text, array=Array(("v",), _rows(30)), outputs=(Output("v", "integer"),))
    single = [make_request("sleep 1", job=f"single-{number}") for number in range(10)]
    outcomes = await asyncio.gather(*(bench.conduct(request) for request in [sweep, *single]))
    accounted.run("sacctmgr", "-i", "modify", "user", *which, "set", "MaxSubmitJobs=-1")
    assert [outcome.error for outcome in outcomes] == [None] * 11
    assert outcomes[0].values == {"v": list(range(30))}
    assert "AssocMaxSubmitJobLimit" in bench.log
    assert "waiting to be submitted: number 1 of " in bench.log


class Held:
    """A login node that answers only while ``gate`` is open."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.inner = LocalTransport(environment)
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = 60.0) -> Reply:
        await self.gate.wait()
        return await self.inner.run(argv, stdin, limit)

    async def close(self) -> None:
        """Nothing to give up."""


@pytest.mark.daemons
async def test_a_cluster_without_accounting_that_forgets_ended_jobs_within_seconds(
    tmp_path: Path, make_request: MakeRequest
) -> None:
    made = sandbox.create("forgetful")
    made.up(ClusterOptions(nodes=1, extra=("MinJobAge=2",)))
    try:
        cluster = made.clusters[0]
        login = Held(cluster.environment)
        bench = bench_of(login, tmp_path / "work")
        requests = [
            make_request("sleep 1; echo v=7 >> $HOTSWAP_OUTPUT", job="good", outputs=(Output("v", "integer"),)),
            make_request("sleep 1; exit 4", job="bad"),
            make_request('sleep 1; [ "$SWEEP_V" != 1 ]', job="sweep", array=Array(("v",), _rows(3))),
        ]
        running = asyncio.gather(*(bench.conduct(request) for request in requests))
        await bench.until(lambda: bench.log.count("submitted Slurm job") == 3)
        login.gate.clear()
        await bench.until(lambda: not cluster.run("squeue", "-h", "-t", "all", "-o", "%i").strip())
        login.gate.set()
        good, bad, sweep = await running
        assert (good.error, good.values) == (None, {"v": 7})
        assert type(bad.error) is errors.JobFailed
        assert bad.status.exit_status == 4
        assert sweep.tally == Tally(done=2, failed=1)
        await bench.conductor.watcher.close()
    finally:
        made.down()
