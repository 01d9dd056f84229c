"""Submissions whose outcome nobody knows, and news that come together: what a person is told, and how often."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import patient
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing.fake_slurm import FakeSlurm

from .conftest import Bench, array_of, bench_of

MakeRequest = Callable[..., JobRequest]


async def test_an_unknown_outcome_is_told_once_in_sbatchs_own_words(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    fake_slurm.dropped = 1
    assert (await fake_bench.conduct(make_request("true"))).error is None
    words = "it is not known whether main took the job (Batch job submission failed: Socket timed out on send/recv operation)"
    assert fake_bench.log.count(words) == 1


@pytest.mark.parametrize(
    ("said", "is_known"),
    [
        ("sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a configuration source\n", True),
        ("sbatch: error: failed to fetch remote configs: Unable to contact slurm controller (connect failure)\nsbatch: fatal: Could not establish a configuration source\n", False),
    ],
)  # fmt: skip
async def test_a_login_node_without_a_configuration_is_an_error_with_a_remedy(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest, said: str, is_known: bool
) -> None:
    """But where the controller is away that would give one, it may come back."""
    fake_slurm.sbatch_error = said
    running = asyncio.create_task(fake_bench.conduct(make_request("true")))
    if is_known:
        with pytest.raises(errors.SubmissionRefused, match="set SLURM_CONF or SLURM_CONF_SERVER"):
            await running
    else:
        await fake_bench.until(lambda: "Could not establish a configuration source); looking for it" in fake_bench.log)
        fake_slurm.sbatch_error = ""
        assert (await running).error is None


async def test_a_controller_that_is_away_is_asked_less_and_less_often_and_told_once(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(min(seconds, 0.02))

    monkeypatch.setattr(asyncio, "sleep", rest)
    fake_slurm.is_down = True
    running = asyncio.create_task(fake_bench.conduct(make_request("true")))
    await fake_bench.until(lambda: pauses.count(patient.LONGEST_PAUSE) > 1)
    assert [pause for pause in pauses if pause >= patient.FIRST_PAUSE][:6] == [1, 2, 4, 8, 16, 30]
    assert fake_bench.log.count("it is not known yet whether the job was submitted") == 1
    fake_slurm.is_down = False
    assert (await running).error is None
    assert len(fake_slurm.jobs) == 1


async def test_a_change_that_comes_together_with_new_log_text_is_told(
    fake_slurm: FakeSlurm, fake_bench: Bench, make_request: MakeRequest
) -> None:
    request = make_request("true")
    fake_slurm.outcomes = [["RUNNING"]]
    running = await fake_bench.begun(request)
    job = fake_slurm.jobs[1]
    for reason, words in (
        ("BeginTime", "PENDING (BeginTime: its start time has not come)"),
        ("launch failed requeued held", "release it with `scontrol release 1`"),
        ("JobHeldUser", "its owner holds it; release it with `scontrol release 1`"),
        ("JobHeldAdmin", "an administrator holds it, and can release it with `scontrol release 1`"),
    ):
        with (fake_bench.key_dir(request) / "job.log").open("a") as log:
            job.states, job.reason = ["PENDING"], reason
            log.write(f"more for {reason}\n")
        await fake_bench.until(lambda r=reason: f"more for {r}" in fake_bench.log)  # type: ignore[misc]
        await fake_bench.until(lambda w=words: w in fake_bench.log)  # type: ignore[misc]
    job.states = ["CANCELLED"]
    assert type((await running).error) is errors.JobCancelled


async def test_an_element_that_is_held_is_told_while_others_run(
    fake_slurm: FakeSlurm, fake_bench: Any, make_request: MakeRequest
) -> None:
    fake_slurm.outcomes = [["RUNNING"], ["RUNNING"]]
    running = await fake_bench.begun(make_request("true", array=array_of([*"ab"])))
    fake_slurm.jobs[2].states, fake_slurm.jobs[2].reason = ["PENDING"], "launch failed requeued held"
    await fake_bench.until(lambda: "1 running · 1 pending (PENDING (launch failed requeued held:" in fake_bench.log)
    for job in fake_slurm.jobs.values():
        job.states = ["CANCELLED"]
    assert type((await running).error) is errors.JobCancelled


async def test_slurms_programs_that_are_on_no_path_are_named_with_the_field_for_them(
    tmp_path: Path, make_request: MakeRequest
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (
        "sh",
        "awk",
        "cat",
        "date",
        "head",
        "id",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "sed",
        "sort",
        "stat",
        "timeout",
        "touch",
        "tr",
        "wc",
        "xargs",
        "ln",
        "flock",
        "ls",
        "cp",
        "chmod",
        "hostname",
        "env",
    ):
        (programs / name).symlink_to(shutil.which(name) or name)
    bench = bench_of(LocalTransport({"PATH": str(programs), "HOME": str(tmp_path)}), tmp_path / "work")
    with pytest.raises(errors.SubmissionRefused, match=r"sbatch cannot be run on main .*`path` of the connection"):
        await bench.conduct(make_request("true"))
    with pytest.raises(errors.CommandFailed, match=r"squeue on main failed with status 127.*`path` of the connection"):
        await bench.client.queue()
