"""How a job ended, from what Slurm and its script say: the outcome for the task, and the end that is recorded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs.outcome import Outcome
from hotswap_airflow.cluster.remote.client import OUTPUT_LIMIT
from hotswap_airflow.errors import JobCancelled, JobError, JobFailed, OutputMissing
from hotswap_airflow.slurm.causes import MAY_GO_ON, error_class
from hotswap_airflow.slurm.history.past import End
from hotswap_airflow.slurm.request import read_outputs
from hotswap_airflow.slurm.retry import SAVED, SAVED_STATUS
from hotswap_airflow.slurm.script.render import CANCELLED
from hotswap_airflow.slurm.states import JobStatus, Phase

if TYPE_CHECKING:
    from hotswap_airflow.slurm.array_result import Ending
    from hotswap_airflow.slurm.history.notes import Result
    from hotswap_airflow.slurm.request import JobRequest


def end_of(
    request: JobRequest, job_id: int, status: JobStatus, result: Result, run_dir: str, error: JobError | None
) -> Outcome:
    """The outcome of a single job. ``error`` is what Slurm's word for its end means."""
    values, complaints = read_outputs(request.outputs, run_dir, result.output)
    if request.outputs and len(result.output.encode()) >= OUTPUT_LIMIT:
        complaints = [
            f"it wrote more than {OUTPUT_LIMIT:,} bytes to $HOTSWAP_OUTPUT; write large values to a file instead"
        ]
    error = _from_script(request, result, error)
    if error is None and complaints:
        error = OutputMissing(f"job {request.key.job}: {'; '.join(complaints)}")
    is_saved = request.saves and isinstance(error, MAY_GO_ON) and result.exit_status == SAVED_STATUS
    return Outcome(
        request.key,
        job_id,
        status,
        {} if error else values,
        error,
        failed_before=request.past.failed,
        continuation=SAVED if is_saved else "",
    )


def _from_script(request: JobRequest, result: Result, error: JobError | None) -> JobError | None:
    """The error with what the script itself noted about it."""
    if not isinstance(error, JobFailed) or not result.reason:
        return error
    if result.reason == CANCELLED:
        return JobCancelled(f"job {request.key.job} was cancelled as it began")
    return OutputMissing(f"job {request.key.job}: {result.reason.removeprefix('hotswap: ')}")


def recorded(asked: str, outcome: Outcome) -> End:
    """How the end of a single job is recorded; the errors' names decide whether and how it is tried again."""
    status, error = outcome.status, outcome.error
    state = status.state if error is None or status.phase is not Phase.SUCCEEDED else "FAILED"
    names = (type(error).__name__,) if error is not None and not outcome.continuation else ()
    nodes = (status.broken_node,) if status.broken_node else ()
    return End(asked, outcome.continuation or state, names, nodes=nodes)


def recorded_sweep(asked: str, status: JobStatus, ending: Ending) -> End:
    """How the end of a sweep, or of a part of it, is recorded."""
    found = (ending.errors, ending.lost, ending.again, ending.nodes, ending.given_up)
    return End(asked, ending.continuation or status.state, *found)


def sweep_outcome(
    request: JobRequest, job_id: int | None, submitted: int, ending: Ending, error: JobError | None
) -> Outcome:
    """The outcome of a sweep."""
    return Outcome(
        request.key,
        job_id,
        JobStatus("FAILED" if error else "COMPLETED"),
        {} if error else ending.values,
        error,
        tally=ending.tally,
        submitted=submitted,
        failed_before=request.past.failed,
        continuation=ending.continuation if request.past.recorded_end is None else "",
        table=ending.table,
    )


def as_recorded(request: JobRequest, error: JobError | None) -> JobError | None:
    """The error of a job as it was recorded before, since Slurm knows less of a job with time."""
    end = request.past.recorded_end
    if end is None or not end.errors or type(error).__name__ == end.errors[0]:
        return error
    return error_class(end.errors[0])(f"job {request.key.job} ended as {end.state}; this end was recorded before")
