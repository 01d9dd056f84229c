"""The trigger of one job: it does everything that touches the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import HotswapError, JobTimedOut, StoreError
from hotswap_airflow.file_store.contents import ContentStore, kept_archive
from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.slurm.identity import JobKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.triggers.events import error_payload, resuming
from hotswap_airflow.triggers.progress import progress_of
from hotswap_airflow.triggers.task_states import ENDED, LOOK_UP_LIMIT, task_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.cluster.jobs.outcome import JobListener, Outcome
    from hotswap_airflow.triggers.progress import Progress

REQUEST_KEY = "hotswap_request"
_CANCEL_LIMIT = 60.0
_STATE_QUESTIONS = 5
_endings: set[asyncio.Future[None]] = set()


class SlurmJobTrigger(BaseTrigger):
    """Find or submit a job, watch it, and end the task or let it resume.

    ``key`` is the job key as text. ``request`` is the job as text, or None if it is in the task's XCom. ``asked`` is
    the attempt: ``<try number> <epoch>``. ``pack`` is the digest of the workflow's files, ``store`` the store's folder.
    ``resumes`` is set if a worker must end the task even after a success, for example because of assets. ``deadline``
    is a time in seconds since 1970 after which the job is cancelled. ``target`` is a ``ClusterTarget`` as plain values.
    """

    def __init__(  # noqa: PLR0913 - each is a value of the trigger's row in the database
        self,
        *,
        target: Mapping[str, Any],
        key: str,
        request: str | None,
        asked: str,
        pack: str = "",
        store: str = "",
        resumes: bool = False,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target = ClusterTarget.from_json(target)
        self.key = JobKey.from_json(key)
        self.request = request
        self.asked = asked
        self.pack = pack
        self.store = store
        self.resumes = resumes
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The plain values that the trigger is made of; the request only if it is small."""
        kwargs = {
            "target": self.target.to_json(),
            "key": self.key.to_json(),
            "request": self.request,
            "asked": self.asked,
            "pack": self.pack,
            "store": self.store,
            "resumes": self.resumes,
            "deadline": self.deadline,
        }
        return "hotswap_airflow.triggers.job.SlurmJobTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Conduct the job to its end, then end the task or let it resume."""
        started = time.monotonic()
        try:
            request = await self._request()
            outcome = await self._conduct(request)
        except HotswapError as error:
            yield await resuming(started, error_payload(error))
            return
        if outcome.values:
            await self._push_values(outcome.values)
        if outcome.error is not None:
            yield await resuming(started, {**error_payload(outcome.error), "failed_before": outcome.failed_before})
        elif self.resumes:
            yield await resuming(started, {"error": None})
        else:
            yield TaskSuccessEvent()

    async def _request(self) -> JobRequest:
        text = self.request
        while text is None:
            with contextlib.suppress(TimeoutError):  # after a fail-over many triggers request at once, so try again
                async with asyncio.timeout(LOOK_UP_LIMIT):
                    found: Any = await self._xcom(XCom.aget_one, XCom.get_one)(key=REQUEST_KEY, **self._ids)
                    text = str(found)
        return JobRequest.from_text(text)

    async def _conduct(self, request: JobRequest) -> Outcome:
        # A worker, which only stores the trigger, does not need these imports, and they cost time in each task.
        from hotswap_airflow.hooks.secrets import read_secrets
        from hotswap_airflow.triggers.conductors import shared_conductor
        from hotswap_airflow.triggers.telemetry import JobTelemetry

        if request.secrets:
            request = replace(request, secret_values=await read_secrets(request.secrets))
        async with shared_conductor(self.target) as conductor:
            if request.array is None:
                return await self._in_time(conductor, request, JobTelemetry(self.target.connection))
            async with progress_of(self._push) as progress:
                outcome = await self._in_time(conductor, request, JobTelemetry(self.target.connection), progress)
                return await self._kept(outcome, progress)

    async def _in_time(self, conductor: JobConductor, request: JobRequest, *listeners: JobListener) -> Outcome:
        try:
            async with asyncio.timeout(None if self.deadline is None else self.deadline - time.time()):
                conduct = partial(self._from_its_folder, conductor, request, *listeners)
                return await conductor.while_queued(request.key, conduct, self._report)
        except TimeoutError:
            self._report("the task's execution_timeout is over; cancelling the job")
            error = JobTimedOut(f"job {request.key.job} was not done within the task's execution_timeout")
            with contextlib.suppress(TimeoutError):  # the reconciliation cancels later what cannot be cancelled now
                async with asyncio.timeout(_CANCEL_LIMIT):
                    return await conductor.time_out(request.key, self.asked, error, self._report)
            raise error from None

    async def _from_its_folder(self, conductor: JobConductor, request: JobRequest, *listeners: JobListener) -> Outcome:
        await self._lay_out(conductor, request)
        return await conductor.conduct(request, self.asked, self._report, *listeners)

    async def _kept(self, outcome: Outcome, progress: Progress) -> Outcome:
        """A sweep's outcome. Its table is written to the store, and long values become pointers into the table."""
        if not outcome.table:
            return outcome
        results = ResultStore(Path(self.store))
        try:
            progress.table = await asyncio.to_thread(results.write, outcome.key, outcome.table)
        except StoreError as error:
            self._report(f"the table of the elements cannot be stored: {error}")
            return outcome
        progress.seen(outcome.status, outcome.tally)
        values = await asyncio.to_thread(results.shortened, progress.table, outcome.values)
        return replace(outcome, values=values)

    async def _lay_out(self, conductor: JobConductor, request: JobRequest) -> None:
        stream = partial(kept_archive, self.pack, ContentStore(Path(self.store)))
        await conductor.lay_out(request.key.run.folder, self.pack, stream, self._report)

    def _report(self, line: str) -> None:
        self.log.log(logging.INFO, "%s", line)

    @property
    def _ids(self) -> dict[str, Any]:
        """The ids of the task in Airflow."""
        key = self.key
        return {"dag_id": key.run.workflow, "run_id": key.run.run, "task_id": key.job, "map_index": key.index}

    async def _push_values(self, values: dict[str, Any]) -> None:
        """Push the job's values, and repeat until it works: Airflow is slow if very many jobs end at once."""
        while True:
            with contextlib.suppress(TimeoutError):
                return await self._push("return_value", values)

    async def _push(self, key: str, value: Any) -> None:
        async with asyncio.timeout(LOOK_UP_LIMIT):
            await self._xcom(XCom.aset, XCom.set)(key=key, value=value, **self._ids)

    def _xcom(self, call: Callable[..., Awaitable[Any]], blocking: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """The call to use: `airflow dags test` runs a trigger without a task and answers only blocking calls."""
        return partial(asyncio.to_thread, blocking) if self.task_instance is None else call

    async def on_kill(self) -> None:
        """Cancel the job, but only if the task itself was ended: this also runs if a triggerer loses it."""
        # The triggerer may cancel a slow on_kill a second time, but a cancellation that has begun must finish.
        ending = asyncio.ensure_future(self._cancel_if_ended())
        _endings.add(ending)
        ending.add_done_callback(_endings.discard)
        await asyncio.shield(ending)

    async def _cancel_if_ended(self) -> None:
        from hotswap_airflow.triggers.conductors import shared_conductor

        if not await self._was_ended():
            return
        async with asyncio.timeout(_CANCEL_LIMIT):
            async with shared_conductor(self.target) as conductor:
                self._report("the task was ended; cancelling its job")
                await conductor.cancel(self.key, self._report)

    async def _was_ended(self) -> bool:
        """Whether the task is over. Its end may become visible late, and Airflow may not answer: try several times."""
        words = "Airflow does not return the task's state; `hotswap-reconcile` will check the job"
        for _ in range(_STATE_QUESTIONS):
            with contextlib.suppress(TimeoutError):
                # None also counts: the task was cleared, and its next try starts from the beginning.
                if await task_state(**self._ids) in {*ENDED, None}:
                    return True
                words = "the task itself has not ended, so its job is not cancelled"
            await asyncio.sleep(1)
        self._report(words)
        return False
