"""Telemetry: metrics through Airflow's own interface, and spans that join the task's trace.

The triggerer sets both up. If metrics or tracing are off, nothing is sent.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from airflow.observability import stats
from opentelemetry import trace

from hotswap_airflow.cluster.jobs.outcome import JobListener
from hotswap_airflow.slurm.states import Phase

if TYPE_CHECKING:
    from hotswap_airflow.slurm.array_state import Tally
    from hotswap_airflow.slurm.states import JobStatus

SUBMITTED = "hotswap.job.submitted"
ENDED = "hotswap.job.ended"
WAIT = "hotswap.job.wait"
RUN = "hotswap.job.run"
ELEMENTS = "hotswap.job.elements"
POLL = "hotswap.cluster.poll"
WATCHED = "hotswap.cluster.watched"
UNREACHABLE = "hotswap.cluster.unreachable"
_NANO = 1_000_000_000
_tracer = trace.get_tracer("hotswap_airflow")


class JobTelemetry(JobListener):
    """Follows the jobs of one task. ``cluster`` is the connection's name. Times are in seconds since 1970."""

    def __init__(self, cluster: str) -> None:
        self.tags = {"cluster": cluster}
        self._began = time.time()
        self._job: dict[str, str | int] = {}
        self._phase: Phase | None = None
        self._before: Tally | None = None

    def placed(self, job_id: int, is_new: bool) -> None:  # noqa: FBT001 - one fact of a job
        """Notified that a job was submitted, or that an earlier submission was found."""
        self._job = {"hotswap.cluster": self.tags["cluster"], "slurm.job_id": job_id}
        if is_new:
            stats.incr(SUBMITTED, tags=self.tags)
        self._span("hotswap.submit")
        self._phase = self._before = None

    def seen(self, status: JobStatus, tally: Tally | None) -> None:
        """Notified of the job's status. The first tally of an array counts what earlier arrays have done."""
        self._before = self._before or tally
        phase = status.phase
        if phase is Phase.UNREACHABLE or phase is self._phase:
            return
        if self._phase in {None, Phase.WAITING} and phase is not Phase.WAITING:
            self._lasted(WAIT, "hotswap.wait")
        if phase.is_final:
            self._ended(status, tally)
        self._phase = phase

    def _ended(self, status: JobStatus, tally: Tally | None) -> None:
        self._lasted(RUN, "hotswap.run", state=status.state)
        stats.incr(ENDED, tags={**self.tags, "state": status.state})
        for name in ("done", "failed") if tally is not None else ():
            count = getattr(tally, name) - getattr(self._before, name)
            stats.incr(ELEMENTS, max(count, 0), tags={**self.tags, "state": name})

    def _lasted(self, metric: str, span: str, **attributes: str) -> None:
        stats.timing(metric, dt.timedelta(seconds=time.time() - self._began), tags=self.tags)
        self._span(span, **attributes)

    def _span(self, name: str, **attributes: str) -> None:
        """Send a span from the end of the previous span until now."""
        now = time.time()
        span = _tracer.start_span(name, start_time=int(self._began * _NANO), attributes={**self._job, **attributes})
        span.end(end_time=int(now * _NANO))
        self._began = now


def polled(cluster: str, seconds: float, watched: int, *, answered: bool) -> None:
    """Send the metrics of one poll of a cluster."""
    tags = {"cluster": cluster}
    stats.timing(POLL, dt.timedelta(seconds=seconds), tags=tags)
    stats.gauge(WATCHED, watched, tags=tags)
    if not answered:
        stats.incr(UNREACHABLE, tags=tags)
