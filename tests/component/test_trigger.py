"""The trigger, the hook and the shared session, on a real cluster; Airflow's answers are given where they must vary."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager
from airflow.triggers.base import TaskSuccessEvent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hotswap_airflow.cluster.jobs.outcome import JobListener, JobListeners
from hotswap_airflow.cluster.watch.foreign_job import ForeignJobWatch
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import ConnectionLost, SetupError
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.hooks.slurm import SlurmHook
from hotswap_airflow.operators.slurm import SMALL_ENOUGH, SlurmJobOperator
from hotswap_airflow.slurm.array_state import Tally
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest, Output
from hotswap_airflow.slurm.states import JobStatus
from hotswap_airflow.testing.login_node import HOST, LoginNode
from hotswap_airflow.testing.sandbox import Sandbox
from hotswap_airflow.triggers import conductors, events, job, progress, telemetry
from hotswap_airflow.triggers.foreign_job import AwaitJobTrigger
from hotswap_airflow.triggers.job import SlurmJobTrigger

MakeRequest = Callable[..., JobRequest]
GATE = "while [ ! -e go ]; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, slurm_sandbox: Sandbox) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_MAIN", slurm_sandbox.connection_uri("main"))
    monkeypatch.setattr(events, "RESUME_DELAY", 0.5)


@pytest.fixture
def make_trigger(tmp_path: Path) -> Callable[..., SlurmJobTrigger]:
    def make(request: JobRequest, **changes: Any) -> SlurmJobTrigger:
        where = {"connection": changes.pop("connection", "slurm_main"), "monitor": changes.pop("monitor", "")}
        target = ClusterTarget(**where, workdir=changes.pop("workdir", str(tmp_path / "work")))
        settings: dict[str, Any] = {"target": target.to_json(), "asked": "1 0"}
        settings |= {"key": request.key.to_json(), "request": request.to_json(), "store": str(tmp_path)}
        return SlurmJobTrigger(**{**settings, **changes})

    return make


async def _event(trigger: Any) -> Any:
    async with asyncio.timeout(90):
        return await anext(aiter(trigger.run()))


def _still_shared() -> bool:
    return any(shared._entries for shared in (conductors._accounts, conductors._watchers, conductors._sessions))


async def test_a_success_ends_the_task_in_the_trigger(make_trigger: Any, make_request: MakeRequest) -> None:
    assert isinstance(await _event(make_trigger(make_request("true"))), TaskSuccessEvent)
    assert not _still_shared()


async def test_what_resumes_does_so_not_too_soon(make_trigger: Any, make_request: MakeRequest) -> None:
    began = time.monotonic()
    event = await _event(make_trigger(make_request("true"), resumes=True, workdir="/proc/nowhere"))
    assert event.payload["error"] == "CommandFailed"
    assert time.monotonic() - began >= events.RESUME_DELAY
    event = await _event(make_trigger(make_request("true"), resumes=True))
    assert event.payload == {"error": None}


async def test_a_failure_is_told_with_how_many_were_before_it(make_trigger: Any, make_request: MakeRequest) -> None:
    event = await _event(make_trigger(make_request("exit 7")))
    assert event.payload == {
        "error": "JobFailed",
        "message": "job fit failed with exit status 7; see its log",
        "failed_before": 0,
    }


async def test_a_missing_content_fails_with_its_remedy(make_trigger: Any, make_request: MakeRequest) -> None:
    event = await _event(make_trigger(make_request("true"), pack="0" * 64))
    assert event.payload["error"] == "StoreError"
    assert "set [hotswap] store_path to one persistent folder" in event.payload["message"]


async def test_what_only_a_person_can_mend_is_told_at_once_and_jobs_wait_for_it(
    make_trigger: Any,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ssh_login_node: LoginNode,
) -> None:
    event = await _event(make_trigger(make_request("true"), connection="slurm_nowhere"))
    assert event.payload["error"] == "SetupError"
    assert "there is no connection slurm_nowhere" in event.payload["message"]
    (tmp_path / "known_hosts").touch()
    node = ssh_login_node
    uri = f"slurm://{node.user}@127.0.0.1:{node.port}/?key_file={node.key}&known_hosts={tmp_path}/known_hosts"
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_MAIN", uri)
    trigger = make_trigger(make_request("true"))
    lines: list[str] = []
    monkeypatch.setattr(trigger, "_report", lines.append)
    running = asyncio.create_task(_event(trigger))
    async with asyncio.timeout(90):
        while not any("paused until a person acts: the host key of slurm_main" in line for line in lines):
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_deadline_cancels_the_job(make_trigger: Any, make_request: MakeRequest, slurm_sandbox: Sandbox) -> None:
    request = make_request("while true; do sleep 0.1; done")
    event = await _event(make_trigger(request, deadline=time.time() + 4))
    assert event.payload["error"] == "JobTimedOut"
    assert request.key.job_name not in slurm_sandbox.clusters[0].run("squeue", "-h", "-t", "R,PD", "-o", "%j")


@pytest.mark.parametrize(
    ("states", "is_left"),
    [
        (["deferred"], True),
        (["failed"], False),
        (["removed"], False),
        ([TimeoutError(), "failed"], False),
        ([TimeoutError()], True),
    ],
)
async def test_on_kill_cancels_only_where_the_task_is_over(
    states: list[str | Exception],
    is_left: bool,
    make_trigger: Any,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    slurm_sandbox: Sandbox,
) -> None:
    answers = AsyncMock(side_effect=states)
    monkeypatch.setattr(job, "task_state", answers)
    monkeypatch.setattr(job, "_STATE_QUESTIONS", len(states))
    request = make_request(GATE, job="killed")
    trigger = make_trigger(request)
    running = asyncio.create_task(_event(trigger))
    cluster = slurm_sandbox.clusters[0]

    def is_queued() -> bool:
        return request.key.job_name in cluster.run("squeue", "-h", "-t", "R,PD", "-o", "%j")

    async with asyncio.timeout(90):
        while not is_queued():
            await asyncio.sleep(0.1)
    await trigger.on_kill()
    assert is_queued() is is_left
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    cluster.run("scancel", f"--name={request.key.job_name}")


async def test_triggers_of_a_connection_share_one_session(
    make_trigger: Any, make_request: MakeRequest, tmp_path: Path
) -> None:
    workdir = str(tmp_path / "work")
    target = ClusterTarget("slurm_main", workdir)
    async with conductors.shared_conductor(target) as one:
        found = await asyncio.gather(*(_event(make_trigger(make_request("true", job=f"j{n}"))) for n in range(5)))
        assert all(isinstance(event, TaskSuccessEvent) for event in found)
        async with conductors.shared_conductor(target) as other:
            assert other is one
        async with conductors.shared_conductor(ClusterTarget("slurm_main", f"{workdir}/other")) as other:
            assert other.watcher is one.watcher
            assert other.client.transport is one.client.transport
    assert not _still_shared()


async def test_a_sensor_may_poll_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    polled: list[int] = []

    async def poll_once(_: object) -> list[JobStatus]:
        polled.append(1)
        return [JobStatus("RUNNING" if len(polled) < 3 else "COMPLETED")]

    monkeypatch.setattr(ForeignJobWatch, "poll_once", poll_once)
    target = ClusterTarget("slurm_main").to_json()
    trigger = AwaitJobTrigger(target=target, deadline=time.time() + 60, interval=0.0, job_id=7)
    assert isinstance(await _event(trigger), TaskSuccessEvent)
    assert len(polled) == 3


def test_triggers_are_written_small_and_read_again(make_trigger: Any, make_request: MakeRequest) -> None:
    made = make_trigger(make_request("echo hello"))
    path, kwargs = made.serialize()
    assert path.endswith(type(made).__qualname__)
    assert type(made)(**kwargs).serialize() == made.serialize()
    assert len(str(kwargs)) < 2048
    sensor = AwaitJobTrigger(target=ClusterTarget("c").to_json(), deadline=1.0, interval=1.0, job_name="x")
    assert AwaitJobTrigger(**sensor.serialize()[1]).serialize() == sensor.serialize()


def test_a_success_ends_in_a_worker_where_somebody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Listener:
        @hookimpl
        def on_task_instance_success(self, previous_state: object, task_instance: object) -> None:
            """Hears how a task ends."""

    monkeypatch.setenv("AIRFLOW__HOTSWAP__STORE_PATH", str(tmp_path))
    operator = SlurmJobOperator(task_id="a", command="true")

    def ends_in_worker(finish_in: str) -> bool:
        monkeypatch.setenv("AIRFLOW__HOTSWAP__FINISH_IN", finish_in)
        return operator._ends_in_worker(airflow_settings())

    assert [ends_in_worker(where) for where in ("auto", "trigger", "worker")] == [False, False, True]
    listener = Listener()
    get_listener_manager().add_listener(listener)
    try:
        assert [ends_in_worker(where) for where in ("auto", "trigger", "worker")] == [True, False, True]
    finally:
        get_listener_manager().pm.unregister(listener)
    with pytest.raises(SetupError, match="finish_in is 'here'; use auto, trigger or worker"):
        ends_in_worker("here")


async def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def push(key: str, value: Any) -> None:
        told.append(f"{key}: {value['text']}")
        if len(told) == 1:
            raise TimeoutError

    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    async with progress.progress_of(push) as heard:
        for done in range(100):
            heard.seen(JobStatus("RUNNING"), Tally(done=done))
            await asyncio.sleep(0.002)
        heard.seen(JobStatus("COMPLETED"), Tally(done=100))
    assert 2 < len(told) < 20
    assert told[-1] == "hotswap_progress: 100 done · 0 failed · 0 running · 0 pending"


def test_the_button_of_a_connection(monkeypatch: pytest.MonkeyPatch, slurm_sandbox: Sandbox) -> None:
    ok, said = SlurmHook("slurm_main").test_connection()
    assert (ok, said.startswith("slurm")) == (True, True)
    conf = slurm_sandbox.clusters[0].conf
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_HERE", f"slurm://?transport=local&slurm_conf={conf}")
    assert SlurmHook("slurm_here").test_connection()[0]
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_MAIN", "slurm://ann@127.0.0.1:1/")
    assert SlurmHook("slurm_main").test_connection() == (
        False,
        "slurm_main cannot be reached: [Errno 111] Connect call failed ('127.0.0.1', 1)",
    )
    assert "there is no connection nowhere" in SlurmHook("nowhere").test_connection()[1]


async def test_a_node_behind_another_is_reached_as_the_users_configuration_says(
    own_login_node: LoginNode, ssh_login_node: LoginNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jump, inner = own_login_node, ssh_login_node
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host inner\n  HostName {HOST}\n  Port {inner.port}\n  ProxyJump outer\n"
        f"Host outer\n  HostName {HOST}\n  Port {jump.port}\n  User {jump.user}\n"
        f"  IdentityFile {jump.key}\n  UserKnownHostsFile {jump.known_hosts}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    extra = {"key_file": str(inner.key), "known_hosts": str(inner.known_hosts)}
    connection = {"conn_type": "slurm", "host": "inner", "port": inner.port, "login": inner.user, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SLURM_INNER", json.dumps(connection))
    client = await SlurmHook("slurm_inner", str(tmp_path / "work")).client()
    assert (await client.probe()).user == inner.user
    await client.transport.close()
    jump.stop()
    with pytest.raises(ConnectionLost, match="slurm_inner cannot be reached"):
        await client.probe()


@pytest.mark.parametrize("name", ["a b", "x;id", "", "SLURM_CONF", "HOTSWAP_OUTPUT", "é"])
def test_no_name_of_a_variable_becomes_shell(name: str) -> None:
    operator = SlurmJobOperator(task_id="a", command="true", env={name: "1"})
    with pytest.raises(SetupError, match="cannot be a variable of a job"):
        operator.make_request({"ti": SimpleNamespace(try_number=1)}, JobKey(RunKey("i", "w", "e", "r", "n"), "a"))  # type: ignore[typeddict-item]


def test_numbers_of_templates_are_numbers() -> None:
    asked = {"cpus-per-task": "4", "nice": "-5", "requeue": "False", "exclusive": "True", "mem": "2G", "nodes": "2-4"}
    request = SlurmJobOperator(task_id="a", command="true", slurm=asked).make_request(
        {"ti": SimpleNamespace(try_number=1)},  # type: ignore[typeddict-item]
        JobKey(RunKey("i", "w", "e", "r", "n"), "a"),
    )
    assert dict(request.options) == {
        "cpus-per-task": "4", "nice": "-5", "requeue": "no", "exclusive": "", "mem": "2G", "nodes": "2-4"
    }  # fmt: skip


class Recorder:
    """A receiver of metrics that keeps them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []
        self.counts: list[int] = []

    def incr(self, stat: str, count: int = 1, *_: Any, tags: Any = None, **__: Any) -> None:
        self.told.append(("counter", stat, tags))
        self.counts.append(count)

    def timing(self, stat: str, *_: Any, tags: Any = None) -> None:
        self.told.append(("timer", stat, tags))

    def gauge(self, stat: str, *_: Any, tags: Any = None, **__: Any) -> None:
        self.told.append(("gauge", stat, tags))


async def test_a_job_is_seen_from_outside_by_metrics_and_spans_of_its_task(
    make_trigger: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setitem(telemetry.stats.incr.__globals__, "_backend", recorder)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("hotswap_airflow"))
    with provider.get_tracer("airflow").start_as_current_span("trigger.fit") as task:
        assert isinstance(await _event(make_trigger(make_request("true"))), TaskSuccessEvent)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    ours = [spans[name] for name in ("hotswap.submit", "hotswap.wait", "hotswap.run")]
    assert {span.context.trace_id for span in ours} == {task.get_span_context().trace_id}
    assert [span.end_time for span in ours[:2]] == [span.start_time for span in ours[1:]]
    assert ours[2].attributes["state"] == "COMPLETED"
    tags = {"cluster": "slurm_main"}
    for told in (
        ("counter", telemetry.SUBMITTED, tags),
        ("timer", telemetry.WAIT, tags),
        ("timer", telemetry.RUN, tags),
        ("counter", telemetry.ENDED, {**tags, "state": "COMPLETED"}),
        ("timer", telemetry.POLL, tags),
        ("gauge", telemetry.WATCHED, tags),
    ):
        assert told in recorder.told


def test_an_array_tells_its_own_elements_and_not_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(telemetry.stats.incr.__globals__, "_backend", recorder)
    noted: list[Tally | None] = []

    class Other(JobListener):
        def seen(self, status: JobStatus, tally: Tally | None) -> None:  # noqa: ARG002
            noted.append(tally)

    heard = JobListeners(telemetry.JobTelemetry("slurm_main"), Other())
    heard.placed(7, is_new=False)
    for status, tally in (
        (JobStatus("PENDING"), Tally(done=5, pending=3)),
        (JobStatus("UNREACHABLE"), None),
        (JobStatus("FAILED"), Tally(done=7, failed=1)),
    ):
        heard.seen(status, tally)
    assert noted == [Tally(done=5, pending=3), None, Tally(done=7, failed=1)]
    assert recorder.counts[-2:] == [2, 1]
    assert [(kind, stat) for kind, stat, _ in recorder.told] == [
        ("timer", telemetry.WAIT),
        ("timer", telemetry.RUN),
        ("counter", telemetry.ENDED),
        ("counter", telemetry.ELEMENTS),
        ("counter", telemetry.ELEMENTS),
    ]
    telemetry.polled("slurm_main", 1.0, 3, answered=False)
    assert recorder.told[-1] == ("counter", telemetry.UNREACHABLE, {"cluster": "slurm_main"})


async def test_a_value_is_told_as_often_as_it_takes(
    make_trigger: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def take(*, key: str, value: Any, **_: Any) -> None:
        told.append((key, value))
        if len(told) < 3:
            raise TimeoutError("Airflow is slow")

    monkeypatch.setattr(job.XCom, "set", take)
    request = make_request("echo v=7 >> $HOTSWAP_OUTPUT", outputs=(Output("v", "integer"),))
    assert isinstance(await _event(make_trigger(request)), TaskSuccessEvent)
    assert told == [("return_value", {"v": 7})] * 3


async def test_a_job_without_outputs_calls_airflow_only_with_its_end(
    make_trigger: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def called(*_: object, **__: object) -> None:
        raise AssertionError("a call to Airflow")

    for name in ("aset", "aget_one", "set", "get_one"):
        monkeypatch.setattr(job.XCom, name, called)
    script = "\n".join(
        f"echo 'step {number} of a script that is a bit longer than a line' >> log" for number in range(80)
    )
    request = make_request(script)
    text = request.to_text()
    assert len(script) > 3 * SMALL_ENOUGH > 3 * len(text)
    assert JobRequest.from_text(text) == request
    trigger = make_trigger(request)
    trigger.request = text
    assert isinstance(await _event(trigger), TaskSuccessEvent)
