"""The trigger of a sensor: wait for the end of a job that somebody else submitted."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from hotswap_airflow.cluster.watch.foreign_job import ForeignJobWatch, SoughtJob
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import ClusterError, HotswapError, JobError, LoginRequired
from hotswap_airflow.slurm.states import error_of
from hotswap_airflow.triggers.conductors import shared_conductor
from hotswap_airflow.triggers.events import error_payload, resuming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.slurm.states import JobStatus


class AwaitJobTrigger(BaseTrigger):
    """Wait for a job by id, name or key. ``deadline`` is in seconds since 1970, ``interval`` in seconds.

    ``resumes`` is set if a worker must end the task even after a success, for example because of assets.
    """

    def __init__(  # noqa: PLR0913 - each is a value of the trigger's row in the database
        self,
        *,
        target: Mapping[str, Any],
        deadline: float,
        interval: float,
        job_id: int | None = None,
        job_name: str | None = None,
        key: str | None = None,
        resumes: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target = ClusterTarget.from_json(target)
        self.deadline = deadline
        self.interval = interval
        self.sought = SoughtJob(job_id, job_name, key)
        self.resumes = resumes

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The plain values that the trigger is made of."""
        kwargs = {
            "target": self.target.to_json(),
            "deadline": self.deadline,
            "interval": self.interval,
            "job_id": self.sought.job_id,
            "job_name": self.sought.name,
            "key": self.sought.key,
            "resumes": self.resumes,
        }
        return "hotswap_airflow.triggers.foreign_job.AwaitJobTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the job has ended. If the cluster gives no answer or does not know the job, go on waiting."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.deadline - time.time()):
                async with shared_conductor(self.target) as conductor:
                    error = await self._end(conductor)
        except TimeoutError:
            words = f"{self.sought} did not end within the sensor's timeout"
            yield await resuming(started, {"error": "SensorTimedOut", "message": words})
        except HotswapError as failure:
            yield await resuming(started, error_payload(failure))
        else:
            if error is not None:
                yield await resuming(started, error_payload(error))
            elif self.resumes:
                yield await resuming(started, {"error": None})
            else:
                yield TaskSuccessEvent()

    async def _end(self, conductor: JobConductor) -> JobError | None:
        reported, search = "", ForeignJobWatch(conductor.client, self.sought)
        while True:
            try:
                statuses = await search.poll_once()
            except LoginRequired:
                raise
            except ClusterError as error:
                words = f"waiting for {conductor.client.name}: {error}"
            else:
                if statuses and all(status.phase.is_final for status in statuses):
                    return self._verdict(statuses)
                words = _sentence(statuses) or f"Slurm does not know {self.sought} yet"
            if words != reported:
                self.log.log(logging.INFO, "%s", words)
                reported = words
            # Triggers with the same interval poll at the same times, so that they share round trips.
            await asyncio.sleep(self.interval - time.time() % self.interval if self.interval else 0)

    def _verdict(self, statuses: Sequence[JobStatus]) -> JobError | None:
        self.log.log(logging.INFO, "%s", _sentence(statuses))
        errors = (error_of(status, str(self.sought).removeprefix("job ")) for status in statuses)
        return next((error for error in errors if error is not None), None)


def _sentence(statuses: Sequence[JobStatus]) -> str:
    """All statuses in words. Equal statuses appear once, with their number."""
    words = [status.sentence for status in statuses]
    return ", ".join(f"{words.count(each)} x {each}" if len(words) > 1 else each for each in dict.fromkeys(words))
