"""One contract for every transport, and for the double as for the real cluster."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.jobs import conductor
from hotswap_airflow.cluster.upkeep.reconciliation import owned_jobs
from hotswap_airflow.cluster.watch.foreign_job import ForeignJobWatch, SoughtJob
from hotswap_airflow.cluster.watch.watched_job import Interval
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.request import Input, JobRequest, Output
from hotswap_airflow.slurm.retry import WHEN_ASKED
from hotswap_airflow.slurm.states import Phase

MakeRequest = Callable[..., JobRequest]


async def _lay_out(bench: Any, request: JobRequest, pack: str = "", files: dict[str, bytes] | None = None) -> None:
    def archive() -> AsyncIterator[bytes]:
        return _tar(files or {})

    await bench.conductor.lay_out(request.key.run.folder, pack, archive, bench.lines.append)


async def _tar(files: dict[str, bytes]) -> AsyncIterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    yield buffer.getvalue()


async def _conduct(bench: Any, request: JobRequest, asked: str = "1 0") -> Any:
    await _lay_out(bench, request)
    async with asyncio.timeout(90):
        return await bench.conductor.conduct(request, asked, bench.lines.append)


async def test_a_job_runs_and_its_log_and_values_come_back(bench: Any, make_request: MakeRequest) -> None:
    text = 'echo "grüße $PARAM_X"; echo rmse=0.5 >> $HOTSWAP_OUTPUT; echo data > "$OUTPUT_F"'
    request = make_request(
        text,
        variables=(("PARAM_X", "'\"; touch x; $(id) \n"),),
        outputs=(Output("rmse", "number"), Output("f", "file", "o/f")),
    )
    outcome = await _conduct(bench, request)
    assert outcome.error is None
    assert outcome.status.phase is Phase.SUCCEEDED
    assert outcome.values == {"rmse": 0.5, "f": f"{bench.run_dir(request)}/o/f"}
    assert "grüße '\"; touch x; $(id)" in bench.log
    assert f"submitted Slurm job {outcome.job_id} on main" in bench.log
    assert sorted(path.name for path in bench.run_dir(request).iterdir()) == [".hotswap-run", "o"]


async def test_a_failure_has_its_exit_status(bench: Any, make_request: MakeRequest) -> None:
    outcome = await _conduct(bench, make_request("echo before; exit 3"))
    assert type(outcome.error) is errors.JobFailed
    assert "exit status 3" in str(outcome.error)
    assert "before" in bench.log


async def test_a_missing_output_is_named(bench: Any, make_request: MakeRequest) -> None:
    outcome = await _conduct(bench, make_request("true", outputs=(Output("f", "file", "f"),)))
    assert type(outcome.error) is errors.OutputMissing
    assert "the declared output f was not made" in str(outcome.error)
    other = make_request("true", job="other", outputs=(Output("v", "integer"),))
    assert "output `v` was not written" in str((await _conduct(bench, other)).error)
    third = make_request("true", job="third", inputs=(Input("i", "gone"),))
    assert "the declared input i is missing" in str((await _conduct(bench, third)).error)


async def test_the_same_key_is_one_job_however_often_it_is_asked_for(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("echo ran >> ran; sleep 1")
    await _lay_out(bench, request)
    found = await asyncio.gather(
        *(bench.conductor.submitter("1 0", bench.lines.append).submit_once(request) for _ in range(5))
    )
    assert len({one.job_id for one in found}) == 1
    assert sum(one.is_new for one in found) == 1
    outcome = await _conduct(bench, request)
    assert outcome.error is None
    assert (bench.run_dir(request) / "ran").read_text() == "ran\n"


async def test_an_end_is_told_again_until_a_try_that_may_run_the_job_anew(
    bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("echo x >> ran; exit 1")
    first = await _conduct(bench, request, "1 0")
    for asked in ("1 0", "2 0"):  # of the second we know only that the first may not have been heard
        again = await _conduct(bench, request, asked)
        assert (again.job_id, type(again.error)) == (first.job_id, errors.JobFailed)
    retried = await _conduct(bench, replace(request, retry=WHEN_ASKED), "3 0")
    assert retried.job_id != first.job_id
    assert retried.key.generation == 1
    assert (bench.run_dir(request) / "ran").read_text() == "x\nx\n"


async def test_a_clear_cancels_what_an_older_epoch_left(bench: Any, make_request: MakeRequest) -> None:
    old = make_request("sleep 60")
    await _lay_out(bench, old)
    await bench.conductor.submitter("1 0", bench.lines.append).submit_once(old)
    new = replace(old, key=replace(old.key, epoch=2), text="echo new")
    outcome = await _conduct(bench, new, "2 2")
    assert outcome.error is None
    assert "cancelling 1 job(s) of earlier runs" in bench.log
    queue, _ = await bench.client.status([])
    (left,) = [row.status.state for row in queue if row.name == old.key.job_name]
    # where its script began between the mark of its cancel and scancel, it ended itself for the mark
    began_late = left == "FAILED" and (bench.key_dir(old) / "reason").read_text() == "cancelled\n"
    assert left in {"CANCELLED", "COMPLETING"} or began_late


async def test_a_cancelled_job_leaves_the_queue_and_is_never_submitted_again(
    bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("sleep 60")
    await _lay_out(bench, request)
    waiting = asyncio.create_task(bench.conductor.conduct(request, "1 0", bench.lines.append))
    while "submitted" not in bench.log:
        await asyncio.sleep(0.02)
    await bench.conductor.cancel(request.key, bench.lines.append)
    outcome = await asyncio.wait_for(waiting, 30)
    assert type(outcome.error) is errors.JobCancelled
    late = make_request("sleep 60", job="late")
    await bench.client.cancel([(late.key.digest, late.key.job_name)])
    assert (await bench.conductor.submitter("1 0", bench.lines.append).submit_once(late)).is_cancelled


@pytest.fixture
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a run is asked for each time, not only once in a while."""
    monkeypatch.setattr(conductor, "READY_FOR", 0.0)


@pytest.mark.usefixtures("asked_anew")
async def test_a_runs_folder_is_made_once_with_its_files(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("fit/go && echo changed > fit/go")
    files = {"fit/go": b"#!/bin/bash\necho from the pack\n", "fit/data": b"1"}
    await _lay_out(bench, request, "p1", files)
    assert "sending the workflow's files to main" in bench.log
    bench.lines.clear()
    other = replace(request, key=replace(request.key, run=replace(request.key.run, run="two")))
    await _lay_out(bench, other, "p1", files)
    assert bench.log == ""
    outcome = await bench.conductor.conduct(request, "1 0", bench.lines.append)
    assert outcome.error is None
    assert "from the pack" in bench.log
    await _lay_out(bench, request, "p1", files)
    assert (bench.run_dir(request) / "fit/go").read_text() == "changed\n"
    assert (bench.run_dir(other) / "fit/go").read_bytes() == files["fit/go"]


async def test_jobs_that_begin_together_send_the_files_once(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("true")
    others = [replace(request, key=replace(request.key, run=replace(request.key.run, run=name))) for name in "abc"]
    await asyncio.gather(*(_lay_out(bench, one, "p3", {"data": b"1"}) for one in others))
    assert bench.log.count("sending the workflow's files") == 1
    assert [(bench.run_dir(one) / "data").read_text() for one in others] == ["1", "1", "1"]


async def test_the_jobs_of_a_run_ask_for_its_folder_together(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("true")
    await _lay_out(bench, request, "p2", {"data": b"1"})
    (bench.run_dir(request) / ".hotswap-run").unlink()
    await _lay_out(bench, request, "p2", {})
    assert not (bench.run_dir(request) / ".hotswap-run").exists()


@pytest.mark.usefixtures("asked_anew")
async def test_a_newer_versions_files_are_laid_over_those_of_the_run_once(
    bench: Any, make_request: MakeRequest
) -> None:
    request = make_request("true")
    run = bench.run_dir(request)
    await _lay_out(bench, request, "old", {"fit/go": b"old", "fit/data": b"1"})
    (run / "made").write_text("by a job")
    await _lay_out(bench, request, "new", {"fit/go": b"new", "more/it's": b"2"})
    assert [(run / name).read_text() for name in ("fit/go", "fit/data", "more/it's", "made")] == [
        "new", "1", "2", "by a job"
    ]  # fmt: skip
    (run / "fit/go").write_text("changed")
    for pack in ("new", "old"):  # a job that began before is tried again
        await _lay_out(bench, request, pack, {})
        assert (run / "fit/go").read_text() == "changed"
    assert not [path for path in run.rglob("*") if "hotswap-" in path.name and path.name != ".hotswap-run"]


async def test_an_option_slurm_does_not_take_is_a_refusal(bench: Any, make_request: MakeRequest, request: Any) -> None:
    if "fake" in request.node.name:
        request.getfixturevalue("fake_slurm").refusal = "Invalid partition name specified"
    bad = make_request("true", options=(("partition", "nowhere"),))
    await _lay_out(bench, bad)
    for _ in range(2):
        with pytest.raises(errors.SubmissionRefused, match=r"[Ii]nvalid partition name specified"):
            await bench.conductor.submitter("1 0", bench.lines.append).submit_once(bad)


async def test_a_work_folder_that_cannot_be_made_is_named(bench: Any, make_request: MakeRequest) -> None:
    bench.workdir.parent.mkdir(exist_ok=True)
    bench.workdir.write_text("a file is in the way")
    with pytest.raises(errors.CommandFailed, match="the work folder cannot be made"):
        await bench.conductor.submitter("1 0", bench.lines.append).submit_once(make_request("true"))


async def test_a_long_log_is_cut_with_a_pointer_and_a_burst_of_lines_is_one_record(
    bench: Any, make_request: MakeRequest
) -> None:
    outcome = await _conduct(bench, make_request("head -c 300000 /dev/zero | tr '\\0' 'x'; echo; echo the end"))
    assert outcome.error is None
    assert "the end" in bench.log
    left_out = [line for line in bench.lines if "bytes left out here; the whole log: main:" in line]
    assert len(left_out) >= 1
    assert max(map(len, bench.lines)) <= 64 * 1024
    assert len(bench.lines) < 20


async def test_files_whose_sending_was_cut_are_sent_whole_again(
    fake_bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, send_pack, lost = make_request("true"), fake_bench.client.send_pack, []

    async def cut_once(pack: str, archive: Any) -> None:
        if not lost:
            lost.extend([chunk async for chunk in archive])
            raise errors.ConnectionLost("cut")
        await send_pack(pack, archive)

    monkeypatch.setattr(fake_bench.client, "send_pack", cut_once)
    await _lay_out(fake_bench, request, "cut", {"data": b"1"})
    assert lost
    assert (fake_bench.run_dir(request) / "data").read_bytes() == b"1"


async def test_a_job_is_found_by_id_name_or_key(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("while [ ! -e go ]; do sleep 0.1; done; exit 3")
    key = SoughtJob(key=request.key.digest)
    assert await ForeignJobWatch(bench.client, key).poll_once() == []
    waiting = asyncio.create_task(_conduct(bench, request))
    await bench.until(lambda: "RUNNING" in bench.log)
    job_id = int((bench.key_dir(request) / "id").read_text())
    ways = (key, SoughtJob(job_id=job_id), SoughtJob(name=request.key.job_name))
    searches = [ForeignJobWatch(bench.client, sought) for sought in ways]
    for search in searches:
        assert [status.state for status in await search.poll_once()] == ["RUNNING"]
    (bench.run_dir(request) / "go").touch()
    await waiting
    for search in searches:
        (status,) = await search.poll_once()
        assert status.phase is Phase.FAILED
    assert await ForeignJobWatch(bench.client, SoughtJob(job_id=999_999)).poll_once() == []
    # Together, in a round trip of all: an id that Slurm does not know spoils nothing.
    many = [ForeignJobWatch(bench.client, sought) for sought in (*ways[1:], SoughtJob(job_id=999_999))]
    states = await asyncio.gather(*(search.poll_once() for search in [*many, *many]))
    assert [[status.phase for status in found] for found in states] == [[Phase.FAILED], [Phase.FAILED], []] * 2
    assert await ForeignJobWatch(bench.client, SoughtJob(name="nobody's")).poll_once() == []


async def test_an_installation_knows_its_active_jobs(bench: Any, make_request: MakeRequest) -> None:
    request = make_request("while [ ! -e go ]; do sleep 0.1; done", job="owned")
    assert request.key not in [job.key for job in await owned_jobs(bench.client, "test")]
    waiting = asyncio.create_task(_conduct(bench, request))
    await bench.until(lambda: "RUNNING" in bench.log)
    assert (request.key.job_name, request.key) in [(j.name, j.key) for j in await owned_jobs(bench.client, "test")]
    assert await owned_jobs(bench.client, "tes") == []
    (bench.run_dir(request) / "go").touch()
    await waiting
    assert request.key not in [job.key for job in await owned_jobs(bench.client, "test")]


@pytest.mark.parametrize(
    "sought",
    [
        SoughtJob(),
        SoughtJob(1, "a"),
        SoughtJob(name="a,b"),
        SoughtJob(name="a\nb"),
        SoughtJob(key="../x"),
        SoughtJob(name=""),
    ],
)
def test_what_is_sought_must_be_one_job(sought: SoughtJob) -> None:
    with pytest.raises(errors.SetupError):
        sought.check()


async def test_an_end_that_a_job_tells_is_noticed_before_the_next_poll(
    bench: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.client.has_push = True
    text = "while [ ! -e go ]; do sleep 0.1; done"
    requests = [make_request(text), make_request(text, job="sweep", array=Array(("v",), (("1",), ("2",))))]
    running = [asyncio.create_task(_conduct(bench, request)) for request in requests]
    await bench.until(lambda: "RUNNING" in bench.log and "2 running" in bench.log)
    monkeypatch.setattr(bench.conductor.watcher, "interval", Interval(1000, 1000, 1000, hinted=0.2))
    (bench.run_dir(requests[0]) / "go").touch()
    outcomes = await asyncio.gather(*running)
    assert [outcome.error for outcome in outcomes] == [None, None]
