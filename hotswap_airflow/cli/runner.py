"""Drives a run directly on its clusters: starts jobs that may start, waits, reads values and reports the result."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.clusters import client_of
from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.jobs.outcome import JobListener
from hotswap_airflow.cluster.watch.watched_job import Interval
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.errors import ClusterError, CommandFailed, JobCancelled, JobError, JobFailed, SetupError
from hotswap_airflow.file_store.contents import archive
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.run_state import JobState, readiness, run_state
from hotswap_airflow.workflow.run_values import RunValues, why_skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotswap_airflow.cli.saved_run import SavedRun
    from hotswap_airflow.cluster.jobs.outcome import Outcome
    from hotswap_airflow.cluster.transport.base import Transport
    from hotswap_airflow.file_store.contents import ContentStore
    from hotswap_airflow.slurm.request import JobRequest
    from hotswap_airflow.workflow.plan import Plan, PlannedJob
    from hotswap_airflow.workflow.site import Site


@dataclass
class Runner:
    """One run. ``report(job, line)`` gets every line to show. ``states`` and ``outputs`` grow as jobs end.

    ``left`` maps the names of jobs that Slurm may have to their ids; None if it is not known whether Slurm has the job.
    """

    plan: Plan
    site: Site
    saved: SavedRun
    transports: dict[str, Transport]
    store: ContentStore
    report: Callable[[str, str], None]
    interval: Interval | None = None
    is_attached: bool = False
    states: dict[str, JobState] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    active: dict[str, JobKey] = field(default_factory=dict)
    left: dict[str, int | None] = field(default_factory=dict)
    is_stopping: bool = False
    _sessions: dict[str, JobConductor] = field(default_factory=dict)

    @property
    def run_key(self) -> RunKey:
        """The identity of this run on its clusters."""
        saved = self.saved
        return RunKey(saved.installation, self.plan.workflow, self.plan.environment, saved.run, saved.nonce)

    def conductor(self, cluster: str) -> JobConductor:
        """The session of a cluster. There is only one; it is made at the first use."""
        if cluster not in self._sessions:
            known = self.site.clusters[cluster]
            client = client_of(known, self.transports[cluster])
            self._sessions[cluster] = JobConductor(
                client, JobWatcher(client, self.interval or Interval(*known.target.poll))
            )
        return self._sessions[cluster]

    async def reach(self) -> None:
        """Reach every cluster of a new run once, before anything is submitted. Raises ``SetupError``."""
        for cluster in dict.fromkeys(job.cluster for job in self.plan.jobs):
            try:
                await self.conductor(cluster).client.find("0")
            except ClusterError as error:
                raise SetupError(f"{error}; nothing was submitted") from error

    async def run(self) -> str:
        """Run every job that may run, and return the run's state. Raises ``SetupError`` if a new run cannot begin."""
        if not self.is_attached:
            await self.reach()
        waiting = {job.name: job for job in self.plan.jobs}
        running: dict[asyncio.Task[None], str] = {}
        try:
            while waiting or running:
                self._start_ready(waiting, running)
                if not running:
                    continue
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.pop(task)
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return run_state(self.plan, self.states)

    def _start_ready(self, waiting: dict[str, PlannedJob], running: dict[asyncio.Task[None], str]) -> None:
        for name, job in list(waiting.items()):
            if self.is_stopping:
                del waiting[name]
                self.states[name] = "skipped"
                continue
            match readiness(job, self.states):
                case "skip":
                    del waiting[name]
                    self.states[name] = "skipped"
                    self.report(name, "skipped")
                case "start":
                    del waiting[name]
                    running[asyncio.create_task(self._job(job))] = name

    async def _job(self, job: PlannedJob) -> None:
        try:
            if reason := why_skipped(self.plan, job, self._values()):
                self.states[job.name] = "skipped"
                self.report(job.name, f"skipped: {reason}")
                return
            outcome = await self._with_retries(job)
        except (JobError, CommandFailed) as error:
            self.states[job.name] = "failed"
            self.left.pop(job.name, None)
            self.report(job.name, f"failed: {error}")
            return
        finally:
            self.active.pop(job.name, None)
        self.left.pop(job.name, None)
        self.states[job.name] = "failed" if outcome.error else "success"
        self.outputs[job.name] = outcome.values
        self.report(job.name, f"failed: {outcome.error}" if outcome.error else "succeeded")

    async def _with_retries(self, job: PlannedJob) -> Outcome:
        report = partial(self.report, job.name)
        self.active[job.name] = JobKey(self.run_key, job.name)
        conductor = self.conductor(job.cluster)
        stream = partial(archive, self.plan.pack, self.store)
        lay_out = partial(conductor.lay_out, self.run_key.folder, self.plan.pack.digest, stream, report)
        await conductor.while_queued(self.active[job.name], lay_out, report)
        # If the end of the try is recorded already, it is reported again to any attempt of the same number.
        attempt = await conductor.last_try(self.active[job.name], report) if self.is_attached else 1
        outcome = await self._attempt(conductor, job, attempt)
        self._count_elements(outcome, attempt)
        while outcome.error and job.retry.covers(type(outcome.error).__name__, outcome.failed_before):
            if outcome.tally is not None and not outcome.submitted:
                break  # no element of the sweep is left to be run
            attempt += 1
            report(f"{outcome.error}; it is submitted again")
            outcome = await self._attempt(conductor, job, attempt)
            self._count_elements(outcome, attempt)
        self.counts["requeues"] += max(0, outcome.key.generation - outcome.failed_before)
        if outcome.tally is None:
            self.counts["slurm_jobs"] += outcome.key.generation + (outcome.job_id is not None)
        else:
            self.counts["failed_elements"] += outcome.tally.failed
        return outcome

    def _count_elements(self, outcome: Outcome, attempt: int) -> None:
        self.counts["slurm_jobs"] += outcome.submitted
        if attempt > 1:
            self.counts["retried"] += 1 if outcome.tally is None else outcome.submitted

    async def _attempt(self, conductor: JobConductor, job: PlannedJob, attempt: int) -> Outcome:
        request = make_job_request(self.plan, job, self.active[job.name], self._values())
        request = replace(request, secret_values=tuple(_secrets(request)))
        report = partial(self.report, job.name)

        async def conduct() -> Outcome:
            if self.is_stopping:
                raise JobCancelled(f"job {job.name} was not submitted: the run was stopped")
            self.left.setdefault(job.name, None)
            return await conductor.conduct(request, f"{attempt} 0", report, _Placed(self.left, job.name))

        return await conductor.while_queued(request.key, conduct, report)

    def _values(self) -> RunValues:
        return RunValues(
            run_id=self.saved.run,
            params=self.saved.params,
            outputs={job: found for job, found in self.outputs.items() if self.states[job] == "success"},
            states=self.states,
            date=self.saved.started,
        )

    async def cancel(self) -> None:
        """Start nothing more, and cancel every job that was started and has not ended."""
        self.is_stopping = True
        await asyncio.gather(*(self._cancel(name, key) for name, key in list(self.active.items())))

    async def _cancel(self, name: str, key: JobKey) -> None:
        self.report(name, "cancelling")
        await self.conductor(self.plan.job(name).cluster).cancel(key, partial(self.report, name))
        self.left.pop(name, None)

    async def close(self) -> None:
        """Close the connections. Jobs go on."""
        for conductor in self._sessions.values():
            await conductor.watcher.close()
            await conductor.client.transport.close()

    def _state(self, job: str) -> str:
        return self.states.get(job, "left" if job in self.left else "skipped")

    def summary(self, state: str) -> dict[str, Any]:
        """The object that ``--json`` prints at the end."""
        outputs = {
            f"{job.name}.{name}": value
            for job in self.plan.jobs
            for name, value in self.outputs.get(job.name, {}).items()
        }
        return {
            "run": self.saved.run,
            "state": state,
            "slurm_jobs": self.counts["slurm_jobs"],
            "outputs": outputs,
            "jobs": {job.name: self._state(job.name) for job in self.plan.jobs},
            "retried": self.counts["retried"],
            "requeues": self.counts["requeues"],
            "failed_elements": self.counts["failed_elements"],
            "left": dict(self.left),
        }


def _secrets(request: JobRequest) -> Iterator[tuple[str, str]]:
    """The secrets of a job from this process' variables of the same names. Raises ``JobFailed``."""
    for source in request.secrets:
        value = os.environ.get(source.variable)
        if not value:
            words = f"outside of Airflow its secret comes from the variable {source.variable} of this shell; set it"
            raise JobFailed(f"job {request.key.job}: {words}")
        yield source.variable, value


class _Placed(JobListener):
    """Keeps the id of a job that Slurm has."""

    def __init__(self, left: dict[str, int | None], job: str) -> None:
        self._left, self._job = left, job

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: ARG002, FBT001 - as a listener is notified
        """Keep the id."""
        self._left[self._job] = job_id
