"""The trigger of the reconciliation: it cancels jobs whose task is over, even if an earlier cancellation was lost."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.upkeep.reconciliation import OwnedJob, owned_jobs
from hotswap_airflow.triggers.maintenance import MaintenanceTrigger
from hotswap_airflow.triggers.task_states import ENDED, run_states, state_of, task_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from hotswap_airflow.cluster.jobs.conductor import JobConductor

SECOND_LOOK = 30.0
"""Seconds between the two checks that must agree. In this time a task that ends cancels its job by itself."""


class ReconcileTrigger(MaintenanceTrigger):
    """Cancel the active jobs of an installation on one cluster if their tasks have ended or are gone."""

    async def maintain(self, conductor: JobConductor) -> None:
        """Check twice, then cancel."""
        jobs = await owned_jobs(conductor.client, self.installation)
        suspects = [job async for job in self._without_task(jobs)]
        self._report(f"{len(jobs)} active job(s), of which {len(suspects)} without a task that waits for them")
        if not suspects:
            return
        await asyncio.sleep(SECOND_LOOK)
        still = {job.name for job in await owned_jobs(conductor.client, self.installation)}
        ended = [job async for job in self._still_without_task(job for job in suspects if job.name in still)]
        await conductor.client.cancel((job.key.digest, job.name) for job in ended)

    async def _still_without_task(self, jobs: Iterable[OwnedJob]) -> AsyncIterator[OwnedJob]:
        """The jobs to cancel now. If Airflow gives no answer, the rest is left to the next reconciliation."""
        for job in jobs:
            run = job.key.run
            try:
                state = await task_state(run.workflow, run.run, job.key.job, job.key.index)
            except TimeoutError:
                self._report("Airflow gives no answer; the other jobs are left to the next reconciliation")
                return
            if state in ENDED:
                self._report(f"cancelling {job.name}: task {job.key.job} of {run.run} is {state}")
                yield job

    async def _without_task(self, jobs: Iterable[OwnedJob]) -> AsyncIterator[OwnedJob]:
        runs: dict[tuple[str, str], list[OwnedJob]] = defaultdict(list)
        for job in jobs:
            runs[job.key.run.workflow, job.key.run.run].append(job)
        for (dag_id, run_id), found in runs.items():
            states = await run_states(dag_id, run_id)
            for job in found:
                if state_of(states, job.key.job, job.key.index) in ENDED:
                    yield job
