"""The trigger of the reconciling pass: jobs whose task is over leave the queue, whatever was lost before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent

from hotswap_airflow.cluster.reconciliation import OwnedJob, owned_jobs
from hotswap_airflow.errors import ConnectionLost, HotswapError
from hotswap_airflow.triggers.events import resuming
from hotswap_airflow.triggers.sessions import Reach, shared_session
from hotswap_airflow.triggers.task_states import ENDED, run_states, state_of, task_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from airflow.triggers.base import TriggerEvent

    from hotswap_airflow.cluster.session import Session

SECOND_LOOK = 30.0
"""Seconds between the two looks that must agree: a task's own end takes its job along by itself."""


class ReconcileTrigger(BaseTrigger):
    """Cancel the active jobs of an installation on one cluster whose tasks have ended or are gone."""

    def __init__(
        self, *, slurm_conn_id: str, workdir: str, installation: str, second_look: float = SECOND_LOOK
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir
        self.installation = installation
        self.second_look = second_look

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Ids only."""
        kwargs = {
            "slurm_conn_id": self.slurm_conn_id,
            "workdir": self.workdir,
            "installation": self.installation,
            "second_look": self.second_look,
        }
        return "hotswap_airflow.triggers.reconcile.ReconcileTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look twice, then cancel."""
        started = time.monotonic()
        try:
            async with shared_session(Reach(self.slurm_conn_id, self.workdir)) as session:
                await self._reconcile(session)
        except (ConnectionLost, TimeoutError) as error:
            self._report(f"not looked at this time: {str(error) or 'Airflow gave no answer'}")
            yield TaskSkippedEvent()
        except HotswapError as error:
            yield await resuming(started, {"error": f"{type(error).__name__}: {error}"})
        else:
            yield TaskSuccessEvent()

    async def _reconcile(self, session: Session) -> None:
        jobs = await owned_jobs(session.client, self.installation)
        suspects = [job async for job in self._without_task(jobs)]
        self._report(f"{len(jobs)} active job(s), of which {len(suspects)} without a task that waits for them")
        if not suspects:
            return
        await asyncio.sleep(self.second_look)
        still = {job.name for job in await owned_jobs(session.client, self.installation)}
        for job in suspects:
            run = job.key.run
            state = await task_state(run.workflow, run.run, job.key.job, job.key.index)
            if job.name in still and state in ENDED:
                self._report(f"cancelling {job.name}: task {job.key.job} of {run.run} is {state}")
                await session.client.cancel([(job.key.digest, job.name)])

    async def _without_task(self, jobs: Iterable[OwnedJob]) -> AsyncIterator[OwnedJob]:
        runs: dict[tuple[str, str], list[OwnedJob]] = defaultdict(list)
        for job in jobs:
            runs[job.key.run.workflow, job.key.run.run].append(job)
        for (dag_id, run_id), found in runs.items():
            states = await run_states(dag_id, run_id)
            for job in found:
                if state_of(states, job.key.job, job.key.index) in ENDED:
                    yield job

    def _report(self, line: str) -> None:
        self.log.log(logging.INFO, "%s", line)
