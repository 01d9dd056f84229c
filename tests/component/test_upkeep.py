"""Whose folders are, their marks, and how they go: our programs on a login node."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow.cluster.jobs import conductor
from hotswap_airflow.cluster.upkeep import ownership, retention
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import ConnectionLost, JobOutOfMemory
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.history.past import ADOPT, ANEW
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.slurm.retry import WHEN_ASKED, Growth, Retry
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.triggers import maintenance
from hotswap_airflow.triggers import retention as retention_trigger
from hotswap_airflow.triggers.retention import RetentionTrigger

MakeRequest = Callable[..., JobRequest]
DAY = 86_400.0


async def test_the_tries_of_a_run_are_found_by_its_name(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["FAILED"]]
    request = make_request("true", retry=WHEN_ASKED)
    await fake_bench.conduct(request)
    await fake_bench.conduct(request, "2 0")
    await fake_bench.conduct(make_request("true", job="other"))
    client = fake_bench.client
    (fake_bench.key_dir(request) / "key").write_text("{broken\n")
    found = await ownership.keys_of(client, "test", "flow", "run", "fit")
    assert [(key.job, key.generation) for key in found] == [("fit", 1)]
    assert len(await ownership.keys_of(client, "test", "flow", "run")) == 2
    assert await ownership.keys_of(client, "test", "flow", "ru") == []
    assert await ownership.keys_of(client, "another", "flow", "run") == []


async def test_a_job_that_was_given_back_is_waited_for_and_not_cancelled(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    gate = fake_bench.workdir / "open"
    request = make_request(f"while [ ! -e {gate} ]; do sleep 0.1; done")
    left = asyncio.create_task(fake_bench.conduct(request))
    await fake_bench.until(lambda: "submitted Slurm job 1" in fake_bench.log)
    left.cancel()
    await ownership.mark_tries(fake_bench.client, [request.key.digest], ADOPT)
    cleared = replace(request, key=replace(request.key, epoch=1))
    waiting = asyncio.create_task(fake_bench.conduct(cleared, "2 1"))
    await fake_bench.until(lambda: "found Slurm job 1" in fake_bench.log)
    gate.touch()
    outcome = await waiting
    assert (outcome.error, outcome.job_id, list(fake_slurm.jobs)) == (None, 1, [1])
    # Its end was told to that try: another clear begins anew.
    again = await fake_bench.conduct(replace(request, key=replace(request.key, epoch=2)), "3 2")
    assert (again.error, again.job_id) == (None, 2)


async def test_a_job_that_was_given_back_goes_on_and_is_tried_again_under_its_own_key(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING", "RUNNING", "OUT_OF_MEMORY"]]
    text = "echo $HOTSWAP_ATTEMPT >> starts; [ $HOTSWAP_ATTEMPT -ge 3 ] || exit 85"
    request = make_request(text, saves=True, retry=Retry(frozenset({"oom"}), 2, mem=Growth(2, 1 << 20)))
    await fake_bench.conductor.submitter("1 0", print).submit_once(request)
    await ownership.mark_tries(fake_bench.client, [request.key.digest], ADOPT)
    cleared = replace(request, key=replace(request.key, epoch=1))
    first = await fake_bench.conduct(cleared, "2 1")
    assert type(first.error) is JobOutOfMemory
    second = await fake_bench.conduct(cleared, "3 1")  # saves once, and goes on
    assert (second.error, second.key.epoch, second.key.generation, second.failed_before) == (None, 0, 2, 1)
    assert (fake_bench.run_dir(request) / "starts").read_text().split() == ["2", "3"]
    assert "--mem=100M" in [word for call in fake_slurm.calls if call[0] == "sbatch" for word in call]


async def test_a_job_that_was_given_back_ends_with_its_task(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    request = make_request("true")
    await fake_bench.conductor.submitter("1 0", print).submit_once(request)
    await ownership.mark_tries(fake_bench.client, [request.key.digest], ADOPT)
    cleared = replace(request, key=replace(request.key, epoch=1))
    waiting = asyncio.create_task(fake_bench.conduct(cleared, "2 1"))
    await fake_bench.until(lambda: "found Slurm job 1" in fake_bench.log)
    waiting.cancel()
    await fake_bench.conductor.cancel(cleared.key, print)
    assert fake_slurm.jobs[1].state == "CANCELLED"


async def test_all_elements_run_again_after_a_person_wanted_it(fake_bench: Any, make_request: MakeRequest) -> None:
    array = Array(("v",), (("0",), ("1",), ("2",)))
    request = make_request('echo "$SWEEP_V" >> ran; [ "$SWEEP_V" -ne 1 ] || [ -e well ]', array=array, retry=Retry())
    await fake_bench.conduct(request)
    (fake_bench.run_dir(request) / "well").touch()
    await ownership.mark_tries(fake_bench.client, [request.key.digest], ANEW)
    outcome = await fake_bench.conduct(replace(request, key=replace(request.key, epoch=1)), "2 1")
    assert (outcome.error, outcome.submitted) == (None, 3)
    assert sorted((fake_bench.run_dir(request) / "ran").read_text().split()) == [*"001122"]


def _age(run: Path, job: Path, days: float) -> None:
    """Let a run and its job have happened so many days ago."""
    for path in (run / ".hotswap-run", *job.iterdir()):
        _date(path, days)


def _date(path: Path, days: float) -> None:
    at = time.time() - days * DAY
    os.utime(path, (at, at), follow_symlinks=False)


class _Passing:
    """The retention pass over the double, with Airflow's answers given."""

    def __init__(self, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.states: dict[str, str | None] = {"fit": "success"}
        self.lines: list[str] = []
        shared = _Shared(bench.conductor)
        monkeypatch.setattr(maintenance, "shared_conductor", lambda _: shared)

        async def states(*_: str) -> dict[str, str | None]:
            return self.states

        monkeypatch.setattr(retention_trigger, "run_states", states)

    async def __call__(self, days: float = 30) -> str:
        kwargs = {
            "target": ClusterTarget("c").to_json(),
            "installation": "test",
            "retention": days * DAY,
            "store": str(self.bench.workdir),
        }
        trigger = RetentionTrigger(**kwargs)
        assert trigger.serialize() == ("hotswap_airflow.triggers.retention.RetentionTrigger", kwargs)
        self.lines.clear()
        trigger._report = self.lines.append  # type: ignore[method-assign]
        (event,) = [event async for event in trigger.run()]
        return type(event).__name__


class _Shared:
    def __init__(self, shared: Any) -> None:
        self.conductor = shared

    async def __aenter__(self) -> Any:
        return self.conductor

    async def __aexit__(self, *_: object) -> None:
        pass


async def test_the_folders_of_a_finished_run_go_after_their_notice(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, young = make_request("echo > result"), make_request("true", job="young")
    young = replace(young, key=replace(young.key, run=replace(young.key.run, run="young")))
    await fake_bench.conduct(request)
    await fake_bench.conduct(young)
    passing = _Passing(fake_bench, monkeypatch)
    run, job = fake_bench.run_dir(request), fake_bench.key_dir(request)
    assert await passing() == "TaskSuccessEvent"
    assert passing.lines == ["2 run(s) have folders here; 0 notice(s), 0 removed"]
    _age(run, job, 28)
    await passing()
    notice = run / retention.NOTICE
    assert f"hotswap runs keep {request.key.run.workflow} {request.key.run.run}" in notice.read_text()
    _age(run, job, 40)
    await passing()
    assert run.exists()  # three days have not passed since the notice
    _date(notice, 4)
    passing.states = {"fit": "deferred"}
    await passing()
    assert run.exists()
    assert not notice.exists()  # it was cleared, so the notice is withdrawn
    passing.states = {}  # the run was deleted in Airflow
    await passing()
    _date(notice, 4)
    await passing()
    assert passing.lines[-1] == "2 run(s) have folders here; 0 notice(s), 1 removed"
    assert not run.exists()
    assert not job.exists()
    assert fake_bench.run_dir(young).exists()
    assert not list((fake_bench.workdir / ".hotswap").glob("gone.*"))


async def test_a_run_that_is_kept_stays(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request("true")
    await fake_bench.conduct(request)
    passing, client = _Passing(fake_bench, monkeypatch), fake_bench.client
    run = fake_bench.run_dir(request)
    _age(run, fake_bench.key_dir(request), 100)
    await passing()
    _date(run / retention.NOTICE, 4)
    await ownership.keep_runs(client, [request.key.run.folder])
    found = await retention.inventory(client, "test")
    (kept,) = found.runs
    assert not await retention.remove(client, kept)  # also where it was kept after we had looked
    await passing()
    assert not (run / retention.NOTICE).exists()
    await ownership.keep_runs(client, [request.key.run.folder], is_kept=False)
    await passing()
    assert (run / retention.NOTICE).exists()


async def test_a_run_that_was_needed_since_its_notice_stays(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "READY_FOR", 0.0)
    request = make_request("true")
    await fake_bench.conduct(request)
    run = fake_bench.run_dir(request)
    _age(run, fake_bench.key_dir(request), 100)
    await _Passing(fake_bench, monkeypatch)()
    _date(run / retention.NOTICE, 4)
    found = await retention.inventory(fake_bench.client, "test")
    await fake_bench.lay_out(request)  # its task was cleared after we had looked
    assert not await retention.remove(fake_bench.client, found.runs[0])
    _date(run / ".hotswap-run", 100)
    (run / retention.NOTICE).unlink()
    assert not await retention.remove(fake_bench.client, found.runs[0])
    assert run.exists()


async def test_what_is_left_of_a_run_without_folder_goes_and_one_that_cannot_be_written_is_told(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request("true")
    await fake_bench.conduct(request)
    run, job = fake_bench.run_dir(request), fake_bench.key_dir(request)
    _age(run, job, 100)
    passing = _Passing(fake_bench, monkeypatch)
    (run / f"{retention.NOTICE}.new").mkdir()  # stands for a folder that refuses the notice
    await passing()
    assert passing.lines[0].startswith(f"{request.key.run.folder}: the folder cannot be written: On ")
    shutil.rmtree(run)
    await passing()
    assert passing.lines[-1] == "1 run(s) have folders here; 0 notice(s), 1 removed"
    assert not job.exists()


async def test_a_run_with_a_job_in_the_queue_is_not_finished(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm.outcomes = [["RUNNING"]]
    request = make_request("true")
    await fake_bench.lay_out(request)
    await fake_bench.conductor.submitter("1 0", print).submit_once(request)
    _age(fake_bench.run_dir(request), fake_bench.key_dir(request), 100)
    passing = _Passing(fake_bench, monkeypatch)
    assert await passing() == "TaskSuccessEvent"
    assert passing.lines == ["1 run(s) have folders here; 0 notice(s), 0 removed"]


async def test_a_cluster_that_is_away_is_not_looked_at(fake_bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise ConnectionLost("no answer")

    passing = _Passing(fake_bench, monkeypatch)
    monkeypatch.setattr(retention, "inventory", away)
    assert await passing() == "TaskSkippedEvent"
